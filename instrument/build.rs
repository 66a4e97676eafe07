//! Computes a fingerprint of this crate's sources. What one version has prepared or verified is not trusted
//! by a version with other sources, so no version number has to be increased by hand.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=src");
    let mut sources = BTreeMap::new();
    collect(Path::new("src"), &mut sources);
    let mut hasher = DefaultHasher::new();
    sources.hash(&mut hasher);
    println!("cargo::rustc-env=SOURCE_FINGERPRINT={:016x}", hasher.finish());
}

/// Reads all files below a directory.
fn collect(directory: &Path, sources: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(directory).expect("the package contains its sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, sources);
        } else {
            sources.insert(path.clone(), fs::read(path).expect("the sources are readable"));
        }
    }
}
