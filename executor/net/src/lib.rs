//! Sockets of a node: non-blocking, registered with its reactor.
//!
//! | file | content |
//! |---|---|
//! | `source` | the readiness of one descriptor, and what waits for it |
//! | `sources` | the table from tokens of the reactor to sources |
//! | `socket` | a descriptor with its source, and attempts to use it |
//! | `pipe` | named pipes and terminals |
//! | `stream` | what TCP and TLS streams share |
//! | `tcp`, `tls`, `udp` | connections, listeners, datagrams |
//! | `policy` | rules for what a process may do |
//!
//! This crate knows no guest and no process. Host functions try operations with the guest's memory; if one would
//! block, they register a waiter and try again when it is woken.

#![forbid(unsafe_code)]

#[cfg(unix)]
mod pipe;
#[cfg(not(unix))]
#[path = "no_pipe.rs"]
mod pipe;
mod policy;
mod socket;
mod source;
mod sources;
mod stream;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use smallvec::SmallVec;

use lunatic_scheduler::{BlockingPool, Descriptors, ReadinessEvent, Waiter};

pub use pipe::Pipe;
pub use policy::{Action, MAX_RULES, Nested, Policy};
pub use policy::{AddressRule, NameRule, NetworkRules, RuleError};
pub use socket::TryIo;
pub use source::{Direction, Source};
pub use stream::{Stream, Timeout, Timeouts};
pub use tcp::{GivenListener, TcpListener, TcpStream};
#[cfg(feature = "tls")]
pub use tls::{TlsListener, TlsStream, client_config};
pub use udp::UdpSocket;

use sources::Sources;

/// Threads for lookups of names. The resolver of the system blocks, for many seconds if a server does not answer.
const RESOLVER_THREADS: usize = 16;

/// The network of a node. No socket is open before a process asks for one.
pub struct Net {
    /// The registry of the reactor; `None` if there is no network.
    registry: Option<mio::Registry>,
    sources: Sources,
    /// Whether a descriptor was refused lately. Then each new one is checked before it is opened. See [`Net::admit`].
    is_short: AtomicBool,
    /// Threads for lookups of names.
    pub resolvers: BlockingPool,
}

impl Net {
    /// Creates a network over a reactor, or one without sockets.
    pub fn new(registry: Option<mio::Registry>) -> Net {
        Net {
            registry,
            sources: Sources::default(),
            is_short: AtomicBool::new(false),
            resolvers: BlockingPool::new(RESOLVER_THREADS),
        }
    }

    /// Returns the number of open sockets.
    pub fn sockets(&self) -> usize {
        self.sources.len()
    }

    /// Returns an error if there is no network.
    pub fn check(&self) -> io::Result<()> {
        self.registry().map(drop)
    }

    fn registry(&self) -> io::Result<&mio::Registry> {
        let none = || io::Error::new(io::ErrorKind::Unsupported, "a simulation has no network yet");
        self.registry.as_ref().ok_or_else(none)
    }

    /// Checks that a connection can be accepted. Refusing it afterwards would close it.
    ///
    /// The check is a system call, so it is made only after a descriptor had to be refused.
    fn has_room(&self, like: &impl lunatic_resources::sys::Descriptor) -> io::Result<()> {
        if !self.is_short.load(Ordering::Relaxed) {
            return Ok(());
        }
        lunatic_resources::sys::check_next(like)?;
        self.is_short.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Refuses a new descriptor that is one of the last few, as the system would if there were none left.
    fn admit(&self, new: &impl lunatic_resources::sys::Descriptor) -> io::Result<()> {
        let admitted = lunatic_resources::sys::admit(new);
        if admitted.is_err() {
            self.is_short.store(true, Ordering::Relaxed);
        }
        admitted
    }
}

impl Descriptors for Net {
    /// Handles events of sockets.
    ///
    /// With many connections, a connection that has been silent for a while is in no cache. So each step prefetches
    /// for all events before it handles the first one.
    fn ready(&self, ready: &[ReadinessEvent]) {
        let sources = self.sources.get_all(ready.iter().map(|ready| ready.token));
        let mut told = SmallVec::<[Waiter; 16]>::new();
        for (source, ready) in sources.iter().zip(ready) {
            // The socket may have been closed meanwhile.
            if let Some(source) = source {
                source.change(ready.readiness, &mut told);
            }
        }
        told.iter().for_each(|waiter| waiter.waker.prefetch(&waiter.hints));
        told.into_iter().for_each(Waiter::wake);
    }

    fn len(&self) -> usize {
        self.sockets()
    }
}

/// Returns the addresses of a name with a port, such as `example.com:80`, from the resolver of the system. Blocks.
pub fn resolve(name: &str) -> io::Result<Vec<SocketAddr>> {
    std::net::ToSocketAddrs::to_socket_addrs(name).map(Iterator::collect)
}
