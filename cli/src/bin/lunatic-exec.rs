//! `lunatic-exec`: runs a WebAssembly program as lightweight processes.
//!
//! The command parses its arguments, then builds one runtime or simulator, loads the program and runs it. Exit statuses:
//!
//! * the program's own;
//! * 134 if its first process traps;
//! * 1 for a file that cannot be used, 2 for wrong usage;
//! * 143 or 130 if SIGTERM or SIGINT stops it;
//! * in a simulation, 125 for a deadlock, and 124 when the simulated time is over;
//! * 101 if a test fails: as Cargo's runner, the command runs the tests of a test binary.
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

/// Run a WebAssembly program as isolated, preempted processes on all processors.
///
/// A module that lunatic-prep has prepared is verified first. A plain module is prepared in memory. A test binary runs its
/// tests, with the flags of `cargo test`. Options can also be read from a file: see --config.
#[derive(Debug, Parser)]
#[command(
    name = COMMAND,
    version,
    args_override_self = true,
    override_usage = "lunatic-exec [OPTIONS] <APP.lwasm> [ARG]...",
    after_help = "Examples:\n  lunatic-exec app.lwasm one two\n  \
        lunatic-exec --dir data::/data:ro --listen 127.0.0.1:8080 --max-memory 64MiB app.wasm\n  \
        lunatic-exec --seeds 0..10000 app.wasm"
)]
struct Arguments {
    /// Read options from a TOML file
    ///
    /// A key is an option's name, a list is an option that is given several times: max-memory = "64MiB",
    /// dir = ["data::/data:ro"], a table [env]. For an option with one value, the command line takes precedence.
    #[arg(long, value_name = "FILE", help_heading = PROGRAM)]
    config: Option<PathBuf>,
    /// Preopen a directory for the program
    ///
    /// GUEST is the name that the program sees; without it, the name is the same. With :ro, nothing in the directory can be
    /// changed.
    #[arg(long = "dir", value_name = "HOST[::GUEST][:ro]", value_parser = parse_dir, help_heading = "Files")]
    dirs: Vec<PreopenedDir>,
    /// Listen here for connections that the program accepts
    ///
    /// The program accepts with WASI functions. The descriptors follow those of the directories: the first is 3 if there
    /// are none. Port 0 is any free port; the address is printed.
    #[arg(long = "listen", value_name = "ADDRESS:PORT", value_parser = parse_address, help_heading = "Network")]
    listeners: Vec<SocketAddr>,
    /// Set a variable of the program's environment
    ///
    /// Without a value, the variable of this name is passed on, if it is set. Nothing else is inherited.
    #[arg(long = "env", value_name = "NAME[=VALUE]", value_parser = parse_variable, help_heading = PROGRAM)]
    env: Vec<String>,
    /// Pass on the environment, or the matching variables
    ///
    /// PATTERN may contain *, as in LC_*. Variables that --env sets take precedence.
    #[arg(
        long,
        value_name = "PATTERN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "*",
        help_heading = PROGRAM
    )]
    env_inherit: Vec<String>,
    /// Behave as another runtime, for programs that rely on it
    ///
    /// lunatic is Lunatic 0.13: the environment is passed on, the directory "." is preopened, and the program's name is
    /// its file name without the path.
    #[arg(long, value_name = "RUNTIME", help_heading = PROGRAM)]
    compat: Option<Compat>,
    /// Add --bench to the program's arguments
    #[arg(long, help_heading = PROGRAM)]
    bench: bool,
    #[command(flatten)]
    network: NetworkOptions,
    /// Host functions that no process may call
    ///
    /// Examples: lunatic::networking::*, *::compile_module, or * for all. A WASI function is forbidden under its older name,
    /// too. A pattern that matches no function is an error.
    #[arg(long = "forbid", value_name = "PATTERN", help_heading = "Security")]
    forbidden: Vec<String>,
    /// Worker threads [default: one per processor]
    #[arg(long, value_name = "N", value_parser = parse_workers, help_heading = PERFORMANCE)]
    workers: Option<usize>,
    /// Linear memory of each process [default: 4GiB]
    ///
    /// In bytes, or with the suffix KiB, MiB or GiB. What the host keeps for a process may take as much again.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = LIMITS)]
    max_memory: Option<u64>,
    /// Memory of all processes together [default: no limit]
    ///
    /// Includes mailboxes and what the host keeps for processes. Beyond it, no memory grows, and a process that cannot get
    /// its first memory ends.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = LIMITS)]
    max_total_memory: Option<u64>,
    /// Bytes that may wait in a mailbox [default: as the memory limit]
    ///
    /// A process that exceeds it is killed.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = LIMITS)]
    max_mailbox: Option<u64>,
    /// Messages that may wait in a mailbox [default: no limit]
    ///
    /// A process that exceeds it is killed.
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    max_messages: Option<u64>,
    /// Processes alive at a time [default: no limit]
    ///
    /// Beyond it, spawning fails.
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    max_processes: Option<NonZeroU64>,
    /// Reductions that a process may use in its life [default: no limit]
    ///
    /// A reduction is about one WebAssembly instruction. A process that has used them is killed.
    #[arg(long, value_name = "REDUCTIONS", help_heading = LIMITS)]
    max_reductions: Option<u64>,
    /// Resources of each kind for a process [default: 65536, but 4096 files]
    ///
    /// Kinds are configurations, modules, errors, files, databases, and sockets, all kinds of sockets together. At most
    /// 65536.
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    max_resources: Option<u64>,
    /// Native stack of the first process [default: 1MiB]
    ///
    /// Calls are on this stack. From 64KiB to 64MiB. Other processes have 256KiB, or what their configuration gives them, up
    /// to this size.
    #[arg(long, value_name = "SIZE", value_parser = parse_stack, help_heading = LIMITS)]
    stack_size: Option<usize>,
    /// Reductions until the next process runs [default: 100000]
    ///
    /// A reduction is about one WebAssembly instruction.
    #[arg(long, value_name = "REDUCTIONS", value_parser = parse_slice, help_heading = PERFORMANCE)]
    slice: Option<NonZeroU64>,
    /// Do not insert charges into a plain module
    ///
    /// For measurements only: an endless loop then keeps its worker for ever.
    #[arg(long, help_heading = PERFORMANCE)]
    unmetered: bool,
    /// Mask speculative memory accesses, too
    ///
    /// For guests that may be hostile. Costs up to half more time.
    #[arg(long, help_heading = "Security")]
    untrusted: bool,
    /// Guard memories by address space instead of checks
    ///
    /// For programs of few processes that compute a lot. A memory takes 6 GiB of address space; there is enough for about
    /// 5,000. Programs that cannot spawn, and processes whose configuration gives them 256 MiB or more, have it anyway.
    #[arg(long, help_heading = PERFORMANCE)]
    reserve_memory: bool,
    /// Where native code is cached
    ///
    /// The directory must belong to you, and only you may be able to write to it. The default is lunatic in
    /// $XDG_CACHE_HOME, or in .cache of your home directory.
    #[arg(long, value_name = "DIR", help_heading = PERFORMANCE)]
    cache_dir: Option<PathBuf>,
    /// Compile the program, and cache nothing
    #[arg(long, conflicts_with = "cache_dir", help_heading = PERFORMANCE)]
    no_cache: bool,
    /// Give up all rights that the options do not need
    ///
    /// Before the program is loaded, Linux's landlock and seccomp take away files outside of its directories, sockets if no
    /// network is allowed, other programs and processes. The cache of native code is only read.
    #[arg(long, conflicts_with_all = ["perf_map", "timeline"], help_heading = "Security")]
    jail: bool,
    /// Serve the program's metrics in the Prometheus format
    ///
    /// At http://ADDRESS:PORT/metrics.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = parse_address, help_heading = OBSERVATION)]
    prometheus: Option<SocketAddr>,
    /// Write /tmp/perf-PID.map, in which perf finds function names
    #[arg(long, help_heading = OBSERVATION)]
    perf_map: bool,
    #[command(flatten)]
    simulation: SimulationOptions,
    /// The program, - for stdin, and its arguments
    ///
    /// Everything after the program is an argument of the program, even if it looks like an option.
    // One list, not a program and a list: between the two, clap would still take known options for its own.
    #[arg(value_name = "APP.lwasm", required = true, trailing_var_arg = true, help_heading = "Arguments")]
    program: Vec<OsString>,
}

// Headings of the help that several options have.
const PROGRAM: &str = "Program and environment";
const LIMITS: &str = "Limits";
const PERFORMANCE: &str = "Performance and code cache";
const OBSERVATION: &str = "Observation";

/// Another runtime whose behaviour a program may rely on.
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

/// The arguments of the command line, with the options of the file that `--config` names.
fn arguments() -> Result<Arguments, Failure> {
    let line: Vec<OsString> = std::env::args_os().collect();
    // The first pass finds --config, and exits with a message if the command line alone is wrong.
    let arguments = Arguments::parse_from(&line);
    let Some(file) = &arguments.config else { return Ok(arguments) };
    let from_file = options_from_file(file, &Arguments::command())?.into_iter().map(OsString::from);
    // The file's options come first: of two values for one option, clap keeps the last one.
    let (name, rest) = line.split_at(1.min(line.len()));
    let together = name.iter().cloned().chain(from_file).chain(rest.iter().cloned());
    // The command line is correct, so an error is in a value of the file, or in its combination with an option here.
    Arguments::try_parse_from(together).map_err(|error| {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Failure::new(file, "stdin", message.to_owned())
    })
}

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    // A jail hides this information, so it is read first.
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
    // Whatever the jail would refuse has been opened by now, and there is only one thread: others inherit the jail.
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
    // While the program loads, the default action is right: there is nothing to lose yet. It is right for an unmetered program,
    // too: a loop that keeps its worker cannot be stopped, only ended with the whole command.
    if !unmetered {
        listen_to_signals(ignored, runtime.shutdown_handle(), runtime.inspector())
            .map_err(|error| Failure { place: "signals".into(), cause: error.into() })?;
    }
    if let Some(address) = prometheus {
        let served = runtime.serve_metrics(address);
        let served = served.map_err(|error| Failure { place: address.to_string(), cause: error.into() })?;
        // Port 0 became any free port, so the address is printed.
        eprintln!("{COMMAND}: metrics at http://{}/metrics", served.address());
    }
    // From here on, output is the program's alone.
    let status = runtime.run(&program);
    // The operating system keeps the lowest byte of a status, as C's `exit` does.
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
    let config = RuntimeConfig::default()
        .workers(arguments.workers.unwrap_or(defaults.workers))
        .slice(arguments.slice.map_or(defaults.slice, NonZeroU64::get))
        .max_memory(arguments.max_memory.unwrap_or(defaults.max_memory))
        .max_total_memory(arguments.max_total_memory)
        .max_mailbox(arguments.max_mailbox)
        .max_messages(arguments.max_messages)
        .max_processes(arguments.max_processes)
        .max_reductions(arguments.max_reductions)
        .max_resources(arguments.max_resources)
        .stack_size(arguments.stack_size.unwrap_or(defaults.stack_size))
        .args(guest_arguments(&arguments)?)
        .env(environment(&arguments)?)
        .dirs(directories(&arguments))
        .listeners(arguments.listeners.iter().map(listen).collect::<Result<_, _>>()?)
        .network(arguments.network.rules())
        .forbidden(arguments.forbidden)
        .unmetered(arguments.unmetered)
        .memories(memories)
        .untrusted(arguments.untrusted)
        .cache(cache)
        .perf_map(arguments.perf_map);
    Ok(config)
}

/// The program's name and its arguments. WASI's arguments are text: an argument with other bytes is refused, because the guest
/// would see a different one. The name only says what was started, so its invalid bytes are replaced.
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

/// An argument or a variable is not UTF-8, so the program cannot receive it.
fn not_text(place: String) -> Failure {
    Failure { place, cause: "it is not UTF-8, which WebAssembly programs expect".into() }
}

/// The variables that `--env` names, and then the inherited ones that it does not name. A variable that is not UTF-8 is refused
/// if it was named, and skipped otherwise: the guest could not read it.
fn environment(arguments: &Arguments) -> Result<Vec<(String, String)>, Failure> {
    let mut variables: Vec<(String, String)> = Vec::new();
    // Explicit variables are collected first, so that inherited ones cannot replace them.
    for variable in &arguments.env {
        let Some((name, value)) = environment_variable(variable)? else { continue };
        // Of several values for one name, the last one counts.
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

/// Binds a listener and prints its address, because port 0 becomes any free port.
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

/// Splits `NAME=VALUE`, or looks up the host's value of `NAME`. Returns `None` if that is not set.
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
    // The first "::" separates the names: a guest's name may contain another one.
    let (host, guest) = names.split_once("::").unwrap_or((names, names));
    if host.is_empty() || guest.is_empty() {
        return Err("expected HOST or HOST::GUEST, optionally followed by :ro".into());
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

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080".into())
}

fn parse_slice(text: &str) -> Result<NonZeroU64, String> {
    text.parse().map_err(|_| "expected a number of reductions, at least 1".into())
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
    let number: u64 = number
        .trim()
        .parse()
        .map_err(|_| format!("{text:?} is not a size: expected bytes, or a suffix as in 64MiB"))?;
    number.checked_mul(unit).ok_or_else(|| format!("{text:?} is too large"))
}

fn parse_stack(text: &str) -> Result<usize, String> {
    let size = parse_size(text)?;
    let fits = usize::try_from(size).ok().filter(|size| (MIN_STACK..=MAX_STACK).contains(size));
    fits.ok_or_else(|| format!("expected a size from {MIN_STACK} to {MAX_STACK} bytes"))
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
    fn every_option_has_a_heading_and_a_short_summary() {
        for option in Arguments::command().get_opts() {
            let name = option.get_long().expect("every option has a long name");
            assert!(option.get_help_heading().is_some(), "--{name} has no heading");
            let summary = option.get_help().expect("every option has a help text").to_string();
            assert!(summary.len() <= 80, "the summary of --{name} has {} bytes", summary.len());
        }
    }

    #[test]
    fn wrong_values_are_explained_with_an_example() {
        for wrong in [":8080", "localhost:8080", "8080"] {
            assert!(parse_address(wrong).unwrap_err().contains("127.0.0.1:8080"), "{wrong}");
        }
        assert!(parse_slice("0").unwrap_err().contains("at least 1"));
    }

    #[test]
    fn the_number_of_workers_has_limits() {
        assert_eq!(parse_workers("1024"), Ok(1024));
        for wrong in ["0", "1025", "-1", "18446744073709551615", ""] {
            assert!(parse_workers(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn arguments_after_the_module_are_the_guests() {
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
