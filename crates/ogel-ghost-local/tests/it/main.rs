//! The embedded Ghost through its own HTTP, with real git repositories and real child processes.
//! Next: `support.rs` for the harness.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails; the harness is not inside a test function")]

mod access;
mod builds;
mod data;
mod faults;
mod lifecycle;
mod logs;
mod previews;
mod resources;
mod support;
mod webhooks;
