//! Gives the crate a fingerprint of the sources that decide what native code looks like and what was verified before
//! it was compiled: this crate's and the instrumenter's. Code in the cache is used only by what has the same one, so
//! nobody has to remember to raise a version.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let mut sources = BTreeMap::new();
    for directory in ["src", "../instrument/src"] {
        println!("cargo::rerun-if-changed={directory}");
        collect(Path::new(directory), &mut sources);
    }
    let mut hasher = DefaultHasher::new();
    sources.hash(&mut hasher);
    println!("cargo::rustc-env=SOURCE_FINGERPRINT={:016x}", hasher.finish());
    let mut hasher = DefaultHasher::new();
    (env::var("RUSTFLAGS").ok(), env::var("PROFILE").ok()).hash(&mut hasher);
    println!("cargo::rustc-env=BUILD_FINGERPRINT={:016x}", hasher.finish());
    // The compiler's own name for it may be used with nightly features only.
    println!("cargo::rustc-check-cfg=cfg(address_sanitizer)");
    if env::var("CARGO_CFG_SANITIZE").is_ok_and(|list| list.split(',').any(|one| one == "address")) {
        println!("cargo::rustc-cfg=address_sanitizer");
    }
}

/// Reads all files below a directory.
fn collect(directory: &Path, sources: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(directory).expect("the sources are there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, sources);
        } else {
            sources.insert(path.clone(), fs::read(path).expect("the sources can be read"));
        }
    }
}
