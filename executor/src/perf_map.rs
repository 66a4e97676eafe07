//! Map file in which Linux's perf finds the names of guest functions.
//!
//! By perf's convention there is one file for each process of the system, `/tmp/perf-PID.map`. Each module appends
//! its functions when it is loaded. They remain when it is unloaded, because perf reads the file at the end.

use std::fs::{File, OpenOptions, remove_file};
use std::io;

use lunatic_resources::sync::Mutex;

use lunatic_jit::Module;

/// See the module documentation.
pub(crate) struct PerfMap {
    file: Mutex<File>,
}

impl PerfMap {
    /// Creates the file of this process.
    pub(crate) fn create() -> io::Result<PerfMap> {
        let path = format!("/tmp/perf-{}.map", std::process::id());
        // An existing file belongs to an earlier process with the same identifier. If it cannot be replaced, for
        // example because it is somebody else's link, it is not written to.
        let _ = remove_file(&path);
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(PerfMap { file: Mutex::new(file) })
    }

    /// Appends the functions of a module.
    pub(crate) fn add(&self, module: &Module) {
        let mut file = self.file.lock();
        // A missing name in a profile is no reason to end the program.
        let _ = module.write_perf_map(&mut *file);
    }
}
