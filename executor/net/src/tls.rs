//! TLS over TCP, with rustls.
//!
//! A session is a state machine over bytes. This module moves bytes between the session and the socket whenever a
//! process reads or writes, on the worker that runs the process; nothing here blocks. The process pays for the
//! processor time, which is a few hundred microseconds for a handshake.
//!
//! **The handshake** of an accepted connection happens at its first read or write. So the process of the connection
//! waits for it and fails with it: a client cannot delay the process that accepts, and handshakes run on all workers.
//! A handshake that takes longer than [`HANDSHAKE_MS`] fails, whatever the timeouts of the stream.
//!
//! **Sharing.** The clones of a stream share the session under a lock, which is held for an attempt. Bytes that one
//! of them has taken from the socket may be those that another waits for; then the source reports a change again.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use lunatic_resources::sync::{Mutex, MutexGuard};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};

use lunatic_resources::Charge;
use lunatic_scheduler::Readiness;

use super::{Direction, Net, Source, Stream, TcpListener, TcpStream, Timeouts, TryIo};

/// Milliseconds that an attempt to read or write may wait while the handshake is not over.
pub(crate) const HANDSHAKE_MS: u64 = 30_000;

/// A connection.
pub struct TlsStream {
    tcp: TcpStream,
    session: Mutex<Connection>,
}

/// A listener.
pub struct TlsListener {
    tcp: TcpListener,
    config: Arc<ServerConfig>,
    /// The charge for the certificates.
    _kept: Charge,
}

/// The socket as rustls sees it. It notes the direction in which it would have blocked.
struct Wire<'a> {
    tcp: &'a TcpStream,
    blocked: Option<Direction>,
}

impl TlsListener {
    /// Listens with a chain of certificates and a private key, both as PEM.
    pub fn bind(
        net: &Arc<Net>,
        address: SocketAddr,
        (certificates, key): (&[u8], &[u8]),
        kept: Charge,
    ) -> io::Result<TlsListener> {
        let certificates = read_certificates(certificates)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(invalid)?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(invalid)?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(invalid)?;
        Ok(TlsListener { tcp: TcpListener::bind(net, address)?, config: Arc::new(config), _kept: kept })
    }

    /// Accepts the next connection. Returns it with its address. The handshake follows later.
    pub fn accept(&self) -> io::Result<TryIo<(TlsStream, SocketAddr)>> {
        let (tcp, peer) = match self.tcp.accept()? {
            TryIo::Done(accepted) => accepted,
            TryIo::Blocked(direction) => return Ok(TryIo::Blocked(direction)),
        };
        let session = ServerConnection::new(self.config.clone()).map_err(invalid)?;
        Ok(TryIo::Done((TlsStream::new(tcp, session.into()), peer)))
    }

    /// Returns the address that it listens at.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.tcp.local()
    }

    /// Returns its readiness.
    pub fn source(&self) -> &Arc<Source> {
        self.tcp.source()
    }
}

/// Returns the configuration of a client that trusts these certificates (PEM), or those that browsers trust if there
/// are none. A text that contains no certificate adds nothing.
pub fn client_config(certificates: &[Vec<u8>]) -> Arc<ClientConfig> {
    static USUAL: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if certificates.is_empty() {
        return USUAL
            .get_or_init(|| believe(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()))
            .clone();
    }
    let mut roots = RootCertStore::empty();
    for pem in certificates {
        roots.add_parsable_certificates(read_certificates(pem).unwrap_or_default());
    }
    believe(roots)
}

fn believe(roots: RootCertStore) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has what these versions need")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(ring::default_provider())).clone()
}

fn read_certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(invalid)?;
    if certificates.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no certificate in this text"));
    }
    Ok(certificates)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

impl TlsStream {
    fn new(tcp: TcpStream, session: Connection) -> TlsStream {
        TlsStream { tcp, session: Mutex::new(session) }
    }

    /// Creates the client's side of a connection to a host with this name.
    pub fn client(tcp: TcpStream, config: Arc<ClientConfig>, host: &str) -> io::Result<TlsStream> {
        let name = ServerName::try_from(host.to_owned()).map_err(invalid)?;
        Ok(TlsStream::new(tcp, ClientConnection::new(config, name).map_err(invalid)?.into()))
    }

    /// Continues the handshake until it is over.
    pub fn shake_hands(&self) -> io::Result<TryIo<()>> {
        let mut session = self.lock();
        self.shake_hands_with(&mut session)
    }

    fn shake_hands_with(&self, session: &mut Connection) -> io::Result<TryIo<()>> {
        if !session.is_handshaking() {
            return Ok(TryIo::Done(()));
        }
        while session.is_handshaking() {
            let moved = if session.wants_write() { self.send(session)? } else { self.receive(session)? };
            match moved {
                TryIo::Blocked(direction) => return Ok(TryIo::Blocked(direction)),
                TryIo::Done(0) if session.is_handshaking() => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                TryIo::Done(_) => {}
            }
        }
        // Others that wait for the handshake do not see its end in the socket.
        self.tell_others();
        Ok(TryIo::Done(()))
    }

    /// Returns whether the handshake is not over.
    fn is_new(&self) -> bool {
        self.lock().is_handshaking()
    }

    /// Receives as much as the session has space for. Returns 0 at the end.
    fn receive(&self, session: &mut Connection) -> io::Result<TryIo<usize>> {
        let mut wire = Wire { tcp: &self.tcp, blocked: None };
        let received = match session.read_tls(&mut wire) {
            Ok(count) => count,
            Err(error) => return wire.attempt(error),
        };
        if let Err(error) = session.process_new_packets() {
            // The peer is told the reason, if it listens.
            let _ = self.send(session);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(TryIo::Done(received))
    }

    /// Sends all bytes that wait to be sent. Returns their number.
    fn send(&self, session: &mut Connection) -> io::Result<TryIo<usize>> {
        let mut sent = 0;
        while session.wants_write() {
            let mut wire = Wire { tcp: &self.tcp, blocked: None };
            match session.write_tls(&mut wire) {
                Ok(count) => sent += count,
                Err(error) => return wire.attempt(error),
            }
        }
        Ok(TryIo::Done(sent))
    }

    /// Wakes all waiters.
    fn tell_others(&self) {
        self.source().ready(Readiness { readable: true, writable: true, ..Readiness::default() });
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A session that panicked is in no known state. Its next use will fail with an error or another panic, which
        // ends a process.
        // ends a process.
        self.session.lock()
    }
}

impl Stream for TlsStream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<TryIo<usize>> {
        let mut session = self.lock();
        if let TryIo::Blocked(direction) = self.shake_hands_with(&mut session)? {
            return Ok(TryIo::Blocked(direction));
        }
        loop {
            match session.reader().read(buffer) {
                Ok(count) => {
                    if !session.wants_read() {
                        // There are more bytes, which the socket does not report.
                        self.tell_others();
                    }
                    return Ok(TryIo::Done(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            // Sends answers to the peer. If they cannot be sent now, they go with the next write.
            self.send(&mut session)?;
            if let TryIo::Blocked(direction) = self.receive(&mut session)? {
                return Ok(TryIo::Blocked(direction));
            }
        }
    }

    fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<TryIo<usize>> {
        let mut session = self.lock();
        if let TryIo::Blocked(direction) = self.shake_hands_with(&mut session)? {
            return Ok(TryIo::Blocked(direction));
        }
        // Bytes that were accepted before are sent first.
        if let TryIo::Blocked(direction) = self.send(&mut session)? {
            return Ok(TryIo::Blocked(direction));
        }
        session.writer().write_vectored(buffers).map(TryIo::Done)
    }

    fn flush(&self) -> io::Result<TryIo<()>> {
        let mut session = self.lock();
        Ok(match self.send(&mut session)? {
            TryIo::Done(_) => TryIo::Done(()),
            TryIo::Blocked(direction) => TryIo::Blocked(direction),
        })
    }

    fn source(&self) -> &Arc<Source> {
        self.tcp.source()
    }

    fn timeouts(&self) -> &Timeouts {
        self.tcp.timeouts()
    }

    fn limit_ms(&self) -> u64 {
        if self.is_new() { HANDSHAKE_MS } else { u64::MAX }
    }

    fn peer(&self) -> io::Result<SocketAddr> {
        self.tcp.peer()
    }
}

impl Drop for TlsStream {
    /// Sends a close notification, as far as that does not block.
    fn drop(&mut self) {
        let mut session = self.lock();
        session.send_close_notify();
        let _ = self.send(&mut session);
    }
}

impl Wire<'_> {
    /// Converts the error that ended an attempt.
    fn attempt(&self, error: io::Error) -> io::Result<TryIo<usize>> {
        match self.blocked {
            Some(direction) if error.kind() == io::ErrorKind::WouldBlock => Ok(TryIo::Blocked(direction)),
            _ => Err(error),
        }
    }

    fn moved(&mut self, attempt: TryIo<usize>) -> io::Result<usize> {
        match attempt {
            TryIo::Done(count) => Ok(count),
            TryIo::Blocked(direction) => {
                self.blocked = Some(direction);
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let attempt = self.tcp.read(buffer)?;
        self.moved(attempt)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let attempt = self.tcp.write(buffers)?;
        self.moved(attempt)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
