//! Computes a fingerprint of this crate's sources, and one of how the crate is built.
//!
//! Compiled code in the cache is used only by an engine with the same fingerprints, so no version number has
//! to be increased by hand. The instrumenter, which decides what was verified before the code was compiled,
//! has a fingerprint of its own: `lunatic_instrument::SOURCE_FINGERPRINT`.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=src");
    let mut sources = BTreeMap::new();
    collect(Path::new("src"), &mut sources);
    println!("cargo::rustc-env=SOURCE_FINGERPRINT={:016x}", hash(&sources));
    let how = (env::var("RUSTFLAGS").ok(), env::var("PROFILE").ok());
    println!("cargo::rustc-env=BUILD_FINGERPRINT={:016x}", hash(&how));
    // `cfg(sanitize)` itself needs a nightly compiler.
    println!("cargo::rustc-check-cfg=cfg(address_sanitizer)");
    if env::var("CARGO_CFG_SANITIZE").is_ok_and(|list| list.split(',').any(|one| one == "address")) {
        println!("cargo::rustc-cfg=address_sanitizer");
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
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
