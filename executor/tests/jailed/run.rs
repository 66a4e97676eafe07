//! Runs each case in processes of its own.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use lunatic_executor::{Cache, JailError, NetworkRules, PreopenedDir, RuntimeConfig, enter_jail};

use super::cases::{CASES, Case, Place};

/// The environment variables that tell a process its case, its directory, and whether to enter the jail.
const CASE: &str = "LUNATIC_JAIL_CASE";
const PLACE: &str = "LUNATIC_JAIL_PLACE";
const JAILED: &str = "LUNATIC_JAIL_JAILED";

/// The exit statuses of a process: success, refused, another error, no jail on this kernel.
const DONE: u8 = 0;
const REFUSED: u8 = 10;
const WRONG: u8 = 20;
const NO_JAIL: u8 = 30;

pub(crate) fn main() {
    if let Ok(name) = std::env::var(CASE) {
        std::process::exit(i32::from(within(&name)));
    }
    // Filters, as the test harness has them.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |case: &&Case| wanted.is_empty() || wanted.iter().any(|word| case.name.contains(word));
    let mut failed = 0;
    for case in CASES.iter().filter(is_wanted) {
        match check(case) {
            Ok(()) => println!("test {} ... ok", case.name),
            Err(wrong) if wrong.is_empty() => {
                return crate::skipping::skip("the kernel has no landlock");
            }
            Err(wrong) => {
                failed += 1;
                println!("test {} ... FAILED\n{wrong}", case.name);
            }
        }
    }
    assert_eq!(failed, 0, "cases failed");
}

/// Runs a case. Returns what is wrong with it, or nothing if there is no jail.
fn check(case: &Case) -> Result<(), String> {
    let (outside, inside) = (run(case, false), run(case, true));
    let status = |output: &Output| output.status.code();
    if status(&inside) == Some(i32::from(NO_JAIL)) {
        return Err(String::new());
    }
    let expected = if case.is_allowed { DONE } else { REFUSED };
    let told = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    if status(&outside) != Some(i32::from(DONE)) {
        return Err(format!(
            "outside of the jail it is not possible either: {:?} {}",
            outside.status,
            told(&outside)
        ));
    }
    if status(&inside) != Some(i32::from(expected)) {
        return Err(format!("expected {expected}, and it was {:?} {}", inside.status, told(&inside)));
    }
    Ok(())
}

fn run(case: &Case, jailed: bool) -> Output {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for name in ["given", "given/sub", "read-only", "beside"] {
        std::fs::create_dir(directory.path().join(name)).expect("made");
        std::fs::write(directory.path().join(name).join("file"), "content").expect("written");
    }
    let mut command = Command::new("timeout");
    command.arg("60").arg(std::env::current_exe().expect("a test has a path"));
    command.env(CASE, case.name).env(PLACE, directory.path()).env_remove("RUST_BACKTRACE");
    if jailed {
        command.env(JAILED, "1");
    }
    command.output().expect("it runs")
}

/// Runs a case in this process. Returns its exit status.
fn within(name: &str) -> u8 {
    let case = CASES.iter().find(|case| case.name == name).expect("the parent passes a known case");
    let path = std::env::var_os(PLACE).expect("the parent passes the directory");
    let place = Place::new(Path::new(&path));
    if std::env::var_os(JAILED).is_some() {
        match enter_jail(&config(&place, case.network.clone()), None) {
            Ok(()) => {}
            Err(JailError::Landlock(_)) => return NO_JAIL,
            Err(error) => {
                eprintln!("{error}");
                return WRONG;
            }
        }
    }
    match (case.attempt)(&place) {
        Ok(()) => DONE,
        // Landlock returns the last one for a name in another directory with different rights.
        Err(error) if [libc::EPERM, libc::EACCES, libc::EXDEV].map(Some).contains(&error.raw_os_error()) => {
            REFUSED
        }
        Err(error) => {
            eprintln!("{error:?}");
            WRONG
        }
    }
}

fn config(place: &Place, network: NetworkRules) -> RuntimeConfig {
    let dir =
        |name: &str, is_read_only| PreopenedDir { host: place.at(name), guest: name.into(), is_read_only };
    RuntimeConfig::default()
        .dirs(vec![dir("given", false), dir("read-only", true)])
        .network(network)
        .cache(Some(Arc::new(Cache::open(place.at("cache"), 1 << 20).expect("it is ours"))))
}
