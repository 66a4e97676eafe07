//! What a process is made of, and shares with all that are spawned alike.

use std::sync::Arc;

use crate::code::Code;
use crate::config::ProcessConfig;
use crate::node::Node;

/// See the module. A process has one reference of it instead of one of each part: the parts are counted by all workers,
/// and whoever spawns much has a template of its own for its children, so that workers seldom meet at a count.
pub struct ProcessTemplate {
    /// The node.
    pub node: Arc<Node>,
    /// The module.
    pub code: Code,
    /// Limits and permissions.
    pub config: Arc<ProcessConfig>,
}

impl ProcessTemplate {
    /// Whether a process with this code and this configuration could come from it.
    pub fn is_of(&self, code: &Code, config: &Arc<ProcessConfig>) -> bool {
        self.code.is(code) && Arc::ptr_eq(&self.config, config)
    }
}
