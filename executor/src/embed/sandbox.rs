//! What a process may use.

use std::path::PathBuf;
use std::sync::Arc;

use lunatic_core::config::{MAX_RESOURCES, ProcessConfig, USUAL_STACK};
use lunatic_host::Capabilities;
use lunatic_host::capabilities::forbidden::Forbidden;
use lunatic_net::{NetworkRules, Policy};
use lunatic_resources::Quota;

use crate::config::{PreopenedDir, open};
use crate::error::RuntimeError;

/// What a process may use. By default that is its own memory and time, without other limits than those of WebAssembly,
/// and nothing else: no directories, no network, no other processes, no modules of its own.
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
    /// The default sandbox.
    pub fn new() -> Sandbox {
        Sandbox::default()
    }

    /// Bytes of linear memory, and as much again of waiting messages. A process that needs more gets no more memory, or
    /// ends.
    pub fn memory(mut self, bytes: u64) -> Sandbox {
        self.memory = bytes;
        self
    }

    /// Reductions in the process's life, after which it ends. A reduction is about an operator of WebAssembly: some
    /// hundreds of millions are a second.
    pub fn reductions(mut self, reductions: u64) -> Sandbox {
        self.reductions = Some(reductions);
        self
    }

    /// Bytes of messages that may wait for the process, after which it ends. Default: as many as it may have of memory.
    pub fn mailbox(mut self, bytes: u64) -> Sandbox {
        self.mailbox = Some(bytes);
        self
    }

    /// Lets the process spawn others, of which this many may live at a time with all that these spawn.
    pub fn spawn(mut self, processes: u64) -> Sandbox {
        (self.can_spawn, self.processes) = (true, Some(processes));
        self
    }

    /// Lets the process compile modules.
    pub fn compile(mut self) -> Sandbox {
        self.can_compile = true;
        self
    }

    /// Files, sockets, modules and the like that the process may have of each. Default: 65,536, and 4,096 files.
    pub fn resources(mut self, resources: u64) -> Sandbox {
        self.resources = Some(resources);
        self
    }

    /// Bytes of native stack, from 64 KiB to the engine's limit. Default: 256 KiB.
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

    /// Lets the process use a directory of the host under this name, read and write.
    pub fn dir(mut self, host: impl Into<PathBuf>, guest: impl Into<String>) -> Sandbox {
        self.dirs.push(PreopenedDir { host: host.into(), guest: guest.into(), is_read_only: false });
        self
    }

    /// Lets the process read a directory of the host under this name.
    pub fn read_only_dir(mut self, host: impl Into<PathBuf>, guest: impl Into<String>) -> Sandbox {
        self.dirs.push(PreopenedDir { host: host.into(), guest: guest.into(), is_read_only: true });
        self
    }

    /// Lets the process use the network as far as these rules allow it. The default rules allow anything.
    pub fn network(mut self, rules: NetworkRules) -> Sandbox {
        self.network = rules;
        self
    }

    /// Forbids host functions whose names fit a pattern, such as `lunatic::sqlite::*`: calling one ends the process.
    pub fn forbid(mut self, pattern: impl Into<String>) -> Sandbox {
        self.forbidden.push(pattern.into());
        self
    }

    /// The configuration of processes in this sandbox, of a node with these host functions.
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
        // A quota counts a process itself.
        let quota = self.processes.map(|limit| Quota::new(limit.saturating_add(1), None));
        let mut config = ProcessConfig {
            max_memory: self.memory,
            max_reductions: self.reductions,
            max_mailbox: self.mailbox,
            stack_size: self.stack.unwrap_or(USUAL_STACK).min(max_stack),
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
