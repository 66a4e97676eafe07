//! Servers as separate processes on one processor, while the load runs on another one. A server prints its address in its first
//! line. Servers take turns.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use lunatic_tests::Killed;
use lunatic_tests::guests::{build, root};

/// The processors of the servers and of the load, as arguments of `taskset`.
pub const SERVERS: &str = "0";
/// See [`SERVERS`].
pub const LOAD: &str = "1";

/// The argument that makes a benchmark run as the server that it compares with.
pub const SERVE: &str = "serve";

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    /// The name in tables.
    pub name: &'static str,
    /// The address with the port.
    pub address: String,
    child: Killed,
}

impl Server {
    /// Starts this program with [`SERVE`] as its first argument.
    ///
    /// # Panics
    /// If it does not start.
    pub fn own(name: &'static str, args: &[&str]) -> Server {
        let own = std::env::current_exe().expect("a program has a path");
        Server::start(name, &own, &[&[SERVE], args].concat())
    }

    /// Starts `lunatic-exec` with a guest of `benches/guests`, on one worker.
    ///
    /// # Panics
    /// If it cannot be built or does not start.
    pub fn guest(name: &'static str, guest: &str, options: &[&str]) -> Server {
        let module = build(&format!("benches/guests/{guest}"), guest);
        let module = module.to_str().expect("the path of the repository is UTF-8");
        Server::start(name, &command(), &[&["--workers", "1", "--no-cache"], options, &[module]].concat())
    }

    /// Starts any program.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(name: &'static str, program: &Path, args: &[&str]) -> Server {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", SERVERS]).arg(program).args(args).stdout(Stdio::piped());
        let mut child = pinned.spawn().expect("there is taskset");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().strip_prefix("listening at ").expect("an address").to_owned();
        Server { name, address, child: Killed(child) }
    }

    /// Reads a file of the server in `/proc`.
    ///
    /// # Panics
    /// If there is none.
    pub fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(path).expect("it runs, and this is Linux")
    }

    /// The processor time of the server's threads. Ended threads are not counted; these servers end none.
    ///
    /// # Panics
    /// If the server has ended.
    pub fn cpu_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let used = tasks.filter_map(|task| {
            let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(used.sum())
    }
}

/// Moves this program off the servers' processor, with all threads that it starts from now on.
///
/// # Panics
/// If there is no `taskset`, or no second processor.
pub fn make_room() {
    let own = std::process::id().to_string();
    let output = Command::new("taskset").args(["-cp", LOAD, &own]).output().expect("there is taskset");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The optimised command.
fn command() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--release", "--package", "lunatic-cli"]).current_dir(root());
    assert!(cargo.status().expect("cargo runs").success(), "the command cannot be built");
    root().join("target/release/lunatic-exec")
}
