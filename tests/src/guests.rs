//! Builds guest programs from the source in this repository.
//!
//! Cargo builds them into a separate target directory, so that a second build without changes is quick. The
//! `wasm32-wasip1` target is installed if it is missing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::toolchains;

/// The target that guests are built for.
pub const TARGET: &str = "wasm32-wasip1";

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).ancestors().next().expect("a path has itself")
}

/// Builds the crate in a directory of the repository, such as `examples/sums`. Returns the path of its module `name`.
///
/// # Panics
/// If the crate cannot be built. The panic message has the compiler's messages.
pub fn build(directory: &str, name: &str) -> PathBuf {
    install_target();
    run(directory, &mut cargo(directory, &["build", "--quiet", "--release", "--target", TARGET]));
    target_directory().join(TARGET).join("release").join(format!("{name}.wasm"))
}

/// Like [`build`], for a crate with C sources. Installs a C compiler: see [`toolchains`].
///
/// # Panics
/// If the compiler cannot be installed or the crate cannot be built. The panic message has the compiler's messages.
pub fn build_with_c(directory: &str, name: &str) -> PathBuf {
    install_target();
    let compiler = toolchains::c_compiler(directory);
    let mut cargo = cargo(directory, &["build", "--quiet", "--release", "--target", TARGET]);
    cargo.env("CC_wasm32_wasip1", compiler).env("AR_wasm32_wasip1", "ar");
    // No test needs these parts of SQLite, and they take a third of the time to build and compile it.
    let without = ["FTS3", "FTS3_PARENTHESIS", "FTS5", "RTREE", "DBSTAT_VTAB"];
    let without: Vec<_> = without.iter().map(|part| format!("-USQLITE_ENABLE_{part}")).collect();
    run(directory, cargo.env("LIBSQLITE3_FLAGS", without.join(" ")));
    target_directory().join(TARGET).join("release").join(format!("{name}.wasm"))
}

/// Installs a published program, unless it is already installed. Returns the path of its module `name`.
///
/// # Panics
/// If the program cannot be built. The panic message has the compiler's messages.
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
        // Optimising would take longer than it saves when the program runs.
        cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env("CARGO_PROFILE_RELEASE_DEBUG", "false");
        run(package, &mut cargo);
    }
    module
}

/// Builds a test binary of the crate in a directory of the repository, unoptimised, as `cargo test` does. The arguments of
/// Cargo and the name of the target select the binary.
///
/// # Panics
/// If the binary cannot be built. The panic message has the compiler's messages.
pub fn test_binary(directory: &str, arguments: &[&str], name: &str) -> PathBuf {
    install_target();
    let arguments = [&["test", "--no-run", "--message-format", "json"], arguments].concat();
    let output = run(directory, &mut cargo(directory, &arguments));
    // Cargo prints a line of JSON for each artifact. The paths contain no character that JSON escapes.
    let mark = format!("\"executable\":\"{}", target_directory().display());
    let executables = output.lines().filter(|line| line.contains(&format!("/{name}-")));
    let executable = executables.filter_map(|line| line.split_once(&mark)?.1.split('"').next()).next();
    let executable = executable.unwrap_or_else(|| panic!("{name} is not among what was built: {output}"));
    PathBuf::from(format!("{}{executable}", target_directory().display()))
}

/// Cargo with these arguments for the crate in a directory of the repository, with the target directory of guests.
pub fn cargo(directory: &str, arguments: &[&str]) -> Command {
    let manifest = root().join(directory).join("Cargo.toml");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).arg("--manifest-path").arg(&manifest).arg("--target-dir").arg(target_directory());
    // Flags for the host's code, such as a sanitizer's, do not apply to guests.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo
}

fn target_directory() -> PathBuf {
    root().join("target").join("guests")
}

/// Runs Cargo and returns its standard output.
fn run(directory: &str, cargo: &mut Command) -> String {
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{directory}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Installs the target of guests if it is missing.
pub fn install_target() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let list = Command::new("rustup").args(["target", "list", "--installed"]).output();
        let installed = list
            .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).lines().any(|line| line == TARGET));
        if !installed {
            // If this fails, the build reports what is missing.
            let _ = Command::new("rustup").args(["target", "add", TARGET]).status();
        }
    });
}
