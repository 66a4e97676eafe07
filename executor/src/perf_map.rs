//! The file in which perf looks up what native code is.
//!
//! One file for the whole command, by perf's own convention `/tmp/perf-PID.map`, to which each module adds its lines
//! when it is loaded. They stay when it is unloaded: perf reads the file in the end.

use std::fs::{File, OpenOptions, remove_file};
use std::io;
use std::sync::{Mutex, PoisonError};

use lunatic_jit::Module;

/// See the module.
pub(crate) struct PerfMap {
    file: Mutex<File>,
}

impl PerfMap {
    /// A new file for this process.
    pub(crate) fn create() -> io::Result<PerfMap> {
        let path = format!("/tmp/perf-{}.map", std::process::id());
        // An old one is of a process that had this number before us. What is there nevertheless, such as a link that
        // somebody else has put there, is not written to.
        let _ = remove_file(&path);
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(PerfMap { file: Mutex::new(file) })
    }

    /// Adds the functions of a module.
    pub(crate) fn add(&self, module: &Module) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A profile with a name less is no reason to end the program.
        let _ = module.write_perf_map(&mut *file);
    }
}
