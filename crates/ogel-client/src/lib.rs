//! Rust client for the Ogel Unified API.
