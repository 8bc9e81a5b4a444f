//! Lock-free words of the product, with loom's atomics in place of the machine's. The models stand beside the code.
#![cfg(loom)]
#![allow(dead_code, reason = "each file is used by the product as a whole, and here by its models")]

#[path = "../../crates/ogel-server/src/limits/window.rs"]
mod window;
#[path = "../../crates/ogel-server/src/limits/word.rs"]
mod word;
