//! Where there are no named pipes that the reactor could watch, there are none.

use std::io;
use std::sync::Arc;

use super::{Direction, Source, TryIo};

/// None of these is ever made.
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
