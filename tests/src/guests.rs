//! Builds guest programs from the source in this repository.
//!
//! The build is cargo's, into a target directory of its own, so that it is quick when nothing has changed. The
//! `wasm32-wasip1` target is installed if it is missing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const TARGET: &str = "wasm32-wasip1";

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).ancestors().next().expect("a path has itself")
}

/// Builds the crate in a directory of the repository, such as `examples/sums`, and returns the module called
/// `name` that comes out of it.
///
/// # Panics
/// If it cannot be built; the compiler's messages are in the panic's.
pub fn build(directory: &str, name: &str) -> PathBuf {
    install_target();
    let target = root().join("target").join("guests");
    let manifest = root().join(directory).join("Cargo.toml");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--release", "--target", TARGET]);
    cargo.arg("--manifest-path").arg(&manifest).arg("--target-dir").arg(&target);
    // Flags meant for the host's code, such as a sanitizer's, are not for a guest.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{directory}: {}", String::from_utf8_lossy(&output.stderr));
    target.join(TARGET).join("release").join(format!("{name}.wasm"))
}

fn install_target() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let list = Command::new("rustup").args(["target", "list", "--installed"]).output();
        let installed = list
            .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).lines().any(|line| line == TARGET));
        if !installed {
            // If this fails, the build says what is missing.
            let _ = Command::new("rustup").args(["target", "add", TARGET]).status();
        }
    });
}
