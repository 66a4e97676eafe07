//! Embedding: processes inside a program of your own.
//!
//! ```no_run
//! use lunatic_executor::embed::{Node, Sandbox, Value};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::builder().workers(2).build()?;
//! let program = node.load(&std::fs::read("plugin.wasm")?)?;
//! let sandbox = Sandbox::new().memory(16 << 20).reductions(10_000_000);
//! // In a fresh process, on this thread:
//! let results = node.call(&program, "add", &[Value::I32(2), Value::I32(3)], &sandbox)?;
//! // Beside this thread, on the node's workers:
//! let process = node.spawn(&program, "serve", &[], &sandbox)?;
//! process.send(0, b"hello")?;
//! let exit = process.wait();
//! # Ok(())
//! # }
//! ```
//!
//! | type | what it is |
//! |---|---|
//! | [`Engine`] | compiles programs and knows their host functions; nodes that share one share programs |
//! | [`Node`] | processes, and the threads that run them |
//! | [`Program`](crate::Program) | a module, compiled and linked |
//! | [`Sandbox`] | what a process may use |
//! | [`Function`] | a function of a program in a sandbox, ready to be called or spawned any number of times |
//! | [`ProcessHandle`] | a process that was spawned |
//! | [`Mailbox`] | where messages from processes arrive |
//! | [`host`] | what host functions of your own are declared with |
//!
//! # What is process-wide
//!
//! The engine installs handlers for the faults by which guest code traps (SIGSEGV, SIGBUS, SIGILL, SIGFPE) and passes on
//! what is not its own. With the feature `sqlite`, the first database that a guest opens configures the SQLite library
//! that is linked into the program: its allocator and its way to files. Nothing else outlives a node: its threads end
//! when it is dropped, and signals, limits and standard streams of the program stay as they are.

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
