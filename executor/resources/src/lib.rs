//! What a process may use of the host, and how it is counted.
//!
//! | module | content |
//! |---|---|
//! | [`account`] | bytes and descriptors, charged to a process, to the quotas of its configuration, and to the node |
//! | [`quota`] | limits that a configuration and everything made from it share |
//! | [`slots`] | a table of values by keys that are never used twice |
//! | [`sync`] | locks that a panic does not poison |
//! | [`sys`] | calls that differ between operating systems: signals, the reserve of descriptors, files |
//!
//! This is the lowest layer of the executor. It knows no process, no scheduler and no WebAssembly. It is an internal
//! crate of `lunatic-executor`: its interface may change with every release.

#![forbid(unsafe_code)]

pub mod account;
mod directory;
pub mod quota;
pub mod slots;
pub mod sync;
pub mod sys;

pub use account::{Account, Charge, FixedTotal, Full, MemoryTotal, OpenDescriptor, TimerCharge, add_within};
pub use directory::GuestDir;
pub use quota::{Nested, Permit, Quota, QuotaExceeded};
pub use slots::{SlotKey, SlotTable};
