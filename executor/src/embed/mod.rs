//! Embedding: guest processes inside a Rust program.
//!
//! ```no_run
//! use lunatic_executor::embed::{Node, Sandbox, Value};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::builder().workers(2).build()?;
//! let program = node.load(&std::fs::read("plugin.wasm")?)?;
//! let sandbox = Sandbox::new().memory(16 << 20).reductions(10_000_000);
//! // Runs in a new process, on this thread:
//! let results = node.call(&program, "add", &[Value::I32(2), Value::I32(3)], &sandbox)?;
//! // Runs beside this thread, on the node's workers:
//! let process = node.spawn(&program, "serve", &[], &sandbox)?;
//! process.send(0, b"hello")?;
//! let exit = process.wait();
//! # Ok(())
//! # }
//! ```
//!
//! | type | purpose |
//! |---|---|
//! | [`Engine`] | compiles programs and links them with host functions; several nodes can share one |
//! | [`Node`] | processes, and the threads that run them |
//! | [`Program`](crate::Program) | a compiled and linked module |
//! | [`Sandbox`] | limits and permissions of a process |
//! | [`Function`] | an exported function with a sandbox, to be called or spawned any number of times |
//! | [`ProcessHandle`] | a spawned process |
//! | [`Mailbox`] | receives messages from processes |
//! | [`host`] | declares host functions of the embedder |
//!
//! # What is process-wide
//!
//! The engine installs handlers for the signals by which guest code traps (SIGSEGV, SIGBUS, SIGILL, SIGFPE). Faults of
//! other code are passed on to the previous handlers. With the feature `sqlite`, the first database that a guest opens
//! configures the SQLite library of the whole program: its allocator and its file system. Everything else belongs to a
//! node: its workers end when it is dropped (idle threads for blocking work within the ten seconds after it), and it
//! leaves limits and standard streams of the program unchanged.

mod engine;
mod handle;
pub mod host;
mod mailbox;
mod node;
mod sandbox;

pub use engine::{Engine, EngineBuilder};
pub use handle::{Ended, ProcessHandle};
pub use lunatic_core::process::{ExitKind, ProcessExit};
pub use lunatic_jit::Value;
pub use mailbox::{Mailbox, Message, ReceiveError};
pub use node::{CallError, Function, Node, NodeBuilder, ProcessInfo, SpawnError, Statistics};
pub use sandbox::Sandbox;
