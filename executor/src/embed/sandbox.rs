//! Limits and permissions of processes.

use std::path::PathBuf;
use std::sync::Arc;

use lunatic_core::config::{MAX_RESOURCES, MIN_STACK, ProcessConfig, USUAL_STACK};
use lunatic_host::Capabilities;
use lunatic_host::capabilities::forbidden::Forbidden;
use lunatic_net::{NetworkRules, Policy};
use lunatic_resources::Quota;

use crate::config::{PreopenedDir, open};
use crate::error::RuntimeError;

/// Limits and permissions of a process. By default, a process can use its own memory and compute without limits
/// beyond WebAssembly's. It has no directories, no network, no further processes and no modules of its own.
#[derive(Clone, Debug)]
#[must_use]
pub struct Sandbox {
    memory: u64,
    reductions: Option<u64>,
    mailbox: Option<u64>,
    processes: Option<u64>,
    resources: Option<u64>,
    stack: Option<usize>,
    can_spawn: bool,
    can_compile: bool,
    args: Vec<String>,
    env: Vec<(String, String)>,
    dirs: Vec<PreopenedDir>,
    network: NetworkRules,
    forbidden: Vec<String>,
}

impl Default for Sandbox {
    fn default() -> Sandbox {
        let nowhere =
            NetworkRules { connect: Some(Vec::new()), bind: Some(Vec::new()), resolve: Some(Vec::new()) };
        Sandbox {
            memory: 4 << 30,
            reductions: None,
            mailbox: None,
            processes: None,
            resources: None,
            stack: None,
            can_spawn: false,
            can_compile: false,
            args: Vec::new(),
            env: Vec::new(),
            dirs: Vec::new(),
            network: nowhere,
            forbidden: Vec::new(),
        }
    }
}

impl Sandbox {
    /// Returns the default sandbox.
    pub fn new() -> Sandbox {
        Sandbox::default()
    }

    /// Limits linear memory, in bytes; waiting messages may use as much again. Growing the memory further fails.
    pub fn memory(mut self, bytes: u64) -> Sandbox {
        self.memory = bytes;
        self
    }

    /// Limits the reductions in the life of the process, which then ends. A reduction is about one WebAssembly
    /// operator; a processor executes hundreds of millions per second.
    pub fn reductions(mut self, reductions: u64) -> Sandbox {
        self.reductions = Some(reductions);
        self
    }

    /// Limits the bytes of waiting messages; a process that exceeds the limit ends. Default: the memory limit.
    pub fn mailbox(mut self, bytes: u64) -> Sandbox {
        self.mailbox = Some(bytes);
        self
    }

    /// Allows the process to spawn others. At most this many live at a time, including all descendants.
    pub fn spawn(mut self, processes: u64) -> Sandbox {
        (self.can_spawn, self.processes) = (true, Some(processes));
        self
    }

    /// Allows the process to compile modules.
    pub fn compile(mut self) -> Sandbox {
        self.can_compile = true;
        self
    }

    /// Limits the number of files, sockets, modules and other resources, of each. Default: 65,536, but 4,096 files.
    pub fn resources(mut self, resources: u64) -> Sandbox {
        self.resources = Some(resources);
        self
    }

    /// Sets the size of the native stack, in bytes. Sizes below 64 KiB and above the engine's maximum count as these.
    /// Default: 256 KiB.
    pub fn stack(mut self, bytes: usize) -> Sandbox {
        self.stack = Some(bytes);
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl Into<String>) -> Sandbox {
        self.args.push(argument.into());
        self
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Sandbox {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Gives the process a directory of the host under this name, for reading and writing.
    pub fn dir(mut self, host: impl Into<PathBuf>, guest: impl Into<String>) -> Sandbox {
        self.dirs.push(PreopenedDir { host: host.into(), guest: guest.into(), is_read_only: false });
        self
    }

    /// Gives the process a directory of the host under this name, for reading.
    pub fn read_only_dir(mut self, host: impl Into<PathBuf>, guest: impl Into<String>) -> Sandbox {
        self.dirs.push(PreopenedDir { host: host.into(), guest: guest.into(), is_read_only: true });
        self
    }

    /// Allows the process to use the network within these rules. The default rules allow everything.
    pub fn network(mut self, rules: NetworkRules) -> Sandbox {
        self.network = rules;
        self
    }

    /// Forbids host functions that match a pattern, such as `lunatic::sqlite::*`. Calling one ends the process.
    pub fn forbid(mut self, pattern: impl Into<String>) -> Sandbox {
        self.forbidden.push(pattern.into());
        self
    }

    /// Creates the configuration of processes in this sandbox. `functions` are the names of all host functions.
    pub(super) fn config(
        &self,
        functions: &[(String, String)],
        max_stack: usize,
    ) -> Result<ProcessConfig, RuntimeError> {
        let forbidden = match &self.forbidden[..] {
            [] => None,
            patterns => {
                let forbidden = Forbidden::below(None, patterns.iter().cloned(), functions);
                Some(Arc::new(forbidden.map_err(|error| RuntimeError::Forbidden(error.to_string()))?))
            }
        };
        let capabilities = Capabilities {
            texts: 0,
            args: self.args.clone(),
            env: self.env.clone(),
            dirs: self.dirs.iter().cloned().map(open).collect::<Result<_, _>>()?,
            listeners: Vec::new(),
            redirects: None,
            network: Arc::new(Policy::of_first(self.network.clone())),
            forbidden,
        };
        // The quota counts the process itself.
        let quota = self.processes.map(|limit| Quota::new(limit.saturating_add(1), None));
        let mut config = ProcessConfig {
            max_memory: self.memory,
            max_reductions: self.reductions,
            max_mailbox: self.mailbox,
            stack_size: self.stack.unwrap_or(USUAL_STACK).max(MIN_STACK).min(max_stack),
            max_stack,
            quota: quota.transpose().expect("there is none above it"),
            can_compile_modules: self.can_compile,
            can_create_configs: self.can_spawn,
            can_spawn_processes: self.can_spawn,
            ..ProcessConfig::unlimited(Box::new(capabilities))
        };
        if let Some(resources) = self.resources {
            config.max_resources = resources.min(MAX_RESOURCES);
            config.max_files = resources.min(config.max_files);
        }
        Ok(config)
    }
}
