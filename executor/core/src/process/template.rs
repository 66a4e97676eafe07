//! What a process shares with others like it.

use std::sync::Arc;

use crate::code::Code;
use crate::config::ProcessConfig;
use crate::node::Node;

/// The node, code and configuration of processes. A process has one reference to the template instead of one to each
/// part: all workers count the references of the parts. A process that spawns much has a template of its own for its
/// children, so that workers seldom contend for a reference count.
pub struct ProcessTemplate {
    /// The node.
    pub node: Arc<Node>,
    /// The module.
    pub code: Code,
    /// Limits and permissions.
    pub config: Arc<ProcessConfig>,
}

impl ProcessTemplate {
    /// Returns whether the template has this code and this configuration.
    pub fn is_of(&self, code: &Code, config: &Arc<ProcessConfig>) -> bool {
        self.code.is(code) && Arc::ptr_eq(&self.config, config)
    }
}
