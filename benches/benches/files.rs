//! Files and standard streams compared with Wasmtime's command: the same modules, whole commands, which take turns; medians.
//!
//! `cargo bench -p lunatic-benches --bench files -- [ROUNDS] [NAME]`. Wasmtime is found on the PATH as `wasmtime`, or named by
//! `$WASMTIME`; without it, only our own figures are printed. Both have their code in their caches, which a run before the first
//! round fills. The files are in the directory for temporary files, and in the system's page cache.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lunatic_benches::command;
use lunatic_benches::table::{cell, median};
use lunatic_tests::guests::build;
use tempfile::TempDir;

const ROUNDS: usize = 7;

/// The size of the copied file in bytes.
const COPIED: usize = 64 << 20;

/// The number of directories, and of files in each.
const DIRECTORIES: usize = 100;
const FILES: usize = 100;

/// The number of lines, all equal.
const LINES: usize = 1_000_000;
const LINE: &[u8] = b"a line as they come\n";

/// The number of starts in a round, because they are short.
const STARTS: usize = 10;

/// The other end of a standard stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Nothing,
    File,
    Pipe,
}

/// A benchmark.
struct Case {
    name: &'static str,
    module: &'static str,
    args: &'static [&'static str],
    stdin: End,
    stdout: End,
    /// Runs in a round.
    runs: usize,
}

const CASES: [Case; 8] = [
    Case::of_files("copy 64 MiB", &["copy", "/large", "/copied"]),
    Case::of_files("walk 10,000 files", &["walk", "/tree"]),
    Case { stdin: End::File, ..Case::of_files("1,000,000 lines of a file", &["lines"]) },
    Case { stdin: End::Pipe, ..Case::of_files("1,000,000 lines of a pipe", &["lines"]) },
    Case::of_files("1,000,000 writes to a file", &["write", "/written"]),
    Case { stdout: End::File, ..Case::of_files("1,000,000 lines to stdout, a file", &["print"]) },
    Case { stdout: End::Pipe, ..Case::of_files("1,000,000 lines to stdout, a pipe", &["print"]) },
    Case { module: "hello", runs: STARTS, ..Case::of_files("start and end", &[]) },
];

impl Case {
    const fn of_files(name: &'static str, args: &'static [&'static str]) -> Case {
        Case { name, module: "files", args, stdin: End::Nothing, stdout: End::Nothing, runs: 1 }
    }
}

/// The files of the benchmarks.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().expect("there is a place for temporary files");
        let path = directory.path();
        let write = |path: PathBuf, bytes: &[u8]| fs::write(path, bytes).expect("it can be written");
        write(path.join("large"), &vec![7; COPIED]);
        write(path.join("lines"), &LINE.repeat(LINES));
        for outer in 0..DIRECTORIES {
            let directory = path.join("tree").join(outer.to_string());
            fs::create_dir_all(&directory).expect("it can be made");
            (0..FILES).for_each(|inner| write(directory.join(inner.to_string()), b"content"));
        }
        Place { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn stdin(&self, end: End) -> Stdio {
        match end {
            End::Nothing => Stdio::null(),
            End::Pipe => Stdio::piped(),
            End::File => File::open(self.path().join("lines")).expect("it was written").into(),
        }
    }

    fn stdout(&self, end: End) -> Stdio {
        match end {
            End::Nothing => Stdio::null(),
            End::Pipe => Stdio::piped(),
            End::File => File::create(self.path().join("printed")).expect("it can be written").into(),
        }
    }
}

/// The command that runs the modules.
enum Runner {
    Ours(PathBuf),
    Wasmtime(PathBuf),
}

impl Runner {
    fn command(&self, place: &Place) -> Command {
        let directory = place.path().display();
        match self {
            Runner::Ours(program) => {
                let mut command = Command::new(program);
                command
                    .arg(format!("--dir={directory}::/"))
                    .arg("--cache-dir")
                    .arg(place.path().join("cache"));
                command
            }
            Runner::Wasmtime(program) => {
                let mut command = Command::new(program);
                command.args(["run", "-C", "cache=y", &format!("--dir={directory}::/")]);
                command
            }
        }
    }

    /// The time of a run from its start to its end.
    fn time(&self, case: &Case, module: &Path, place: &Place) -> Duration {
        let mut command = self.command(place);
        command.arg(module).args(case.args);
        command.stdin(place.stdin(case.stdin)).stdout(place.stdout(case.stdout));
        let start = Instant::now();
        let child = command.spawn().expect("it can be started");
        attend(child, case);
        start.elapsed()
    }
}

/// Feeds a child and reads its output to the end.
fn attend(mut child: Child, case: &Case) {
    let input = child.stdin.take();
    let feeder = thread::spawn(move || {
        let Some(mut input) = input else { return };
        input.write_all(&LINE.repeat(LINES)).expect("the child reads");
    });
    if let Some(mut output) = child.stdout.take() {
        let mut buffer = vec![0; 64 << 10];
        while output.read(&mut buffer).expect("a pipe can be read") > 0 {}
    }
    feeder.join().expect("the child has read all of it");
    assert!(child.wait().expect("it was started").success(), "{} failed", case.name);
}

fn wasmtime() -> Option<PathBuf> {
    let program = std::env::var_os("WASMTIME").map_or_else(|| "wasmtime".into(), PathBuf::from);
    match Command::new(&program).arg("--version").output() {
        Ok(output) => {
            println!("beside {}", String::from_utf8_lossy(&output.stdout).trim());
            Some(program)
        }
        Err(error) => {
            println!("wasmtime is left out: {}: {error}", program.display());
            None
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let rounds = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(ROUNDS);
    let wanted = args.iter().find(|arg| arg.parse::<usize>().is_err());
    let mut runners = vec![Runner::Ours(command())];
    runners.extend(wasmtime().map(Runner::Wasmtime));
    let place = Place::new();
    println!(
        "{:<40}{:>12}{:>12}{:>12}",
        format!("medians of {rounds} rounds, ms"),
        "ours",
        "wasmtime",
        "ratio"
    );
    for case in CASES.iter().filter(|case| wanted.is_none_or(|wanted| case.name.contains(wanted.as_str()))) {
        let module = build("benches/guests/files", case.module);
        let mut times = vec![Vec::new(); runners.len()];
        runners.iter().for_each(|runner| _ = runner.time(case, &module, &place));
        for _ in 0..rounds * case.runs {
            for (runner, times) in runners.iter().zip(&mut times) {
                times.push(runner.time(case, &module, &place).as_secs_f64() * 1e3);
            }
        }
        let mut medians = times.into_iter().map(median);
        let (ours, theirs) = (medians.next().flatten(), medians.next().flatten());
        let ratio = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
        println!("{:<40}{}{}{}", case.name, cell(ours, 12), cell(theirs, 12), cell(ratio, 12));
    }
}
