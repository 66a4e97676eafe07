//! Makes a WebAssembly module preemptible.
#![forbid(unsafe_code)]

pub mod abi;
