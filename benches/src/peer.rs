//! Other engines. Each is a program of its own in `benches/peers`, built on first use.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use lunatic_tests::Killed;
use lunatic_tests::guests::{build, root};

/// A running peer that calls functions of one module, one at a time.
#[derive(Debug)]
pub struct Peer {
    _child: Killed,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// The nanoseconds that the module's compilation took.
    pub compile_ns: u64,
}

impl Peer {
    /// Wasmtime with a guest of `benches/guests`; see `benches/peers/wasmtime` for the variants.
    ///
    /// # Errors
    /// When it cannot be built or started, for instance without a network.
    pub fn wasmtime(name: &str, variant: &str) -> Result<Peer, String> {
        Peer::wasmtime_module(&build(&format!("benches/guests/{name}"), name), variant)
    }

    /// Wasmtime with any module. If it has imports, it is compiled and cannot be called.
    ///
    /// # Errors
    /// As for [`Peer::wasmtime`].
    pub fn wasmtime_module(module: &Path, variant: &str) -> Result<Peer, String> {
        let module = module.to_str().ok_or("the path is not UTF-8")?;
        Peer::start("wasmtime", &[module, variant])
    }

    fn start(name: &str, args: &[&str]) -> Result<Peer, String> {
        let target = root().join("target").join("peers");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--release", "--locked", "--target-dir"]).arg(&target);
        cargo.arg("--manifest-path").arg(root().join("benches/peers").join(name).join("Cargo.toml"));
        let built = cargo.output().map_err(|error| error.to_string())?;
        if !built.status.success() {
            return Err(String::from_utf8_lossy(&built.stderr).into_owned());
        }
        let program = target.join("release").join(format!("peer-{name}"));
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut peer = Peer { _child: Killed(child), input, output, compile_ns: 0 };
        peer.compile_ns = peer.line().trim().parse().map_err(|_| "it did not start")?;
        Ok(peer)
    }

    /// Calls a function: milliseconds and the result.
    ///
    /// # Panics
    /// When the peer has ended.
    pub fn run(&mut self, name: &str, size: i32) -> (f64, i64) {
        writeln!(self.input, "{name} {size}").expect("the peer reads");
        let line = self.line();
        let (time, result) = line.trim().split_once(' ').expect("the peer answers with two numbers");
        (time.parse::<f64>().expect("a number") / 1e6, result.parse().expect("a number"))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the peer writes");
        line
    }
}
