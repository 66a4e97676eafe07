//! What the node and its processes may use.
//!
//! A [`ProcessConfig`] is shared by every process that was spawned with it. A child's never allows more than
//! its parent's: each setter takes the minimum of what is asked for and what the parent has, so that narrowing
//! holds by construction, however a guest combines the calls.

use std::fmt;
use std::net::TcpListener;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use lunatic_jit::Cache;

use crate::account::{Full, Kept, Opened};
use crate::code::{Code, Memories};
use crate::error::{Fault, RuntimeError};
use crate::forbidden::Forbidden;
use crate::net::{GivenListener, NetworkRules, Policy};
use crate::quota::Quota;
use crate::redirect::Redirects;
use crate::scheduler::Priority;

/// Reductions in one unit of Lunatic's fuel; its guests document a unit as about 100,000 instructions.
pub(crate) const REDUCTIONS_PER_FUEL: u64 = 100_000;

/// Environment variables, arguments and directories that a configuration may hold of each.
pub(crate) const MAX_ENTRIES: usize = 4096;

/// Bytes of all texts that a guest may put into a configuration: variables, arguments, names and paths. They are the host's
/// memory, and copied where a configuration changes that children have.
pub(crate) const MAX_TEXT: usize = 1 << 20;

/// Configurations, modules or errors that a process may hold of each, and things that may travel with a message.
pub(crate) const MAX_RESOURCES: u64 = 65_536;

/// Descriptors that a process may have open, if nothing is said about it: they are the whole command's.
const MAX_FILES: u64 = 4096;

/// Worker threads that a node may have: more than there are processors gain nothing, and every one is looked at by
/// those that search for work.
pub const MAX_WORKERS: usize = 1024;

/// Bytes of memory from which on a process that was given this limit by name is a large one.
pub(crate) const LARGE_MEMORY: u64 = 256 << 20;

/// Bytes of native stack for the first process by default, and for all others. Only pages that are used take memory.
const FIRST_STACK: usize = 1 << 20;
pub(crate) const USUAL_STACK: usize = 256 << 10;

/// Bytes of native stack that a process may have at most. A stack is no part of its memory, and a process is not preempted
/// while calls return one after the other, of which a stack of this size has four millions.
pub const MAX_STACK: usize = 64 << 20;

/// Bytes of native stack that every process has at least.
pub const MIN_STACK: usize = 64 << 10;

/// How a node is built.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Worker threads, from 1 to [`MAX_WORKERS`]. Default: one for each processor.
    pub workers: usize,
    /// Reductions that a process may use before the next one has its turn.
    pub slice: u64,
    /// Bytes that a process may use: of linear memory, and as much again of waiting messages.
    pub max_memory: u64,
    /// Bytes of linear memory that all processes may use together.
    pub max_total_memory: Option<u64>,
    /// Bytes of messages that may wait for a process, if it is not as many as it may use of memory.
    pub max_mailbox: Option<u64>,
    /// Messages that may wait for a process.
    pub max_messages: Option<u64>,
    /// Reductions that a process may use in its life.
    pub max_reductions: Option<u64>,
    /// Processes that may live at a time; at least 1.
    pub max_processes: Option<NonZeroU64>,
    /// Configurations, modules, errors or files that a process may have of each; never more than 65,536. Default: that many,
    /// and 4,096 files.
    pub max_resources: Option<u64>,
    /// Bytes of native stack for the first process; no process can be given more. The others have 256 KiB, or what their
    /// configuration gives them.
    pub stack_size: usize,
    /// The first process's arguments, the program's name first.
    pub args: Vec<String>,
    /// The first process's environment.
    pub env: Vec<(String, String)>,
    /// The directories that the first process may use.
    pub dirs: Vec<PreopenedDir>,
    /// The sockets that the first process may accept connections at: open descriptors of its own, behind its directories.
    pub listeners: Vec<Arc<TcpListener>>,
    /// Where the first process may connect to, listen at, and whose addresses it may ask for. Default: anything.
    pub network: NetworkRules,
    /// Host functions that no process may call, by pattern: `lunatic::networking::*`; at most 64.
    pub forbidden: Vec<String>,
    /// Runs plain modules without inserting charges: for measuring only, a loop can then keep a worker for ever.
    pub unmetered: bool,
    /// Where processes' memories lie.
    pub memories: Memories,
    /// Keeps speculative execution inside memories too, for guests that may be hostile; see
    /// [`CompileOptions`](lunatic_jit::CompileOptions).
    pub untrusted: bool,
    /// The seed of the scheduler's choices.
    pub seed: u64,
    /// Where the program's native code is looked for, and kept. Default: nowhere, it is compiled each time.
    pub cache: Option<Arc<Cache>>,
    /// Writes `/tmp/perf-PID.map`, in which Linux's perf finds the names of guest functions.
    pub perf_map: bool,
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

/// A directory of the host and the name by which guests know it.
#[derive(Clone, Debug)]
pub struct PreopenedDir {
    /// Where it is on the host.
    pub host: PathBuf,
    /// What the guest calls it.
    pub guest: String,
    /// Whether nothing in it may be changed.
    pub is_read_only: bool,
}

/// What a process may do; see the module.
#[derive(Clone, Debug)]
pub(crate) struct ProcessConfig {
    pub(crate) max_memory: u64,
    /// Whether the limit was set, and to [`LARGE_MEMORY`] or more: what it may use it probably will. Limits that are
    /// only inherited say nothing.
    pub(crate) is_large: bool,
    /// In reductions; `None` for no limit.
    pub(crate) max_reductions: Option<u64>,
    /// Bytes of waiting messages; `None` for as many as of memory.
    pub(crate) max_mailbox: Option<u64>,
    /// Waiting messages; `u64::MAX` for no limit.
    pub(crate) max_messages: u64,
    /// Of each kind of thing that is known by a number.
    pub(crate) max_resources: u64,
    /// WASI's descriptors, of which there are fewer by default.
    pub(crate) max_files: u64,
    /// Bytes of native stack that processes with this configuration have.
    pub(crate) stack_size: usize,
    /// Bytes of native stack that they can give to others. The first process has as many itself.
    pub(crate) max_stack: usize,
    /// The most urgent that a process may be.
    pub(crate) max_priority: Priority,
    /// Where processes with this configuration, and with those made from it, have their places.
    pub(crate) quota: Option<Arc<Quota>>,
    pub(crate) can_compile_modules: bool,
    pub(crate) can_create_configs: bool,
    pub(crate) can_spawn_processes: bool,
    /// Bytes of texts that guests have put into it.
    pub(crate) texts: usize,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) dirs: Vec<GuestDir>,
    pub(crate) listeners: Vec<Arc<GivenListener>>,
    /// Where what its processes write goes instead.
    pub(crate) redirects: Option<Arc<Redirects>>,
    pub(crate) network: Arc<Policy>,
    pub(crate) forbidden: Option<Arc<Forbidden>>,
    /// What the process that made it is charged for it.
    pub(crate) kept: Charged,
}

/// A charge for a configuration. A copy has none: it is charged for where it is made.
#[derive(Debug, Default)]
pub(crate) struct Charged(Option<Kept>);

impl Clone for Charged {
    fn clone(&self) -> Charged {
        Charged(None)
    }
}

/// Bytes of a configuration without texts, directories and the like.
const CONFIG_BYTES: u64 = 1 << 10;

/// Bytes of an entry of one of its lists, beside its text.
const ENTRY_BYTES: u64 = 128;

/// An open directory under a guest's name.
#[derive(Clone)]
pub(crate) struct GuestDir {
    pub(crate) name: Arc<str>,
    pub(crate) dir: Arc<Dir>,
    pub(crate) is_read_only: bool,
    /// Counted for the process that has opened it, if one has.
    pub(crate) opened: Option<Arc<Opened>>,
}

impl fmt::Debug for GuestDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

impl ProcessConfig {
    /// What the first process may do: everything but exceed the command's limits.
    pub(crate) fn of_first(config: RuntimeConfig) -> Result<ProcessConfig, RuntimeError> {
        let quota = config.max_processes.map(|limit| Quota::new(limit.get(), None));
        let quota = quota.transpose().expect("there is none above it");
        let forbidden = (!config.forbidden.is_empty()).then(|| Forbidden::below(None, config.forbidden));
        let forbidden = forbidden
            .transpose()
            .map_err(|unusable| RuntimeError::Forbidden(unusable.to_string()))?
            .map(Arc::new);
        let dirs = config.dirs.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(ProcessConfig {
            max_memory: config.max_memory,
            is_large: false,
            max_reductions: config.max_reductions,
            max_mailbox: config.max_mailbox,
            max_messages: config.max_messages.unwrap_or(u64::MAX),
            max_resources: config.max_resources.map_or(MAX_RESOURCES, |limit| limit.min(MAX_RESOURCES)),
            max_files: config.max_resources.map_or(MAX_FILES, |limit| limit.min(MAX_RESOURCES)),
            stack_size: config.stack_size.min(USUAL_STACK),
            max_stack: config.stack_size.min(MAX_STACK),
            max_priority: Priority::High,
            quota,
            can_compile_modules: true,
            can_create_configs: true,
            can_spawn_processes: true,
            texts: 0,
            args: config.args,
            env: config.env,
            dirs,
            listeners: config.listeners.into_iter().map(GivenListener::new).map(Arc::new).collect(),
            redirects: None,
            network: Arc::new(Policy::of_first(config.network)),
            forbidden,
            kept: Charged(None),
        })
    }

    /// The same for the first process of another node: a limit on processes is each node's, and so is who watches a socket.
    pub(crate) fn for_another_node(&self) -> ProcessConfig {
        let again = |quota: &Arc<Quota>| Quota::new(quota.limit(), None).expect("there is none above it");
        let listeners = self.listeners.iter().map(|listener| Arc::new(listener.for_another_node())).collect();
        ProcessConfig { quota: self.quota.as_ref().map(again), listeners, ..self.clone() }
    }

    /// A configuration for children of a process with this one: no permissions but the network's, no data, the same limits.
    pub(crate) fn narrowed(&self) -> ProcessConfig {
        ProcessConfig {
            max_memory: self.max_memory,
            is_large: false,
            max_reductions: self.max_reductions,
            max_mailbox: self.max_mailbox,
            max_messages: self.max_messages,
            max_resources: self.max_resources,
            max_files: self.max_files,
            stack_size: self.max_stack.min(USUAL_STACK),
            max_stack: self.max_stack,
            max_priority: self.max_priority,
            quota: self.quota.clone(),
            can_compile_modules: false,
            can_create_configs: false,
            can_spawn_processes: false,
            texts: 0,
            args: Vec::new(),
            env: Vec::new(),
            dirs: Vec::new(),
            listeners: Vec::new(),
            redirects: self.redirects.clone(),
            // Lunatic has no such permission, so its guests do not know that they would have to ask.
            network: self.network.clone(),
            forbidden: self.forbidden.clone(),
            kept: Charged(None),
        }
    }

    /// Limits memory, to no more than the parent's limit.
    pub(crate) fn limit_memory(&mut self, parent: &ProcessConfig, max_memory: u64) {
        self.max_memory = max_memory.min(parent.max_memory);
        self.is_large = self.max_memory >= LARGE_MEMORY;
    }

    /// Limits computation in units of fuel, to no more than the parent's limit. 0 asks for no limit.
    pub(crate) fn limit_fuel(&mut self, parent: &ProcessConfig, fuel: u64) {
        let reductions = if fuel == 0 { u64::MAX } else { fuel.saturating_mul(REDUCTIONS_PER_FUEL) };
        self.limit_reductions(parent, reductions);
    }

    /// Limits computation, to no more than the parent's limit. `u64::MAX` asks for no limit.
    pub(crate) fn limit_reductions(&mut self, parent: &ProcessConfig, reductions: u64) {
        let granted = reductions.min(parent.max_reductions.unwrap_or(u64::MAX));
        self.max_reductions = (granted != u64::MAX).then_some(granted);
    }

    /// Limits the bytes of waiting messages, to no more than the parent's limit.
    pub(crate) fn limit_mailbox(&mut self, parent: &ProcessConfig, bytes: u64) {
        self.max_mailbox = Some(bytes.min(parent.mailbox_bytes()));
    }

    /// The bytes of messages that may wait.
    pub(crate) fn mailbox_bytes(&self) -> u64 {
        self.max_mailbox.unwrap_or(self.max_memory)
    }

    /// Limits the number of waiting messages, to no more than the parent's limit.
    pub(crate) fn limit_messages(&mut self, parent: &ProcessConfig, messages: u64) {
        self.max_messages = messages.min(parent.max_messages);
    }

    /// Limits what is known by numbers, to no more than the parent's limit.
    pub(crate) fn limit_resources(&mut self, parent: &ProcessConfig, resources: u64) {
        self.max_resources = resources.min(parent.max_resources);
        self.max_files = resources.min(parent.max_files);
    }

    /// Gives processes a native stack of this size, of no more than the parent can give.
    pub(crate) fn set_stack(&mut self, parent: &ProcessConfig, bytes: u64) {
        self.max_stack = usize::try_from(bytes).unwrap_or(usize::MAX).min(parent.max_stack);
        self.stack_size = self.max_stack;
    }

    /// Limits how urgent a process may be, to no more than the parent's limit. All numbers beyond the highest ask for it.
    pub(crate) fn limit_priority(&mut self, parent: &ProcessConfig, priority: u64) {
        self.max_priority =
            Priority::from_number(priority).unwrap_or(Priority::High).min(parent.max_priority);
    }

    /// Limits how many processes may live with this configuration and those made from it. They have their places in
    /// the parent's quota as well, if there is one.
    pub(crate) fn limit_processes(&mut self, parent: &ProcessConfig, processes: u64) -> Result<(), Fault> {
        self.quota = Some(Quota::new(processes, parent.quota.clone())?);
        Ok(())
    }

    /// The bytes that the host keeps for it, or for a copy.
    pub(crate) fn bytes(&self) -> u64 {
        let lists = self.args.len() + self.env.len() + self.dirs.len() + self.listeners.len();
        let patterns = self.forbidden.as_ref().map_or(0, |forbidden| forbidden.len());
        let paths = self.redirects.as_ref().map_or(0, |redirects| redirects.paths());
        CONFIG_BYTES + self.texts as u64 + (lists + patterns + paths) as u64 * ENTRY_BYTES
    }

    /// Charges for bytes of it that are not in its texts.
    pub(crate) fn charge(&mut self, bytes: u64) -> Result<(), Full> {
        match &mut self.kept {
            Charged(Some(kept)) => kept.grow(bytes),
            Charged(None) => Ok(()),
        }
    }

    /// A copy that has been charged for.
    pub(crate) fn charged_copy(&self, kept: Kept) -> ProcessConfig {
        ProcessConfig { kept: Charged(Some(kept)), ..self.clone() }
    }

    /// Makes room for an entry with a text of a guest's.
    pub(crate) fn take_text(&mut self, bytes: usize) -> Result<(), Fault> {
        let texts = self.texts.saturating_add(bytes);
        if texts > MAX_TEXT {
            return Err(Fault::TooMany("bytes of text in a configuration"));
        }
        if let Charged(Some(kept)) = &mut self.kept {
            kept.grow(bytes as u64 + ENTRY_BYTES)?;
        }
        self.texts = texts;
        Ok(())
    }

    /// Forbids functions whose names fit a pattern. What the parent must not call it must not either.
    pub(crate) fn forbid(&mut self, pattern: String) -> Result<(), Fault> {
        self.take_text(pattern.len())?;
        // Those above are copied.
        self.charge(self.forbidden.as_ref().map_or(0, |forbidden| forbidden.len()) as u64 * ENTRY_BYTES)?;
        let above = self.forbidden.as_deref();
        self.forbidden = Some(Arc::new(Forbidden::below(above, [pattern])?));
        Ok(())
    }

    /// The code as processes with this configuration have it.
    pub(crate) fn code(&self, code: &Code) -> Code {
        match &self.forbidden {
            None => code.clone(),
            Some(forbidden) => match forbidden.without(code, |_| Ok::<_, std::convert::Infallible>(None)) {
                Ok(code) => code,
                Err(never) => match never {},
            },
        }
    }

    /// The limit in units of fuel, rounded up; 0 for no limit.
    pub(crate) fn fuel(&self) -> u64 {
        self.max_reductions.map_or(0, |reductions| reductions.div_ceil(REDUCTIONS_PER_FUEL))
    }
}

fn open(dir: PreopenedDir) -> Result<GuestDir, RuntimeError> {
    match Dir::open_ambient_dir(&dir.host, ambient_authority()) {
        Ok(opened) => {
            let (name, dir, is_read_only) = (dir.guest.into(), Arc::new(opened), dir.is_read_only);
            Ok(GuestDir { name, dir, is_read_only, opened: None })
        }
        Err(source) => Err(RuntimeError::Dir { path: dir.host, source }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn everything() -> ProcessConfig {
        ProcessConfig {
            max_memory: 1 << 30,
            is_large: false,
            max_reductions: None,
            max_mailbox: None,
            max_messages: u64::MAX,
            max_resources: MAX_RESOURCES,
            max_files: MAX_FILES,
            stack_size: USUAL_STACK,
            max_stack: FIRST_STACK,
            max_priority: Priority::High,
            quota: None,
            can_compile_modules: true,
            can_create_configs: true,
            can_spawn_processes: true,
            texts: 0,
            args: vec!["program".into()],
            env: Vec::new(),
            dirs: Vec::new(),
            listeners: Vec::new(),
            redirects: None,
            network: Arc::default(),
            forbidden: None,
            kept: Charged(None),
        }
    }

    #[test]
    fn a_childs_limits_are_never_wider() {
        let mut parent = everything();
        parent.limit_fuel(&everything(), 10);
        let mut child = parent.narrowed();
        assert!(!child.can_spawn_processes && child.args.is_empty());
        child.limit_memory(&parent, u64::MAX);
        assert_eq!(child.max_memory, parent.max_memory);
        assert!(child.is_large && !child.narrowed().is_large, "inheriting says nothing");
        child.limit_memory(&parent, LARGE_MEMORY - 1);
        assert!(!child.is_large);
        for (asked, granted) in [(0, 10), (11, 10), (u64::MAX, 10), (3, 3)] {
            child.limit_fuel(&parent, asked);
            assert_eq!(child.fuel(), granted, "asked for {asked}");
        }
        (parent.max_messages, parent.max_resources, parent.max_files) = (20, 30, 25);
        parent.limit_processes(&everything(), 40).unwrap();
        let mut child = parent.narrowed();
        assert_eq!(child.mailbox_bytes(), child.max_memory, "one limit unless there are two");
        child.limit_mailbox(&parent, u64::MAX);
        child.limit_messages(&parent, u64::MAX);
        child.limit_resources(&parent, u64::MAX);
        child.limit_processes(&parent, u64::MAX).unwrap();
        child.set_stack(&parent, u64::MAX);
        assert_eq!((child.stack_size, child.max_stack), (FIRST_STACK, FIRST_STACK));
        child.set_stack(&parent, 100_000);
        let mut grandchild = child.narrowed();
        assert_eq!(grandchild.stack_size, 100_000);
        grandchild.set_stack(&child, 200_000);
        assert_eq!(grandchild.stack_size, 100_000);
        let quota = child.quota.as_ref().unwrap().limit();
        assert_eq!((child.max_messages, child.max_resources, quota), (20, 30, 40));
        assert_eq!(child.max_files, 25);
        assert_eq!(child.mailbox_bytes(), parent.max_memory);
    }
}
