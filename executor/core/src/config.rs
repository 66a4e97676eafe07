//! What processes may use: limits, permissions, and the capabilities that host functions know.
//!
//! All processes that were spawned with a [`ProcessConfig`] share it. A child's configuration never allows more than
//! its parent's: each setter takes the minimum of the given value and the parent's value, so a guest cannot widen its
//! limits by any combination of calls.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use lunatic_resources::{Charge, Full, Nested, Quota};
use lunatic_scheduler::Priority;

use crate::code::Code;

/// Reductions in one unit of Lunatic's fuel. Its guests document a unit as about 100,000 instructions.
pub const REDUCTIONS_PER_FUEL: u64 = 100_000;

/// Configurations, modules or errors that a process may hold of each kind, and resources that may travel with a
/// message.
pub const MAX_RESOURCES: u64 = 65_536;

/// Descriptors that a process may have open by default. All processes share the descriptors of the command.
pub const MAX_FILES: u64 = 4096;

/// The memory limit, in bytes, from which a process counts as large if it was given the limit explicitly.
pub const LARGE_MEMORY: u64 = 256 << 20;

/// Bytes of native stack for the first process by default. Only pages that are used take memory.
pub const FIRST_STACK: usize = 1 << 20;
/// Bytes of native stack for other processes by default.
pub const USUAL_STACK: usize = 256 << 10;

/// Bytes of native stack that a process may have at most. A stack does not count as memory of its process, and a
/// process is not preempted while calls return one after the other; a stack of this size has up to four million
/// calls.
pub const MAX_STACK: usize = 64 << 20;

/// Bytes of native stack that every process has at least.
pub const MIN_STACK: usize = 64 << 10;

/// The limits and permissions of a process. See the module documentation.
#[derive(Debug)]
pub struct ProcessConfig {
    /// Bytes of linear memory.
    pub max_memory: u64,
    /// Whether the memory limit was set explicitly, and to [`LARGE_MEMORY`] or more. Such a process will probably use
    /// it. An inherited limit says nothing about that.
    pub is_large: bool,
    /// Reductions in the life of the process; `None` for no limit.
    pub max_reductions: Option<u64>,
    /// Bytes of waiting messages; `None` for as many as of memory.
    pub max_mailbox: Option<u64>,
    /// The number of waiting messages; `u64::MAX` for no limit.
    pub max_messages: u64,
    /// Resources of each kind.
    pub max_resources: u64,
    /// WASI descriptors. By default there are fewer than other resources.
    pub max_files: u64,
    /// Bytes of native stack that processes with this configuration have.
    pub stack_size: usize,
    /// Bytes of native stack that these processes can give to others. The first process has as many itself.
    pub max_stack: usize,
    /// The highest priority that a process may have.
    pub max_priority: Priority,
    /// The quota that counts processes with this configuration, and with those made from it.
    pub quota: Option<Arc<Quota>>,
    /// Whether processes may compile modules.
    pub can_compile_modules: bool,
    /// Whether processes may create configurations.
    pub can_create_configs: bool,
    /// Whether processes may spawn others.
    pub can_spawn_processes: bool,
    /// What host functions need besides: directories, arguments, networks.
    pub capabilities: Box<dyn Capabilities>,
    /// The charge to the process that created it.
    pub kept: Charged,
}

/// The part of a configuration that host functions use. The core copies and narrows it and does not look into it.
pub trait Capabilities: Any + fmt::Debug + Send + Sync {
    /// Returns a copy for a copy of the configuration.
    fn copy(&self) -> Box<dyn Capabilities>;
    /// Returns what a new configuration for children begins with.
    fn narrowed(&self) -> Box<dyn Capabilities>;
    /// Returns the same capabilities for the first process of another node.
    fn for_another_node(&self) -> Box<dyn Capabilities>;
    /// Returns the bytes that the host keeps for the capabilities, or for a copy.
    fn bytes(&self) -> u64;
    /// Returns the code for processes with this configuration: linked without the functions that they must not call.
    fn restrict(&self, code: &Code) -> Code;
}

/// The unit type has no capabilities.
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

/// A charge for a configuration. A copy has none: it is charged where it is made.
#[derive(Debug, Default)]
pub struct Charged(Option<Charge>);

/// Bytes of a configuration without texts, directories and other capabilities.
const CONFIG_BYTES: u64 = 1 << 10;

impl ProcessConfig {
    /// Creates a configuration with every permission and only those limits that every process has.
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

    /// Returns the same configuration for the first process of another node. Each node has its own quota and its own
    /// reactor.
    pub fn for_another_node(&self) -> ProcessConfig {
        let again = |quota: &Arc<Quota>| Quota::new(quota.limit(), None).expect("there is none above it");
        let quota = self.quota.as_ref().map(again);
        ProcessConfig { quota, ..self.with(self.capabilities.for_another_node(), Charged(None)) }
    }

    /// Returns a configuration for children of a process with this one: the same limits, no permissions but the
    /// network's, no data.
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

    /// Returns the same limits and permissions with other capabilities.
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

    /// Sets the limit on memory, at most to the parent's limit.
    pub fn limit_memory(&mut self, parent: &ProcessConfig, max_memory: u64) {
        self.max_memory = max_memory.min(parent.max_memory);
        self.is_large = self.max_memory >= LARGE_MEMORY;
    }

    /// Sets the limit on reductions in units of fuel, at most to the parent's limit. 0 stands for no limit.
    pub fn limit_fuel(&mut self, parent: &ProcessConfig, fuel: u64) {
        let reductions = if fuel == 0 { u64::MAX } else { fuel.saturating_mul(REDUCTIONS_PER_FUEL) };
        self.limit_reductions(parent, reductions);
    }

    /// Sets the limit on reductions, at most to the parent's limit. `u64::MAX` stands for no limit.
    pub fn limit_reductions(&mut self, parent: &ProcessConfig, reductions: u64) {
        let granted = reductions.min(parent.max_reductions.unwrap_or(u64::MAX));
        self.max_reductions = (granted != u64::MAX).then_some(granted);
    }

    /// Sets the limit on bytes of waiting messages, at most to the parent's limit.
    pub fn limit_mailbox(&mut self, parent: &ProcessConfig, bytes: u64) {
        self.max_mailbox = Some(bytes.min(parent.mailbox_bytes()));
    }

    /// Returns the limit on bytes of waiting messages.
    pub fn mailbox_bytes(&self) -> u64 {
        self.max_mailbox.unwrap_or(self.max_memory)
    }

    /// Sets the limit on the number of waiting messages, at most to the parent's limit.
    pub fn limit_messages(&mut self, parent: &ProcessConfig, messages: u64) {
        self.max_messages = messages.min(parent.max_messages);
    }

    /// Sets the limit on resources, at most to the parent's limit.
    pub fn limit_resources(&mut self, parent: &ProcessConfig, resources: u64) {
        self.max_resources = resources.min(parent.max_resources);
        self.max_files = resources.min(parent.max_files);
    }

    /// Sets the size of the native stack, at most to what the parent can give.
    pub fn set_stack(&mut self, parent: &ProcessConfig, bytes: u64) {
        self.max_stack = usize::try_from(bytes).unwrap_or(usize::MAX).min(parent.max_stack);
        self.stack_size = self.max_stack;
    }

    /// Sets the highest priority, at most to the parent's. Numbers beyond the highest stand for the highest.
    pub fn limit_priority(&mut self, parent: &ProcessConfig, priority: u64) {
        self.max_priority =
            Priority::from_number(priority).unwrap_or(Priority::High).min(parent.max_priority);
    }

    /// Limits the number of live processes with this configuration and those made from it. Each of them also counts
    /// in the parent's quota, if there is one.
    pub fn limit_processes(&mut self, parent: &ProcessConfig, processes: u64) -> Result<(), Nested> {
        self.quota = Some(Quota::new(processes, parent.quota.clone())?);
        Ok(())
    }

    /// Returns the bytes that the host keeps for the configuration, or for a copy.
    pub fn bytes(&self) -> u64 {
        CONFIG_BYTES + self.capabilities.bytes()
    }

    /// Returns the capabilities as the type that the host functions use.
    ///
    /// # Panics
    /// Panics if the configuration was created with capabilities of another type.
    #[inline]
    pub fn capabilities<T: Capabilities>(&self) -> &T {
        (&*self.capabilities as &dyn Any)
            .downcast_ref()
            .expect("configurations of a node have one type of capabilities")
    }

    /// Returns the capabilities, to be changed. See [`ProcessConfig::capabilities`].
    #[inline]
    pub fn capabilities_mut<T: Capabilities>(&mut self) -> &mut T {
        (&mut *self.capabilities as &mut dyn Any)
            .downcast_mut()
            .expect("configurations of a node have one type of capabilities")
    }

    /// Charges for bytes of the configuration.
    pub fn charge(&mut self, bytes: u64) -> Result<(), Full> {
        match &mut self.kept {
            Charged(Some(kept)) => kept.grow(bytes),
            Charged(None) => Ok(()),
        }
    }

    /// Returns a copy with this charge.
    pub fn charged_copy(&self, kept: Charge) -> ProcessConfig {
        self.with(self.capabilities.copy(), Charged(Some(kept)))
    }

    /// Returns the limit in units of fuel, rounded up; 0 for no limit.
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
