//! Servers as processes of their own, on one processor, which say in their first line where they listen.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lunatic_tests::guests::{build, root};

/// A server that runs.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: String,
    child: Child,
}

impl Server {
    /// The program itself, on mio.
    pub(crate) fn bare() -> Server {
        let own = std::env::current_exe().expect("a program has a path");
        Server::start("bare mio", own, &["serve"])
    }

    /// The command, with the guest.
    pub(crate) fn ours() -> Server {
        let guest = build("benches/guests/http", "http");
        let guest = guest.to_str().expect("the path of the repository is UTF-8");
        Server::start("a process each", command(), &["--workers", "1", "--no-cache", guest])
    }

    /// Go's sockets.
    ///
    /// # Errors
    /// Where Go is not installed.
    pub(crate) fn go() -> Result<Server, String> {
        let program = root().join("target").join("peers").join("http-go");
        let mut go = Command::new("go");
        go.current_dir(root().join("benches/peers/go-http")).arg("build").arg("-o").arg(&program).arg(".");
        match go.output() {
            Ok(output) if output.status.success() => Ok(Server::start("Go", program, &[])),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(format!("Go is not installed ({error})")),
        }
    }

    fn start(name: &'static str, program: PathBuf, args: &[&str]) -> Server {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", "0"]).arg(program).args(args).stdout(Stdio::piped());
        let mut child = pinned.spawn().expect("there is taskset");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().strip_prefix("listening at ").expect("an address").to_owned();
        Server { name, address, child }
    }

    /// The processor time that it has used.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        // After the name, which may have spaces: user and system time are the 12th and 13th.
        let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        // Of a hundredth of a second, on every Linux that this runs on.
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command, as it is released.
fn command() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--release", "--package", "lunatic-cli"]).current_dir(root());
    assert!(cargo.status().expect("cargo runs").success(), "the command cannot be built");
    root().join("target/release/lunatic-exec")
}
