//! What a configuration carries for host functions: directories, arguments, networks, and what is forbidden.
//!
//! Limits and permissions are the core's ([`ProcessConfig`]); it copies and narrows these and does not look into them. A
//! child's capabilities are never wider than its parent's: what it is given is given by its parent, from its own.

pub mod forbidden;
pub mod redirect;

use std::sync::Arc;

use lunatic_core::Fault;
use lunatic_core::code::Code;
use lunatic_core::config::{self, ProcessConfig};
use lunatic_net::{GivenListener, Policy};
use lunatic_resources::GuestDir;

use forbidden::Forbidden;
use redirect::Redirects;

/// Environment variables, arguments and directories that a configuration may hold of each.
pub const MAX_ENTRIES: usize = 4096;

/// Bytes of all texts that a guest may put into a configuration: variables, arguments, names and paths. They are the host's
/// memory, and copied where a configuration changes that children have.
pub const MAX_TEXT: usize = 1 << 20;

/// Bytes of an entry of a list in a configuration, beside its text.
const ENTRY_BYTES: u64 = 128;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Capabilities {
    /// Bytes of texts that guests have put into the configuration.
    pub texts: usize,
    /// Arguments, the program's name first.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Directories, under the names by which the process knows them.
    pub dirs: Vec<GuestDir>,
    /// Sockets that the process may accept connections at.
    pub listeners: Vec<Arc<GivenListener>>,
    /// Where what the process writes goes instead.
    pub redirects: Option<Arc<Redirects>>,
    /// Where it may connect to, listen at, and whose addresses it may ask for.
    pub network: Arc<Policy>,
    /// Host functions that it must not call.
    pub forbidden: Option<Arc<Forbidden>>,
}

impl config::Capabilities for Capabilities {
    fn copy(&self) -> Box<dyn config::Capabilities> {
        Box::new(self.clone())
    }

    fn narrowed(&self) -> Box<dyn config::Capabilities> {
        Box::new(Capabilities {
            redirects: self.redirects.clone(),
            // Lunatic has no permission for the network, so its guests do not know that they would have to ask for it.
            network: self.network.clone(),
            forbidden: self.forbidden.clone(),
            ..Capabilities::default()
        })
    }

    fn for_another_node(&self) -> Box<dyn config::Capabilities> {
        // Which reactor a socket is registered with is each node's.
        let listeners = self.listeners.iter().map(|listener| Arc::new(listener.for_another_node())).collect();
        Box::new(Capabilities { listeners, ..self.clone() })
    }

    fn bytes(&self) -> u64 {
        let lists = self.args.len() + self.env.len() + self.dirs.len() + self.listeners.len();
        let patterns = self.forbidden.as_ref().map_or(0, |forbidden| forbidden.patterns());
        let paths = self.redirects.as_ref().map_or(0, |redirects| redirects.paths());
        self.texts as u64 + (lists + patterns + paths) as u64 * ENTRY_BYTES
    }

    fn restrict(&self, code: &Code) -> Code {
        match &self.forbidden {
            None => code.clone(),
            Some(forbidden) => match forbidden.without(code, |_| Ok::<_, std::convert::Infallible>(None)) {
                Ok(code) => code,
                Err(never) => match never {},
            },
        }
    }
}

/// A configuration's capabilities.
pub trait Capable {
    /// The capabilities.
    fn caps(&self) -> &Capabilities;

    /// The capabilities, to be changed.
    fn caps_mut(&mut self) -> &mut Capabilities;

    /// Makes room for an entry with a text of a guest's.
    ///
    /// # Errors
    /// When the texts would be too long, or the process that has the configuration may not keep as much.
    fn take_text(&mut self, bytes: usize) -> Result<(), Fault>;

    /// Forbids functions whose names fit a pattern. What the parent must not call the child must not either.
    ///
    /// # Errors
    /// When the pattern fits none of `functions`, or there are too many.
    fn forbid(&mut self, pattern: String, functions: &[(String, String)]) -> Result<(), Fault>;
}

impl Capable for ProcessConfig {
    #[inline]
    fn caps(&self) -> &Capabilities {
        self.capabilities()
    }

    fn caps_mut(&mut self) -> &mut Capabilities {
        self.capabilities_mut()
    }

    fn take_text(&mut self, bytes: usize) -> Result<(), Fault> {
        let texts = self.caps().texts.saturating_add(bytes);
        if texts > MAX_TEXT {
            return Err(Fault::TooMany("bytes of text in a configuration"));
        }
        self.charge(bytes as u64 + ENTRY_BYTES)?;
        self.caps_mut().texts = texts;
        Ok(())
    }

    fn forbid(&mut self, pattern: String, functions: &[(String, String)]) -> Result<(), Fault> {
        self.take_text(pattern.len())?;
        // Those above are copied.
        let above = self.caps().forbidden.clone();
        self.charge(above.as_ref().map_or(0, |forbidden| forbidden.patterns()) as u64 * ENTRY_BYTES)?;
        let below = Forbidden::below(above.as_deref(), [pattern], functions).map_err(Fault::host)?;
        self.caps_mut().forbidden = Some(Arc::new(below));
        Ok(())
    }
}
