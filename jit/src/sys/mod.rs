//! What differs between operating systems: mappings, page reset, and synchronous faults.
//!
//! A back end provides: [`Mapping`] (reserve zeroed memory lazily backed, give pages back, make it executable),
//! [`reset`] (zero a range, cheaply where little of it is resident), `fault` (hand a hardware fault in native code to
//! [`crate::vm::trap::handle`], and redirect the faulting context where that says), and `private` (files that nobody
//! else can have written).

#[cfg(miri)]
mod interpreted;
#[cfg(unix)]
#[cfg_attr(miri, allow(dead_code, unused_imports, reason = "what `interpreted` takes the place of"))]
mod unix;

#[cfg(miri)]
pub(crate) use interpreted::{Mapping, discard, fault, page_size, reset};
#[cfg(unix)]
pub(crate) use unix::private;
#[cfg(all(unix, not(miri)))]
pub(crate) use unix::{Mapping, discard, fault, page_size, reset};
