//! TestApp, scripted Ghost, fault proxy and manual clock; a dev-dependency only.
