//! For systems without anonymous files, or which do not report the pages that belong to a process: every
//! memory is filled by copying.

use std::io;

use super::Mapping;

/// Cannot be created.
#[derive(Debug)]
pub(crate) enum Backing {}

impl Backing {
    pub(crate) fn new(_: usize) -> io::Result<Backing> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn write(&self, _: usize, _: &[u8]) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn map(&self, _: usize) -> io::Result<Mapping> {
        match *self {}
    }
}

/// The pages are not known.
pub(crate) fn own_pages(_: usize, _: usize, _: impl FnMut(usize, usize)) -> bool {
    false
}
