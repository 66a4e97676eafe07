//! Configuration of a node and of its first process.

use std::net::TcpListener;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use lunatic_core::code::Memories;
use lunatic_core::config::{FIRST_STACK, MAX_FILES, MAX_RESOURCES, MAX_STACK, ProcessConfig, USUAL_STACK};
use lunatic_host::Capabilities;
use lunatic_host::capabilities::forbidden::Forbidden;
use lunatic_jit::Cache;
use lunatic_net::{GivenListener, NetworkRules, Policy};
use lunatic_resources::{GuestDir, Quota};

use crate::error::RuntimeError;

/// Maximum number of worker threads of a node. More workers than processors gain nothing, and a worker that looks for
/// work visits all others.
pub const MAX_WORKERS: usize = 1024;

/// Configuration of a node. Each field has a setter of the same name: `RuntimeConfig::default().workers(2)`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RuntimeConfig {
    /// Number of worker threads, from 1 to [`MAX_WORKERS`]. Default: one for each processor.
    pub workers: usize,
    /// Reductions that a process may use in one turn.
    pub slice: u64,
    /// Bytes of linear memory that a process may use. Its waiting messages may use the same number again, unless
    /// `max_mailbox` is set.
    pub max_memory: u64,
    /// Bytes of memory that all processes may use together.
    pub max_total_memory: Option<u64>,
    /// Bytes of messages that may wait for a process. Default: the value of `max_memory`.
    pub max_mailbox: Option<u64>,
    /// Number of messages that may wait for a process.
    pub max_messages: Option<u64>,
    /// Reductions that a process may use in its life.
    pub max_reductions: Option<u64>,
    /// Number of processes that may live at a time; at least 1.
    pub max_processes: Option<NonZeroU64>,
    /// Number of configurations, modules, errors and files that a process may have, of each; at most 65,536. Default:
    /// 65,536, but 4,096 files.
    pub max_resources: Option<u64>,
    /// Bytes of native stack of the first process, which is also the maximum for every other process. The others have
    /// 256 KiB, or the size in their configuration.
    pub stack_size: usize,
    /// Arguments of the first process, beginning with the program's name.
    pub args: Vec<String>,
    /// Environment variables of the first process.
    pub env: Vec<(String, String)>,
    /// Directories that the first process may use.
    pub dirs: Vec<PreopenedDir>,
    /// Listening sockets that the first process inherits as open descriptors, after its directories.
    pub listeners: Vec<Arc<TcpListener>>,
    /// Addresses to which the first process may connect or bind, and names that it may resolve. Default: all.
    pub network: NetworkRules,
    /// Patterns of host functions that no process may call, such as `lunatic::networking::*`; at most 64.
    pub forbidden: Vec<String>,
    /// Runs plain modules without reduction counters. For measurements only: an endless loop then keeps its worker
    /// for ever.
    pub unmetered: bool,
    /// How the linear memories of processes are allocated.
    pub memories: Memories,
    /// Confines speculative execution to the memory as well, for guests that may be hostile; see
    /// [`CompileOptions`](lunatic_jit::CompileOptions).
    pub untrusted: bool,
    /// Seed of the scheduler's random numbers.
    pub seed: u64,
    /// Cache of native code. Default: none, and programs are compiled each time.
    pub cache: Option<Arc<Cache>>,
    /// Writes `/tmp/perf-PID.map`, in which Linux's perf finds the names of guest functions.
    pub perf_map: bool,
}

impl RuntimeConfig {
    /// Sets [`workers`](RuntimeConfig#structfield.workers).
    pub fn workers(mut self, workers: usize) -> RuntimeConfig {
        self.workers = workers;
        self
    }

    /// Sets [`slice`](RuntimeConfig#structfield.slice).
    pub fn slice(mut self, slice: u64) -> RuntimeConfig {
        self.slice = slice;
        self
    }

    /// Sets [`max_memory`](RuntimeConfig#structfield.max_memory).
    pub fn max_memory(mut self, max_memory: u64) -> RuntimeConfig {
        self.max_memory = max_memory;
        self
    }

    /// Sets [`max_total_memory`](RuntimeConfig#structfield.max_total_memory).
    pub fn max_total_memory(mut self, max_total_memory: Option<u64>) -> RuntimeConfig {
        self.max_total_memory = max_total_memory;
        self
    }

    /// Sets [`max_mailbox`](RuntimeConfig#structfield.max_mailbox).
    pub fn max_mailbox(mut self, max_mailbox: Option<u64>) -> RuntimeConfig {
        self.max_mailbox = max_mailbox;
        self
    }

    /// Sets [`max_messages`](RuntimeConfig#structfield.max_messages).
    pub fn max_messages(mut self, max_messages: Option<u64>) -> RuntimeConfig {
        self.max_messages = max_messages;
        self
    }

    /// Sets [`max_reductions`](RuntimeConfig#structfield.max_reductions).
    pub fn max_reductions(mut self, max_reductions: Option<u64>) -> RuntimeConfig {
        self.max_reductions = max_reductions;
        self
    }

    /// Sets [`max_processes`](RuntimeConfig#structfield.max_processes).
    pub fn max_processes(mut self, max_processes: Option<NonZeroU64>) -> RuntimeConfig {
        self.max_processes = max_processes;
        self
    }

    /// Sets [`max_resources`](RuntimeConfig#structfield.max_resources).
    pub fn max_resources(mut self, max_resources: Option<u64>) -> RuntimeConfig {
        self.max_resources = max_resources;
        self
    }

    /// Sets [`stack_size`](RuntimeConfig#structfield.stack_size).
    pub fn stack_size(mut self, stack_size: usize) -> RuntimeConfig {
        self.stack_size = stack_size;
        self
    }

    /// Sets [`args`](RuntimeConfig#structfield.args).
    pub fn args(mut self, args: Vec<String>) -> RuntimeConfig {
        self.args = args;
        self
    }

    /// Sets [`env`](RuntimeConfig#structfield.env).
    pub fn env(mut self, env: Vec<(String, String)>) -> RuntimeConfig {
        self.env = env;
        self
    }

    /// Sets [`dirs`](RuntimeConfig#structfield.dirs).
    pub fn dirs(mut self, dirs: Vec<PreopenedDir>) -> RuntimeConfig {
        self.dirs = dirs;
        self
    }

    /// Sets [`listeners`](RuntimeConfig#structfield.listeners).
    pub fn listeners(mut self, listeners: Vec<Arc<TcpListener>>) -> RuntimeConfig {
        self.listeners = listeners;
        self
    }

    /// Sets [`network`](RuntimeConfig#structfield.network).
    pub fn network(mut self, network: NetworkRules) -> RuntimeConfig {
        self.network = network;
        self
    }

    /// Sets [`forbidden`](RuntimeConfig#structfield.forbidden).
    pub fn forbidden(mut self, forbidden: Vec<String>) -> RuntimeConfig {
        self.forbidden = forbidden;
        self
    }

    /// Sets [`unmetered`](RuntimeConfig#structfield.unmetered).
    pub fn unmetered(mut self, unmetered: bool) -> RuntimeConfig {
        self.unmetered = unmetered;
        self
    }

    /// Sets [`memories`](RuntimeConfig#structfield.memories).
    pub fn memories(mut self, memories: Memories) -> RuntimeConfig {
        self.memories = memories;
        self
    }

    /// Sets [`untrusted`](RuntimeConfig#structfield.untrusted).
    pub fn untrusted(mut self, untrusted: bool) -> RuntimeConfig {
        self.untrusted = untrusted;
        self
    }

    /// Sets [`seed`](RuntimeConfig#structfield.seed).
    pub fn seed(mut self, seed: u64) -> RuntimeConfig {
        self.seed = seed;
        self
    }

    /// Sets [`cache`](RuntimeConfig#structfield.cache).
    pub fn cache(mut self, cache: Option<Arc<Cache>>) -> RuntimeConfig {
        self.cache = cache;
        self
    }

    /// Sets [`perf_map`](RuntimeConfig#structfield.perf_map).
    pub fn perf_map(mut self, perf_map: bool) -> RuntimeConfig {
        self.perf_map = perf_map;
        self
    }
}

impl Default for RuntimeConfig {
    fn default() -> RuntimeConfig {
        RuntimeConfig {
            workers: std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS),
            slice: 100_000,
            max_memory: 4 << 30,
            max_total_memory: None,
            max_mailbox: None,
            max_messages: None,
            max_reductions: None,
            max_processes: None,
            max_resources: None,
            stack_size: FIRST_STACK,
            args: Vec::new(),
            env: Vec::new(),
            dirs: Vec::new(),
            listeners: Vec::new(),
            network: NetworkRules::default(),
            forbidden: Vec::new(),
            unmetered: false,
            memories: Memories::default(),
            untrusted: false,
            seed: 0,
            cache: None,
            perf_map: false,
        }
    }
}

/// A directory of the host, and its name in the guest.
#[derive(Clone, Debug)]
pub struct PreopenedDir {
    /// Path on the host.
    pub host: PathBuf,
    /// Path in the guest.
    pub guest: String,
    /// Whether the guest may only read.
    pub is_read_only: bool,
}

/// Creates the configuration of the first process. It may do everything within the limits of `config`. `functions`
/// are the names of all host functions.
pub(crate) fn first_process(
    config: RuntimeConfig,
    functions: &[(String, String)],
) -> Result<ProcessConfig, RuntimeError> {
    let quota = config.max_processes.map(|limit| Quota::new(limit.get(), None));
    let quota = quota.transpose().expect("there is none above it");
    let forbidden =
        (!config.forbidden.is_empty()).then(|| Forbidden::below(None, config.forbidden, functions));
    let forbidden = forbidden
        .transpose()
        .map_err(|unusable| RuntimeError::Forbidden(unusable.to_string()))?
        .map(Arc::new);
    let dirs = config.dirs.into_iter().map(open).collect::<Result<_, _>>()?;
    let capabilities = Capabilities {
        texts: 0,
        args: config.args,
        env: config.env,
        dirs,
        listeners: config.listeners.into_iter().map(GivenListener::new).map(Arc::new).collect(),
        redirects: None,
        network: Arc::new(Policy::of_first(config.network)),
        forbidden,
    };
    Ok(ProcessConfig {
        max_memory: config.max_memory,
        max_reductions: config.max_reductions,
        max_mailbox: config.max_mailbox,
        max_messages: config.max_messages.unwrap_or(u64::MAX),
        max_resources: config.max_resources.map_or(MAX_RESOURCES, |limit| limit.min(MAX_RESOURCES)),
        max_files: config.max_resources.map_or(MAX_FILES, |limit| limit.min(MAX_RESOURCES)),
        stack_size: config.stack_size.min(USUAL_STACK),
        max_stack: config.stack_size.min(MAX_STACK),
        quota,
        ..ProcessConfig::unlimited(Box::new(capabilities))
    })
}

pub(crate) fn open(dir: PreopenedDir) -> Result<GuestDir, RuntimeError> {
    match Dir::open_ambient_dir(&dir.host, ambient_authority()) {
        Ok(opened) => {
            let (name, dir, is_read_only) = (dir.guest.into(), Arc::new(opened), dir.is_read_only);
            Ok(GuestDir { name, dir, is_read_only, opened: None })
        }
        Err(source) => Err(RuntimeError::Dir { path: dir.host, source }),
    }
}
