//! What a guest does wrong: a call of a host function that ends its process.

use std::fmt;
use std::sync::Arc;

use lunatic_resources::{Full, Nested};

/// A guest called a host function in a way that ends the process.
#[allow(missing_docs)] // Each message says what happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("a pointer passed to the host is outside the memory ({length} bytes at {pointer:#x})")]
    BadPointer { pointer: u32, length: u64 },
    #[error("the module exports no memory named \"memory\", which this host function needs")]
    NoMemory,
    #[error("the module does not export \"_lunatic_catch_trap\", which lunatic::trap::catch calls")]
    NoCatchTrap,
    #[error(
        "the module does not export \"lunatic_alloc\" of the type (i32) -> i32, by which this host function needs memory"
    )]
    NoAllocator,
    #[error("the guest's \"lunatic_alloc\" trapped: {0}")]
    AllocatorTrapped(String),
    #[error("the result does not fit in a guest's memory")]
    NoRoom,
    #[error("a string passed to the host is not UTF-8")]
    NotUtf8,
    #[error("there is no current message; create or receive one first")]
    NoMessage,
    #[error("the current message is a signal and carries no data")]
    NotAData,
    #[error("the current message is not a death notification")]
    NotADeath,
    #[error("there is no {kind} with the identifier {id} in this process")]
    Unknown { kind: &'static str, id: u64 },
    #[error("this process is not allowed to {0}")]
    NotAllowed(&'static str),
    #[error("this process must not call {0}")]
    Forbidden(std::sync::Arc<str>),
    #[error("the parameters of a spawn are not made of 17-byte entries of known types")]
    BadParams,
    #[error("this process has too many {0}")]
    TooMany(&'static str),
    #[error(transparent)]
    Full(#[from] Full),
    #[error("{what} of {length} bytes is longer than {limit}")]
    TooLong { what: &'static str, length: u64, limit: u64 },
    #[error("a message of more than {0} bytes exceeds the process's memory limit")]
    MessageTooLarge(u64),
    #[error("an address has the type 4 or 6, not {0}")]
    BadAddressType(u32),
    #[error("the system refuses: {0}")]
    Refused(String),
    /// An error of a host function that the core does not know.
    #[error("{0}")]
    Host(HostFault),
    #[error("the guest exited with status {0}")]
    Exit(u32),
    #[error("the guest ended with the reason {0}")]
    Reason(i64),
}

/// An error of a host function, whatever its type.
#[derive(Clone)]
pub struct HostFault(Arc<dyn std::error::Error + Send + Sync>);

impl Fault {
    /// A fault of a host function with an error type of its own.
    pub fn host(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
        Fault::Host(HostFault(Arc::new(error)))
    }
}

impl From<Nested> for Fault {
    fn from(_: Nested) -> Fault {
        Fault::TooMany("limits on processes beneath each other")
    }
}

impl fmt::Display for HostFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for HostFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Faults are the same if they read the same: an error of another crate need not be comparable.
impl PartialEq for HostFault {
    fn eq(&self, other: &HostFault) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for HostFault {}
