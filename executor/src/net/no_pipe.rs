//! Where there are no named pipes that the reactor could watch, there are none.

use std::io;
use std::sync::Arc;

use super::{Attempt, Direction, Source};

/// None of these is ever made.
pub(crate) enum Pipe {}

impl Pipe {
    pub(crate) fn is_terminal(&self) -> bool {
        match *self {}
    }

    pub(crate) fn read(&self, _: &mut [u8]) -> io::Result<Attempt<usize>> {
        match *self {}
    }

    pub(crate) fn write(&self, _: &[u8]) -> io::Result<Attempt<usize>> {
        match *self {}
    }

    pub(crate) fn source(&self) -> &Arc<Source> {
        match *self {}
    }

    pub(crate) fn is_ready(&self, _: Direction) -> io::Result<bool> {
        match *self {}
    }
}
