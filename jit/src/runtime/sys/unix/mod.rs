//! Linux and other Unix systems.

#[cfg(target_os = "linux")]
mod backing;
#[cfg(not(target_os = "linux"))]
#[path = "../no_backing.rs"]
mod backing;
pub(crate) mod fault;
mod mapping;
#[cfg(target_os = "linux")]
mod pagemap;
#[cfg(feature = "compiler")]
pub(crate) mod private;
mod reset;

pub(crate) use backing::Backing;
#[cfg(not(target_os = "linux"))]
pub(crate) use backing::own_pages;
pub(crate) use mapping::{Mapping, page_size};
#[cfg(target_os = "linux")]
pub(crate) use pagemap::own_pages;
pub use reset::page_faults;
pub(crate) use reset::{discard, reset};
