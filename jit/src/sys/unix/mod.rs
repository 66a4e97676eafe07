//! Linux and other Unix systems.

pub(crate) mod fault;
mod mapping;
#[cfg(target_os = "linux")]
mod pagemap;
pub(crate) mod private;
mod reset;

pub(crate) use mapping::{Mapping, page_size};
pub(crate) use reset::{discard, page_faults, reset};
