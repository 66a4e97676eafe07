//! Builds guest programs from the source in this repository.
//!
//! The build is cargo's, into a target directory of its own, so that it is quick when nothing has changed. The
//! `wasm32-wasip1` target is installed if it is missing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::toolchains;

/// What guests are built for.
pub const TARGET: &str = "wasm32-wasip1";

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
    run(directory, &mut cargo(directory, &["build", "--quiet", "--release", "--target", TARGET]));
    target_directory().join(TARGET).join("release").join(format!("{name}.wasm"))
}

/// The same for a crate with C in it; or nothing, where there is no compiler for that.
///
/// # Panics
/// If it cannot be built; the compiler's messages are in the panic's.
pub fn build_with_c(directory: &str, name: &str) -> Option<PathBuf> {
    install_target();
    let compiler = toolchains::c_compiler(directory)?;
    let mut cargo = cargo(directory, &["build", "--quiet", "--release", "--target", TARGET]);
    cargo.env("CC_wasm32_wasip1", compiler).env("AR_wasm32_wasip1", "ar");
    // What no test needs of SQLite, and takes a third of the time that it is built and compiled.
    let without = ["FTS3", "FTS3_PARENTHESIS", "FTS5", "RTREE", "DBSTAT_VTAB"];
    let without: Vec<_> = without.iter().map(|part| format!("-USQLITE_ENABLE_{part}")).collect();
    run(directory, cargo.env("LIBSQLITE3_FLAGS", without.join(" ")));
    Some(target_directory().join(TARGET).join("release").join(format!("{name}.wasm")))
}

/// Installs a published program, and returns the module called `name` that comes out of it. Once: what is there needs no
/// registry.
///
/// # Panics
/// If it cannot be built; the compiler's messages are in the panic's.
pub fn install(package: &str, version: &str, name: &str) -> PathBuf {
    let place = target_directory().join("installed").join(format!("{package}-{version}"));
    let module = place.join("bin").join(format!("{name}.wasm"));
    if !module.exists() {
        install_target();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args([
            "install",
            "--quiet",
            "--locked",
            "--no-default-features",
            "--no-track",
            "--target",
            TARGET,
        ]);
        cargo.args([package, "--version", version]).arg("--root").arg(&place);
        cargo.arg("--target-dir").arg(target_directory());
        cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        // It is built for longer than it runs.
        cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env("CARGO_PROFILE_RELEASE_DEBUG", "false");
        run(package, &mut cargo);
    }
    module
}

/// Builds a test binary of the crate in a directory of the repository: which one say the arguments, and the name of its
/// target. It is unoptimised, as `cargo test` builds it.
///
/// # Panics
/// If it cannot be built; the compiler's messages are in the panic's.
pub fn test_binary(directory: &str, arguments: &[&str], name: &str) -> PathBuf {
    install_target();
    let arguments = [&["test", "--no-run", "--message-format", "json"], arguments].concat();
    let output = run(directory, &mut cargo(directory, &arguments));
    // A line of JSON for each artifact; nothing in a path of ours would be escaped.
    let mark = format!("\"executable\":\"{}", target_directory().display());
    let executables = output.lines().filter(|line| line.contains(&format!("/{name}-")));
    let executable = executables.filter_map(|line| line.split_once(&mark)?.1.split('"').next()).next();
    let executable = executable.unwrap_or_else(|| panic!("{name} is not among what was built: {output}"));
    PathBuf::from(format!("{}{executable}", target_directory().display()))
}

/// Cargo with these arguments, for the crate in a directory of the repository. What it builds goes where guests do.
pub fn cargo(directory: &str, arguments: &[&str]) -> Command {
    let manifest = root().join(directory).join("Cargo.toml");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).arg("--manifest-path").arg(&manifest).arg("--target-dir").arg(target_directory());
    // Flags meant for the host's code, such as a sanitizer's, are not for a guest.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo
}

fn target_directory() -> PathBuf {
    root().join("target").join("guests")
}

/// What it says on standard output.
fn run(directory: &str, cargo: &mut Command) -> String {
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{directory}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Installs what guests are built for, if it is missing.
pub fn install_target() {
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
