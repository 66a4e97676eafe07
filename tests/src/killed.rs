//! A child process that ends with the test. Tests of other packages include this file as a module.
#![allow(unreachable_pub, dead_code, missing_docs)]

use std::ops::{Deref, DerefMut};
use std::process::Child;

/// A child process that is killed when it is dropped, also if the test fails.
#[derive(Debug)]
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // If the child has already ended, there is nothing to kill, but still a status to collect.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Deref for Killed {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Killed {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}
