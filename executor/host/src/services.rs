//! State of host functions that belongs to a node: networks, compilers, databases.
//!
//! A node is built with [`Services`], and the core keeps them without knowing the type. Host functions of an embedder
//! can keep state of their own in [`Services::others`].

use std::any::Any;
use std::sync::{Arc, OnceLock};

use lunatic_core::Node;
use lunatic_core::code::Code;
use lunatic_jit::{Cancellation, Deadline};
use lunatic_net::Net;
use lunatic_scheduler::BlockingPool;
#[cfg(feature = "sqlite")]
use lunatic_sqlite::{Limits, Threads};

/// Threads for databases. Of the stack SQLite takes what it needs where statements recurse, and is tested with what a
/// program's first thread has.
#[cfg(feature = "sqlite")]
const DATABASE_THREADS: Limits = Limits { running: 32, threads: 256, stack: 8 << 20 };

/// Compiles modules at run time, for guests that ask for it.
pub trait GuestCompiler: Send + Sync {
    /// Prepares, verifies, compiles and links a module.
    ///
    /// # Errors
    /// What is wrong with the module, as a text for the guest.
    fn compile(
        &self,
        bytes: &[u8],
        deadline: Option<Deadline>,
        cancellation: Cancellation,
    ) -> Result<Code, String>;
}

/// The services of a node. See the module documentation.
pub struct Services {
    net: OnceLock<Arc<Net>>,
    pub(crate) compiler: Arc<dyn GuestCompiler>,
    /// Where guests' modules are compiled: apart from files, which would have to wait otherwise.
    pub(crate) compilers: BlockingPool,
    /// Where databases are: a statement takes as long as its guest likes, and files would have to wait.
    #[cfg(feature = "sqlite")]
    pub(crate) databases: Threads,
    /// The names of all host functions that guests of this node can import, as module and name.
    pub(crate) functions: Arc<[(String, String)]>,
    /// What an embedder's host functions need.
    pub others: Option<Arc<dyn Any + Send + Sync>>,
}

impl Services {
    /// Services of a node whose guests can import these functions.
    pub fn new(compiler: Arc<dyn GuestCompiler>, functions: Arc<[(String, String)]>) -> Services {
        Services {
            net: OnceLock::new(),
            compiler,
            compilers: BlockingPool::new(compiler_threads()),
            #[cfg(feature = "sqlite")]
            databases: Threads::new(DATABASE_THREADS),
            functions,
            others: None,
        }
    }

    /// The services of a node.
    ///
    /// # Panics
    /// When the node was built with services of another type.
    #[inline]
    pub fn of(node: &Node) -> &Services {
        node.services()
    }

    /// Opens the network over a reactor, or one that has no sockets. To be called once, before there are processes.
    pub fn open_network(&self, registry: Option<mio::Registry>) -> Arc<Net> {
        self.net.get_or_init(|| Arc::new(Net::new(registry))).clone()
    }

    /// The network.
    ///
    /// # Panics
    /// Before it was opened.
    #[inline]
    pub fn net(&self) -> &Arc<Net> {
        self.net.get().expect("the network is opened before the first process is spawned")
    }

    /// Threads that work on databases, and how many of them are stuck in a statement.
    #[cfg(feature = "sqlite")]
    pub fn database_threads(&self) -> (usize, usize) {
        self.databases.count()
    }

    /// Waits until databases are closed, and at most this long. No process may be left.
    #[cfg(feature = "sqlite")]
    pub fn close_databases(&self, patience: std::time::Duration) {
        self.databases.finish(patience);
    }
}

/// The network of a node.
pub fn net(node: &Node) -> &Arc<Net> {
    Services::of(node).net()
}

/// Threads that compile modules for guests: half the processors, so that the processes that run keep the others.
fn compiler_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}
