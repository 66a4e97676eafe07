//! Processes: what they are, how they are signalled, limited and ended, and the node that they share.
//!
//! | module | content |
//! |---|---|
//! | [`node`] | what all processes share: table, registry, timers, streams, services of host functions |
//! | [`process`] | one process: identity, signals, mailbox, links, turns, its end |
//! | [`config`] | limits and permissions of processes, and the seam for [capabilities](config::Capabilities) |
//! | [`code`] | a linked module, compiled for the memories that its processes need |
//! | [`extensions`] | state of host functions in a process, by type |
//! | [`machine`] | the seam for simulation |
//! | [`fault`] | what a guest does wrong |
//! | [`registry`], [`report`] | names, reports of crashes |
//!
//! The core names no host function, no socket, no database and no simulator. It is an internal crate of
//! `lunatic-executor`: its interface may change with every release.

#![forbid(unsafe_code)]

pub mod code;
pub mod config;
pub mod extensions;
pub mod fault;
pub mod machine;
pub mod node;
pub mod process;
pub mod registry;
pub mod report;

mod total;

pub use extensions::{Extensions, HostState};
pub use fault::Fault;
pub use node::Node;
pub use process::{Process, ProcessData, ProcessId};
