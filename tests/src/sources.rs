//! Finds the sources of this repository, for tests that read them.

use std::fs;
use std::path::{Path, PathBuf};

/// The Rust files below a directory, without those of build directories.
///
/// # Panics
/// If a directory cannot be read.
pub fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).expect("the repository can be read") {
            let path = entry.expect("the repository can be read").path();
            let is_left_out = path.file_name().is_some_and(|name| name == "target" || name == ".git");
            if path.is_dir() && !is_left_out {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
