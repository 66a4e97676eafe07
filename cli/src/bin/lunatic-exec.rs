//! `lunatic-exec`: runs a WebAssembly program as lightweight processes.
//!
//! Arguments in, one runtime or simulator built, loaded and run. Exit status: the program's own; 134 if its first process
//! traps; 1 for a file that cannot be used; 2 for wrong usage; 143 or 130 if SIGTERM or SIGINT stops it. In a simulation
//! also 125 for a deadlock, and 124 when the simulated time is over. A test binary is run for its tests, as
//! cargo's runner has to: then 101 if one fails.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::env::VarError;
use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, ValueEnum};
use lunatic_cli::{
    Failure, IgnoredSignals, NetworkOptions, SimulationOptions, default_cache, fail, listen_to_signals,
    open_cache, options_from_file, read_input, run_tests, runs_tests,
};
use lunatic_executor::{
    MAX_STACK, MAX_WORKERS, MIN_STACK, Memories, PreopenedDir, Runtime, RuntimeConfig, RuntimeError,
    Simulator, enter_jail, fits,
};

/// Run a WebAssembly program: its processes are isolated, preempted, and scheduled on all processors.
///
/// A file prepared by lunatic-prep is verified first; a plain module is prepared in memory. A test binary is run for its
/// tests, with the flags of any `cargo test`.
#[derive(Debug, Parser)]
#[command(name = COMMAND, version, args_override_self = true, override_usage = "lunatic-exec [OPTIONS] <APP.lwasm> [ARG]...")]
struct Arguments {
    /// Read options from a file, as TOML: max-memory = "64MiB", dir = ["data::/data:ro"]. Where an option has one value,
    /// the command line's is the last word
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A directory that the program may use, and the name it sees [default name: the same]; with :ro, nothing in it may be
    /// changed
    #[arg(long = "dir", value_name = "HOST[::GUEST][:ro]", value_parser = parse_dir)]
    dirs: Vec<PreopenedDir>,
    /// Listen here for connections that the program accepts by WASI's functions; its descriptors are those behind the
    /// directories, the first is 3 if there is none
    #[arg(long = "listen", value_name = "ADDRESS:PORT")]
    listeners: Vec<SocketAddr>,
    /// A variable of the program's environment; without a value it is passed on, if it is set
    #[arg(long = "env", value_name = "NAME[=VALUE]", value_parser = parse_variable)]
    env: Vec<String>,
    /// Pass on the whole environment, or the variables whose names fit: LC_*; what --env says of a variable comes first
    #[arg(long, value_name = "PATTERN", num_args = 0..=1, require_equals = true, default_missing_value = "*")]
    env_inherit: Vec<String>,
    /// Do as another runtime did, for programs that rely on it. `lunatic` is Lunatic 0.13: the environment is passed on,
    /// the directory "." may be used, and the program's name is its file's, without the path
    #[arg(long, value_name = "RUNTIME")]
    compat: Option<Compat>,
    /// Add --bench to the arguments of the program
    #[arg(long)]
    bench: bool,
    #[command(flatten)]
    network: NetworkOptions,
    /// Host functions that no process may call: lunatic::networking::*, *::compile_module, or * for all. A function of
    /// WASI is forbidden by its older name too
    #[arg(long = "forbid", value_name = "PATTERN")]
    forbidden: Vec<String>,
    /// Worker threads [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = parse_workers)]
    workers: Option<usize>,
    /// Memory of each process, in bytes, or with the suffix KiB, MiB or GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_memory: Option<u64>,
    /// Memory of all processes together, likewise; beyond it none grows, and a process that cannot get what it begins
    /// with ends [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_total_memory: Option<u64>,
    /// Messages that may wait for a process, in bytes, or with a suffix; whoever exceeds it ends [default: as much as
    /// of memory]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_mailbox: Option<u64>,
    /// Messages that may wait for a process; whoever exceeds it ends [default: no limit]
    #[arg(long, value_name = "N")]
    max_messages: Option<u64>,
    /// Processes that may live at a time; beyond it, spawning fails [default: no limit]
    #[arg(long, value_name = "N")]
    max_processes: Option<NonZeroU64>,
    /// Reductions that a process may use in its life; whoever has used them ends [default: no limit]
    #[arg(long, value_name = "REDUCTIONS")]
    max_reductions: Option<u64>,
    /// Configurations, modules, errors or files that a process may have of each, at most 65536 [default: 65536, and 4096
    /// files]
    #[arg(long, value_name = "N")]
    max_resources: Option<u64>,
    /// Native stack of the first process, on which its calls are, in bytes, or with a suffix; up to 64MiB. Others have 256KiB,
    /// or what their configuration gives them, up to this [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_stack)]
    stack_size: Option<usize>,
    /// Reductions (about one WebAssembly instruction each) until the next process has its turn
    #[arg(long, value_name = "REDUCTIONS")]
    slice: Option<NonZeroU64>,
    /// Insert no charges into a plain module: for measuring only, an endless loop then keeps its worker
    #[arg(long)]
    unmetered: bool,
    /// Keep speculative execution inside a guest's memory too: for guests that may be hostile; costs up to half more
    #[arg(long)]
    untrusted: bool,
    /// Guard every process's memory by 6 GiB of address space instead of checks, as far as there is some (for about
    /// 5,000): for programs of few processes that compute a lot. Programs that cannot spawn have it anyway, and
    /// processes whose configuration gives them 256 MiB or more
    #[arg(long)]
    reserve_memory: bool,
    /// Keep native code in this directory, which must belong to you [default: lunatic in $XDG_CACHE_HOME, or in
    /// .cache in your home]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Compile the program, as if it was never run before, and keep nothing
    #[arg(long, conflicts_with = "cache_dir")]
    no_cache: bool,
    /// Give up what the options do not need before the program is loaded, by Linux's landlock and seccomp: files but those
    /// of its directories, sockets if no network is allowed, other programs and processes. The cache of native code is
    /// only read
    #[arg(long, conflicts_with_all = ["perf_map", "timeline"])]
    jail: bool,
    /// Show what the program counts and measures at http://ADDRESS/metrics, as Prometheus reads it
    #[arg(long, value_name = "ADDRESS:PORT")]
    prometheus: Option<SocketAddr>,
    /// Write /tmp/perf-PID.map, in which perf finds the names of the program's functions
    #[arg(long)]
    perf_map: bool,
    #[command(flatten)]
    simulation: SimulationOptions,
    /// The program, `-` for stdin; whatever follows it are its arguments, also what looks like an option here
    // One list, not a program and a list: clap would still take known options between the two for its own.
    #[arg(value_name = "APP.lwasm", required = true, trailing_var_arg = true)]
    program: Vec<OsString>,
}

/// What programs may rely on that were written for another runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compat {
    Lunatic,
}

const COMMAND: &str = "lunatic-exec";

fn main() -> ExitCode {
    match arguments().and_then(run) {
        Ok(status) => status,
        Err(failure) => fail(COMMAND, &failure),
    }
}

/// What is on the command line, with what is in the file that it names.
fn arguments() -> Result<Arguments, Failure> {
    let line: Vec<OsString> = std::env::args_os().collect();
    let arguments = Arguments::parse_from(&line);
    let Some(file) = &arguments.config else { return Ok(arguments) };
    let from_file = options_from_file(file, &Arguments::command())?.into_iter().map(OsString::from);
    let (name, rest) = line.split_at(1.min(line.len()));
    Ok(Arguments::parse_from(name.iter().cloned().chain(from_file).chain(rest.iter().cloned())))
}

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    // Before a jail hides it.
    let ignored = IgnoredSignals::now();
    let path = PathBuf::from(&arguments.program[0]);
    let bytes = read_input(&path)?;
    let unmetered = arguments.unmetered;
    if unmetered {
        eprintln!("{COMMAND}: warning: running unmetered: an endless loop keeps its worker for ever");
    }
    if arguments.simulation.are_given() {
        return simulate(arguments, &path, &bytes);
    }
    let (prometheus, jail) = (arguments.prometheus, arguments.jail);
    let config = configuration(arguments)?;
    // All that it does not let in is open by now, and there is no other thread yet.
    if jail {
        enter_jail(&config, prometheus)
            .map_err(|error| Failure { place: "jail".into(), cause: error.into() })?;
    }
    let args = config.args.clone();
    let runtime =
        Runtime::new(config).map_err(|error| Failure { place: "runtime".into(), cause: error.into() })?;
    let program = runtime.load(&bytes).map_err(|error| Failure::new(&path, "stdin", error))?;
    if runs_tests(&program, &bytes, &args) {
        return run_tests(runtime, &program, &bytes, &args);
    }
    drop(bytes);
    // Not while it loads: there is nothing to lose yet. Nor unmetered: a loop that keeps its worker cannot be stopped,
    // only ended with the whole command.
    if !unmetered {
        listen_to_signals(ignored, runtime.stopper(), runtime.inspector())
            .map_err(|error| Failure { place: "signals".into(), cause: error.into() })?;
    }
    if let Some(address) = prometheus {
        let served = runtime.serve_metrics(address);
        let served = served.map_err(|error| Failure { place: address.to_string(), cause: error.into() })?;
        // With port 0 it is any that is free.
        eprintln!("{COMMAND}: metrics at http://{}/metrics", served.address());
    }
    let status = runtime.run(&program);
    // A status is one byte for the operating system, the lowest one, as `exit` in C has it.
    Ok(ExitCode::from(status.0 as u8))
}

fn simulate(arguments: Arguments, path: &Path, bytes: &[u8]) -> Result<ExitCode, Failure> {
    let (options, workers) = (arguments.simulation.clone(), arguments.workers);
    let config = configuration(arguments)?;
    let args = config.args.clone();
    let simulator = Simulator::new(config)
        .map_err(|error| Failure { place: "simulation".into(), cause: error.into() })?;
    let program = simulator.load(bytes).map_err(|error| Failure::new(path, "stdin", error))?;
    if runs_tests(&program, bytes, &args) {
        return Err(Failure::new(path, "stdin", RuntimeError::SimulatedTests));
    }
    options.run(COMMAND, &simulator, &program, workers)
}

fn configuration(arguments: Arguments) -> Result<RuntimeConfig, Failure> {
    let defaults = RuntimeConfig::default();
    let cache = match &arguments.cache_dir {
        Some(directory) => Some(open_cache(directory)?),
        None if arguments.no_cache => None,
        None => default_cache(COMMAND),
    };
    let memories = if arguments.reserve_memory { Memories::Reserved } else { Memories::ByLimit };
    Ok(RuntimeConfig {
        workers: arguments.workers.unwrap_or(defaults.workers),
        slice: arguments.slice.map_or(defaults.slice, NonZeroU64::get),
        max_memory: arguments.max_memory.unwrap_or(defaults.max_memory),
        max_total_memory: arguments.max_total_memory,
        max_mailbox: arguments.max_mailbox,
        max_messages: arguments.max_messages,
        max_processes: arguments.max_processes,
        max_reductions: arguments.max_reductions,
        max_resources: arguments.max_resources,
        stack_size: arguments.stack_size.unwrap_or(defaults.stack_size),
        args: guest_arguments(&arguments)?,
        env: environment(&arguments)?,
        dirs: directories(&arguments),
        listeners: arguments.listeners.iter().map(listen).collect::<Result<_, _>>()?,
        network: arguments.network.rules(),
        forbidden: arguments.forbidden,
        unmetered: arguments.unmetered,
        memories,
        untrusted: arguments.untrusted,
        cache,
        perf_map: arguments.perf_map,
        ..defaults
    })
}

/// The program's name and what follows it. WASI's arguments are text: other bytes are refused, for the guest would see
/// another argument than was given. The name, which only says what was started, is shown as well as it can be.
fn guest_arguments(arguments: &Arguments) -> Result<Vec<String>, Failure> {
    let (program, rest) = arguments.program.split_first().expect("it is required");
    let name = match arguments.compat {
        Some(Compat::Lunatic) => Path::new(program).file_name().unwrap_or(program),
        None => program,
    };
    let mut all = vec![name.to_string_lossy().into_owned()];
    for argument in rest {
        let text = argument.to_str().ok_or_else(|| not_text(format!("argument {argument:?}")))?;
        all.push(text.to_owned());
    }
    all.extend(arguments.bench.then(|| "--bench".to_owned()));
    Ok(all)
}

/// The program cannot be given something that is not UTF-8.
fn not_text(place: String) -> Failure {
    Failure { place, cause: "it is not UTF-8, which WebAssembly programs expect".into() }
}

/// What was asked for, and then the host's variables that have not been named, if all are passed on. What is not text is
/// refused if it was asked for by name, and else left out: the guest could not read it.
fn environment(arguments: &Arguments) -> Result<Vec<(String, String)>, Failure> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for variable in &arguments.env {
        let Some((name, value)) = environment_variable(variable)? else { continue };
        // What comes last is said last.
        variables.retain(|(other, _)| *other != name);
        variables.push((name, value));
    }
    let everything = (arguments.compat == Some(Compat::Lunatic)).then_some("*");
    let patterns: Vec<&str> = arguments.env_inherit.iter().map(String::as_str).chain(everything).collect();
    if !patterns.is_empty() {
        let is_wanted = |name: &str| patterns.iter().any(|pattern| fits(pattern, name));
        let named: HashSet<String> = variables.iter().map(|(name, _)| name.clone()).collect();
        let inherited = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        variables.extend(inherited.filter(|(name, _)| !named.contains(name) && is_wanted(name)));
    }
    Ok(variables)
}

/// Says where that is, for with port 0 it is any that is free.
fn listen(address: &SocketAddr) -> Result<Arc<TcpListener>, Failure> {
    let bound = TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (bound, listener) =
        bound.map_err(|error| Failure { place: address.to_string(), cause: error.into() })?;
    eprintln!("{COMMAND}: listening at {bound}");
    Ok(Arc::new(listener))
}

fn directories(arguments: &Arguments) -> Vec<PreopenedDir> {
    let here = PreopenedDir { host: ".".into(), guest: ".".into(), is_read_only: false };
    let here = (arguments.compat == Some(Compat::Lunatic)).then_some(here);
    here.into_iter().chain(arguments.dirs.iter().cloned()).collect()
}

/// `NAME=VALUE`, or the host's value of `NAME`, if it has one.
fn environment_variable(variable: &str) -> Result<Option<(String, String)>, Failure> {
    if let Some((name, value)) = variable.split_once('=') {
        return Ok(Some((name.to_owned(), value.to_owned())));
    }
    match std::env::var(variable) {
        Ok(value) => Ok(Some((variable.to_owned(), value))),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(not_text(format!("variable {variable}"))),
    }
}

fn parse_dir(text: &str) -> Result<PreopenedDir, String> {
    let (names, is_read_only) = match text.strip_suffix(":ro") {
        Some(names) => (names, true),
        None => (text, false),
    };
    let (host, guest) = names.split_once("::").unwrap_or((names, names));
    if host.is_empty() || guest.is_empty() {
        return Err("expected HOST or HOST::GUEST, and :ro behind it or not".into());
    }
    Ok(PreopenedDir { host: host.into(), guest: guest.into(), is_read_only })
}

fn parse_variable(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('=') {
        Err("expected NAME or NAME=VALUE".into())
    } else {
        Ok(text.into())
    }
}

fn parse_workers(text: &str) -> Result<usize, String> {
    let range = 1..=MAX_WORKERS;
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {MAX_WORKERS}"))
}

fn parse_size(text: &str) -> Result<u64, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1u64)];
    let (number, unit) = units
        .iter()
        .find_map(|&(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))
        .expect("the empty suffix always fits");
    let number: u64 = number.trim().parse().map_err(|_| format!("{text:?} is not a size: try 64MiB"))?;
    number.checked_mul(unit).ok_or_else(|| format!("{text:?} is too large"))
}

fn parse_stack(text: &str) -> Result<usize, String> {
    let size = parse_size(text)?;
    let fits = usize::try_from(size).ok().filter(|size| (MIN_STACK..=MAX_STACK).contains(size));
    fits.ok_or_else(|| format!("a stack has from {MIN_STACK} to {MAX_STACK} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("65536"), Ok(65536));
        assert_eq!(parse_size("64KiB"), Ok(64 << 10));
        assert_eq!(parse_size("2GiB"), Ok(2 << 30));
        for wrong in ["", "MiB", "-1", "1.5GiB", "64mb", "99999999999999GiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn stacks_have_limits() {
        assert_eq!(parse_stack("64KiB"), Ok(64 << 10));
        assert_eq!(parse_stack("64MiB"), Ok(64 << 20));
        for wrong in ["65535", "0", "65MiB", "1TiB"] {
            assert!(parse_stack(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn workers_are_neither_none_nor_countless() {
        assert_eq!(parse_workers("1024"), Ok(1024));
        for wrong in ["0", "1025", "-1", "18446744073709551615", ""] {
            assert!(parse_workers(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_follows_the_module_belongs_to_the_guest() {
        let line = ["--workers", "1", "a.lwasm", "--workers", "-x", "--help", "--", "-"];
        let arguments = Arguments::parse_from([COMMAND].iter().chain(&line));
        assert_eq!(arguments.workers, Some(1));
        assert_eq!(arguments.program, line[2..]);
        assert_eq!(Arguments::parse_from([COMMAND, "-", "-"]).program, ["-", "-"]);
    }

    #[test]
    fn a_directory_may_have_another_name_for_the_guest() {
        let dir = parse_dir("/srv/data::/data").unwrap();
        assert_eq!((dir.host.to_str(), &*dir.guest), (Some("/srv/data"), "/data"));
        assert_eq!(parse_dir("data").unwrap().guest, "data");
        let dir = parse_dir("/srv/data::/data:ro").unwrap();
        assert_eq!((dir.host.to_str(), &*dir.guest, dir.is_read_only), (Some("/srv/data"), "/data", true));
        assert!(parse_dir("data:ro").unwrap().is_read_only);
        assert!(parse_dir("::x").is_err() && parse_dir("x::").is_err() && parse_dir(":ro").is_err());
    }
}
