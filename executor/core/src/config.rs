//! What processes may use: limits, permissions, and the capabilities that host functions know.
//!
//! A [`ProcessConfig`] is shared by every process that was spawned with it. A child's never allows more than
//! its parent's: each setter takes the minimum of what is asked for and what the parent has, so that narrowing
//! holds by construction, however a guest combines the calls.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use lunatic_resources::{Charge, Full, Nested, Quota};
use lunatic_scheduler::Priority;

use crate::code::Code;

/// Reductions in one unit of Lunatic's fuel; its guests document a unit as about 100,000 instructions.
pub const REDUCTIONS_PER_FUEL: u64 = 100_000;

/// Configurations, modules or errors that a process may hold of each, and things that may travel with a message.
pub const MAX_RESOURCES: u64 = 65_536;

/// Descriptors that a process may have open, if nothing is said about it: they are the whole command's.
pub const MAX_FILES: u64 = 4096;

/// Bytes of memory from which on a process that was given this limit by name is a large one.
pub const LARGE_MEMORY: u64 = 256 << 20;

/// Bytes of native stack for the first process by default, and for all others. Only pages that are used take memory.
pub const FIRST_STACK: usize = 1 << 20;
/// Bytes of native stack for other processes by default.
pub const USUAL_STACK: usize = 256 << 10;

/// Bytes of native stack that a process may have at most. A stack is no part of its memory, and a process is not preempted
/// while calls return one after the other, of which a stack of this size has four millions.
pub const MAX_STACK: usize = 64 << 20;

/// Bytes of native stack that every process has at least.
pub const MIN_STACK: usize = 64 << 10;

/// What a process may do; see the module.
#[derive(Debug)]
pub struct ProcessConfig {
    /// Bytes of linear memory.
    pub max_memory: u64,
    /// Whether the limit was set, and to [`LARGE_MEMORY`] or more: what it may use it probably will. Limits that are
    /// only inherited say nothing.
    pub is_large: bool,
    /// In reductions; `None` for no limit.
    pub max_reductions: Option<u64>,
    /// Bytes of waiting messages; `None` for as many as of memory.
    pub max_mailbox: Option<u64>,
    /// Waiting messages; `u64::MAX` for no limit.
    pub max_messages: u64,
    /// Of each kind of thing that is known by a number.
    pub max_resources: u64,
    /// WASI's descriptors, of which there are fewer by default.
    pub max_files: u64,
    /// Bytes of native stack that processes with this configuration have.
    pub stack_size: usize,
    /// Bytes of native stack that they can give to others. The first process has as many itself.
    pub max_stack: usize,
    /// The most urgent that a process may be.
    pub max_priority: Priority,
    /// Where processes with this configuration, and with those made from it, have their places.
    pub quota: Option<Arc<Quota>>,
    /// Whether its processes may compile modules.
    pub can_compile_modules: bool,
    /// Whether its processes may make configurations.
    pub can_create_configs: bool,
    /// Whether its processes may spawn others.
    pub can_spawn_processes: bool,
    /// What host functions know besides: directories, arguments, networks.
    pub capabilities: Box<dyn Capabilities>,
    /// What the process that made it is charged for it.
    pub kept: Charged,
}

/// What a configuration carries for host functions. The core copies and narrows it, and does not look into it.
pub trait Capabilities: Any + fmt::Debug + Send + Sync {
    /// The same again, for a copy of the configuration.
    fn copy(&self) -> Box<dyn Capabilities>;
    /// What a new configuration for children begins with.
    fn narrowed(&self) -> Box<dyn Capabilities>;
    /// The same for the first process of another node.
    fn for_another_node(&self) -> Box<dyn Capabilities>;
    /// Bytes that the host keeps for it, or for a copy.
    fn bytes(&self) -> u64;
    /// The code as processes with this configuration have it: linked without the functions that they must not call.
    fn restrict(&self, code: &Code) -> Code;
}

/// No capabilities.
impl Capabilities for () {
    fn copy(&self) -> Box<dyn Capabilities> {
        Box::new(())
    }

    fn narrowed(&self) -> Box<dyn Capabilities> {
        Box::new(())
    }

    fn for_another_node(&self) -> Box<dyn Capabilities> {
        Box::new(())
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn restrict(&self, code: &Code) -> Code {
        code.clone()
    }
}

/// A charge for a configuration. A copy has none: it is charged for where it is made.
#[derive(Debug, Default)]
pub struct Charged(Option<Charge>);

/// Bytes of a configuration without texts, directories and the like.
const CONFIG_BYTES: u64 = 1 << 10;

impl ProcessConfig {
    /// A configuration without limits other than what any process has, with every permission.
    pub fn unlimited(capabilities: Box<dyn Capabilities>) -> ProcessConfig {
        ProcessConfig {
            max_memory: 4 << 30,
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
            capabilities,
            kept: Charged(None),
        }
    }

    /// The same for the first process of another node: a limit on processes is each node's, and so is who watches a socket.
    pub fn for_another_node(&self) -> ProcessConfig {
        let again = |quota: &Arc<Quota>| Quota::new(quota.limit(), None).expect("there is none above it");
        let quota = self.quota.as_ref().map(again);
        ProcessConfig { quota, ..self.with(self.capabilities.for_another_node(), Charged(None)) }
    }

    /// A configuration for children of a process with this one: no permissions but the network's, no data, the same limits.
    pub fn narrowed(&self) -> ProcessConfig {
        ProcessConfig {
            is_large: false,
            stack_size: self.max_stack.min(USUAL_STACK),
            can_compile_modules: false,
            can_create_configs: false,
            can_spawn_processes: false,
            ..self.with(self.capabilities.narrowed(), Charged(None))
        }
    }

    /// The same limits and permissions with other capabilities.
    fn with(&self, capabilities: Box<dyn Capabilities>, kept: Charged) -> ProcessConfig {
        ProcessConfig {
            max_memory: self.max_memory,
            is_large: self.is_large,
            max_reductions: self.max_reductions,
            max_mailbox: self.max_mailbox,
            max_messages: self.max_messages,
            max_resources: self.max_resources,
            max_files: self.max_files,
            stack_size: self.stack_size,
            max_stack: self.max_stack,
            max_priority: self.max_priority,
            quota: self.quota.clone(),
            can_compile_modules: self.can_compile_modules,
            can_create_configs: self.can_create_configs,
            can_spawn_processes: self.can_spawn_processes,
            capabilities,
            kept,
        }
    }

    /// Limits memory, to no more than the parent's limit.
    pub fn limit_memory(&mut self, parent: &ProcessConfig, max_memory: u64) {
        self.max_memory = max_memory.min(parent.max_memory);
        self.is_large = self.max_memory >= LARGE_MEMORY;
    }

    /// Limits computation in units of fuel, to no more than the parent's limit. 0 asks for no limit.
    pub fn limit_fuel(&mut self, parent: &ProcessConfig, fuel: u64) {
        let reductions = if fuel == 0 { u64::MAX } else { fuel.saturating_mul(REDUCTIONS_PER_FUEL) };
        self.limit_reductions(parent, reductions);
    }

    /// Limits computation, to no more than the parent's limit. `u64::MAX` asks for no limit.
    pub fn limit_reductions(&mut self, parent: &ProcessConfig, reductions: u64) {
        let granted = reductions.min(parent.max_reductions.unwrap_or(u64::MAX));
        self.max_reductions = (granted != u64::MAX).then_some(granted);
    }

    /// Limits the bytes of waiting messages, to no more than the parent's limit.
    pub fn limit_mailbox(&mut self, parent: &ProcessConfig, bytes: u64) {
        self.max_mailbox = Some(bytes.min(parent.mailbox_bytes()));
    }

    /// The bytes of messages that may wait.
    pub fn mailbox_bytes(&self) -> u64 {
        self.max_mailbox.unwrap_or(self.max_memory)
    }

    /// Limits the number of waiting messages, to no more than the parent's limit.
    pub fn limit_messages(&mut self, parent: &ProcessConfig, messages: u64) {
        self.max_messages = messages.min(parent.max_messages);
    }

    /// Limits what is known by numbers, to no more than the parent's limit.
    pub fn limit_resources(&mut self, parent: &ProcessConfig, resources: u64) {
        self.max_resources = resources.min(parent.max_resources);
        self.max_files = resources.min(parent.max_files);
    }

    /// Gives processes a native stack of this size, of no more than the parent can give.
    pub fn set_stack(&mut self, parent: &ProcessConfig, bytes: u64) {
        self.max_stack = usize::try_from(bytes).unwrap_or(usize::MAX).min(parent.max_stack);
        self.stack_size = self.max_stack;
    }

    /// Limits how urgent a process may be, to no more than the parent's limit. All numbers beyond the highest ask for it.
    pub fn limit_priority(&mut self, parent: &ProcessConfig, priority: u64) {
        self.max_priority =
            Priority::from_number(priority).unwrap_or(Priority::High).min(parent.max_priority);
    }

    /// Limits how many processes may live with this configuration and those made from it. They have their places in
    /// the parent's quota as well, if there is one.
    pub fn limit_processes(&mut self, parent: &ProcessConfig, processes: u64) -> Result<(), Nested> {
        self.quota = Some(Quota::new(processes, parent.quota.clone())?);
        Ok(())
    }

    /// The bytes that the host keeps for it, or for a copy.
    pub fn bytes(&self) -> u64 {
        CONFIG_BYTES + self.capabilities.bytes()
    }

    /// The capabilities, of which host functions know the type.
    ///
    /// # Panics
    /// When the configuration was made with capabilities of another type.
    #[inline]
    pub fn capabilities<T: Capabilities>(&self) -> &T {
        (&*self.capabilities as &dyn Any)
            .downcast_ref()
            .expect("configurations of a node have one type of capabilities")
    }

    /// As [`ProcessConfig::capabilities`], to be changed.
    #[inline]
    pub fn capabilities_mut<T: Capabilities>(&mut self) -> &mut T {
        (&mut *self.capabilities as &mut dyn Any)
            .downcast_mut()
            .expect("configurations of a node have one type of capabilities")
    }

    /// Charges for bytes of it that are not in its texts.
    pub fn charge(&mut self, bytes: u64) -> Result<(), Full> {
        match &mut self.kept {
            Charged(Some(kept)) => kept.grow(bytes),
            Charged(None) => Ok(()),
        }
    }

    /// A copy that has been charged for.
    pub fn charged_copy(&self, kept: Charge) -> ProcessConfig {
        self.with(self.capabilities.copy(), Charged(Some(kept)))
    }

    /// The limit in units of fuel, rounded up; 0 for no limit.
    pub fn fuel(&self) -> u64 {
        self.max_reductions.map_or(0, |reductions| reductions.div_ceil(REDUCTIONS_PER_FUEL))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn everything() -> ProcessConfig {
        ProcessConfig { max_memory: 1 << 30, ..ProcessConfig::unlimited(Box::new(())) }
    }

    #[test]
    fn a_childs_limits_are_never_wider() {
        let mut parent = everything();
        parent.limit_fuel(&everything(), 10);
        let mut child = parent.narrowed();
        assert!(!child.can_spawn_processes);
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
