//! Directories of the host that guests may use.

use std::fmt;
use std::sync::Arc;

use cap_std::fs::Dir;

use crate::account::OpenDescriptor;

/// An open directory and the name by which guests know it.
#[derive(Clone)]
pub struct GuestDir {
    /// The guest's name for it.
    pub name: Arc<str>,
    /// The directory. No path that a guest passes leads out of it.
    pub dir: Arc<Dir>,
    /// Whether nothing in it may be changed.
    pub is_read_only: bool,
    /// The charge for the descriptor, if a process has opened the directory.
    pub opened: Option<Arc<OpenDescriptor>>,
}

impl fmt::Debug for GuestDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}
