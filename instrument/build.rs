//! Computes a fingerprint of this crate's sources. What was prepared or verified by one version is not trusted by
//! another one with different sources, so nobody has to remember to raise a number.

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
