//! What differs between operating systems: mappings, page reset, and synchronous faults.
//!
//! A back end provides: [`Mapping`] (reserve zeroed memory lazily backed, give pages back, make it executable),
//! [`reset`] (zero a range, cheaply where little of it is resident), `fault` (hand a hardware fault in native code to
//! [`crate::vm::trap::handle`], and redirect the faulting context where that says), and `private` (files that nobody
//! else can have written).

#[cfg(unix)]
mod unix;

#[cfg(unix)]
pub(crate) use unix::{Mapping, fault, page_size, private, reset};
