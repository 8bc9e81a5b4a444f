//! The upstream client against an upstream that does as the test says, in memory: no sockets, no real waiting.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod asking;
mod forward;
mod many;
mod raw;
mod relay;
mod scripted;
mod sockets;
mod streaming;
mod upstream;
mod websocket;
mod wire;
