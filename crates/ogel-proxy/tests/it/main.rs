//! The upstream client against an upstream that does as the test says, in memory: no sockets, no real waiting.

mod scripted;
mod upstream;
mod websocket;
