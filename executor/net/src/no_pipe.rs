//! For systems on which the reactor cannot watch named pipes.

use std::io;
use std::sync::Arc;

use super::{Direction, Source, TryIo};

/// A type without values: no pipe is ever created.
pub enum Pipe {}

impl Pipe {
    pub fn is_terminal(&self) -> bool {
        match *self {}
    }

    pub fn read(&self, _: &mut [u8]) -> io::Result<TryIo<usize>> {
        match *self {}
    }

    pub fn write(&self, _: &[u8]) -> io::Result<TryIo<usize>> {
        match *self {}
    }

    pub fn source(&self) -> &Arc<Source> {
        match *self {}
    }

    pub fn is_ready(&self, _: Direction) -> io::Result<bool> {
        match *self {}
    }
}
