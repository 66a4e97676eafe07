//! Instructions of a spawn, a message, a request and a write, counted by valgrind: figures that do not depend on what
//! else the machine does.
//!
//! `cargo xtask instructions [OTHER…]` counts those of `lunatic-exec` as it is here, and beside it those of other
//! executables of it, such as one that was built before a change. Each operation is counted in two runs of different
//! lengths; the difference is what the operations cost, without the start and the end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{cargo, root, run};

/// An operation: its name, its guest, its argument there, and how often it is done in the two runs.
const OPERATIONS: [(&str, &str, &str, [u64; 2]); 6] = [
    ("a spawn, answer and exit", "actors", "spawn", [4_000, 8_000]),
    ("a message of a ping-pong", "actors", "ping-pong", [10_000, 20_000]),
    ("a hop in a ring", "actors", "ring", [10_000, 20_000]),
    ("a message of a fan-in", "actors", "fan-in", [10_000, 20_000]),
    ("a request over HTTP", "http", "", [1_000, 2_000]),
    ("a line written by WASI", "files", "print", [100_000, 200_000]),
];

/// Counts and prints. Whether all could be counted.
pub(crate) fn count(others: &[&str]) -> bool {
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("valgrind counts instructions and is not installed");
        return false;
    }
    if !run(cargo().args(["build", "--quiet", "--release", "--package", "lunatic-cli"])) {
        return false;
    }
    let mut executables: Vec<PathBuf> = others.iter().map(PathBuf::from).collect();
    executables.push(root().join("target/release/lunatic-exec"));
    let mut is_complete = true;
    for (operation, guest, argument, counts) in OPERATIONS {
        let Some(module) = build(guest) else { return false };
        for executable in &executables {
            match per_operation(executable, &module, argument, counts) {
                Some(instructions) => println!("{instructions:>8} {operation}  ({})", executable.display()),
                None => {
                    println!("       ? {operation}  ({})", executable.display());
                    is_complete = false;
                }
            }
        }
    }
    is_complete
}

/// Builds a guest of the benchmarks.
fn build(guest: &str) -> Option<PathBuf> {
    let target = root().join("target/bench-guests");
    let manifest = root().join("benches/guests").join(guest).join("Cargo.toml");
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "--target", "wasm32-wasip1", "--manifest-path"]);
    let built = run(build.arg(manifest).arg("--target-dir").arg(&target));
    built.then(|| target.join("wasm32-wasip1/release").join(format!("{guest}.wasm")))
}

/// Instructions of one operation.
fn per_operation(executable: &Path, module: &Path, argument: &str, counts: [u64; 2]) -> Option<u64> {
    // The first run fills the cache: compiling would be most of what is counted. It runs in valgrind too, whose processor
    // is another one to the compiler.
    let warm = counting(executable, module);
    let [fewer, more] = match argument {
        "" => {
            requests(warm, 1)?;
            counts.map(|count| requests(counting(executable, module), count))
        }
        argument => {
            let run = |mut command: Command, count: u64| {
                command.args([argument, &count.to_string()]).stdout(Stdio::null());
                let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output().ok()?;
                Some(String::from_utf8_lossy(&output.stderr).into_owned())
            };
            run(warm, 1)?;
            counts.map(|count| collected(&run(counting(executable, module), count)?))
        }
    };
    Some((more?.checked_sub(fewer?)?) / (counts[1] - counts[0]))
}

fn counting(executable: &Path, module: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(executable);
    command.arg("--workers").arg("1").arg(module);
    command
}

/// Runs the server for this many requests of one connection; what it cost. 0 if it was not counted.
fn requests(mut command: Command, count: u64) -> Option<u64> {
    let mut server = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().ok()?;
    let answered = ask(&mut server, count);
    let stopped = Command::new("kill").arg(server.id().to_string()).status().is_ok();
    let mut report = String::new();
    server.stderr.take()?.read_to_string(&mut report).ok()?;
    server.wait().ok()?;
    answered.filter(|()| stopped)?;
    Some(collected(&report).unwrap_or(0))
}

fn ask(server: &mut Child, count: u64) -> Option<()> {
    let mut said = String::new();
    BufReader::new(server.stdout.take()?).read_line(&mut said).ok()?;
    let mut stream = TcpStream::connect(said.trim().rsplit(' ').next()?).ok()?;
    let mut answer = [0; 1024];
    for _ in 0..count {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
        let mut read = 0;
        while !answer[..read].ends_with(b"world\n") {
            read += stream.read(&mut answer[read..]).ok().filter(|count| *count > 0)?;
        }
    }
    Some(())
}

/// What callgrind has counted.
fn collected(report: &str) -> Option<u64> {
    let line = report.lines().find(|line| line.contains("Collected"))?;
    line.rsplit(' ').next()?.trim().parse().ok()
}
