//! Sockets, as a node has them: non-blocking, known to its reactor, waited for by processes.
//!
//! | file | what it holds |
//! |---|---|
//! | `source` | one descriptor's readiness, and who waits for it |
//! | `sources` | from the reactor's tokens to sources |
//! | `socket` | a descriptor with its source: an attempt is made, or waited for |
//! | `pipe` | named pipes and terminals |
//! | `stream` | what TCP and TLS streams have in common |
//! | `tcp`, `tls`, `udp` | connections, listeners, datagrams |
//! | `policy` | who may do what |
//!
//! Nothing here knows of a guest: host functions (`host/networking`) make attempts with the guest's memory at hand, and
//! when one would block they leave a wait that attempts it again.

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

/// Threads that look names up: the system's resolver blocks, for many seconds if a server does not answer.
const RESOLVER_THREADS: usize = 16;

/// The network of a node; `None` of it is open before a process asks for it.
pub struct Net {
    /// Where sockets are registered; `None` where there is no network.
    registry: Option<mio::Registry>,
    sources: Sources,
    /// Whether a descriptor was refused lately: then it is asked before one is made. See [`Net::admit`].
    is_short: AtomicBool,
    /// Threads that look names up.
    pub resolvers: BlockingPool,
}

impl Net {
    /// A network over a reactor, or none.
    pub fn new(registry: Option<mio::Registry>) -> Net {
        Net {
            registry,
            sources: Sources::default(),
            is_short: AtomicBool::new(false),
            resolvers: BlockingPool::new(RESOLVER_THREADS),
        }
    }

    /// How many sockets are open.
    pub fn sockets(&self) -> usize {
        self.sources.len()
    }

    /// Says no where there is no network.
    pub fn check(&self) -> io::Result<()> {
        self.registry().map(drop)
    }

    fn registry(&self) -> io::Result<&mio::Registry> {
        let none = || io::Error::new(io::ErrorKind::Unsupported, "a simulation has no network yet");
        self.registry.as_ref().ok_or_else(none)
    }

    /// To be asked before a connection is accepted: refusing it afterwards would be to hang up.
    ///
    /// What is asked for is a system call, so it is not asked unless a descriptor had to be refused before.
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
    /// Something happened to sockets.
    ///
    /// With many connections nothing of one that has been silent for a while is in a cache. What one step needs for all of
    /// them is fetched at once, before any of them takes it.
    fn ready(&self, ready: &[ReadinessEvent]) {
        let sources = self.sources.get_all(ready.iter().map(|ready| ready.token));
        let mut told = SmallVec::<[Waiter; 16]>::new();
        for (source, ready) in sources.iter().zip(ready) {
            // A socket that was closed meanwhile is nobody's.
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

/// The addresses of a name with a port, as in `example.com:80`, by the system's resolver. Blocks.
pub fn resolve(name: &str) -> io::Result<Vec<SocketAddr>> {
    std::net::ToSocketAddrs::to_socket_addrs(name).map(Iterator::collect)
}
