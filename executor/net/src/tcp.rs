//! TCP: connections and listeners.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, OnceLock};

use super::socket::Socket;
use super::{Direction, Net, Source, Stream, Timeouts, TryIo};

/// A connection.
pub struct TcpStream {
    socket: Socket<mio::net::TcpStream>,
    timeouts: Timeouts,
}

/// A listener.
pub struct TcpListener(Socket<mio::net::TcpListener>);

/// A listener that processes have from the beginning: it was open before the node, and is registered with the reactor
/// on first use.
pub struct GivenListener {
    given: Arc<std::net::TcpListener>,
    watched: OnceLock<Arc<TcpListener>>,
}

impl fmt::Debug for GivenListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.given.fmt(f)
    }
}

impl GivenListener {
    /// Creates a listener from a socket that was open before the node began.
    pub fn new(given: Arc<std::net::TcpListener>) -> GivenListener {
        GivenListener { given, watched: OnceLock::new() }
    }

    /// Returns the same listener for another node.
    pub fn for_another_node(&self) -> GivenListener {
        GivenListener::new(self.given.clone())
    }

    /// Returns the listener as registered with this node.
    pub fn get(&self, net: &Arc<Net>) -> io::Result<&Arc<TcpListener>> {
        if let Some(watched) = self.watched.get() {
            return Ok(watched);
        }
        let listener = TcpListener::of_std(net, self.given.try_clone()?)?;
        // Another thread was quicker, and has done the same.
        Ok(self.watched.get_or_init(|| Arc::new(listener)))
    }
}

impl TcpStream {
    /// Begins to connect. [`TcpStream::finish_connecting`] returns the result.
    pub fn connect(net: &Arc<Net>, address: SocketAddr) -> io::Result<TcpStream> {
        net.check()?;
        TcpStream::new(net, mio::net::TcpStream::connect(address)?)
    }

    fn new(net: &Arc<Net>, stream: mio::net::TcpStream) -> io::Result<TcpStream> {
        // Guests cannot set this option, and they write small pieces, each of which would wait for the
        // acknowledgement of the last one. Setting it fails on a connection that has ended already; its reader gets
        // the error.
        // A connection that is over already does not take it; its reader is told why.
        let _ = stream.set_nodelay(true);
        Ok(TcpStream { socket: Socket::new(net, stream)?, timeouts: Timeouts::default() })
    }

    /// Returns whether it is connected.
    pub fn finish_connecting(&self) -> io::Result<TryIo<()>> {
        self.socket.attempt(Direction::Write, |stream| {
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            match stream.peer_addr() {
                Ok(_) => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                Err(error) => Err(error),
            }
        })
    }

    /// Shuts down sending, receiving, or both.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.io().shutdown(how)
    }

    /// Returns whether an attempt would not block, as the system says now. If it would, waiters are woken by the
    /// change.
    pub fn is_ready(&self, direction: Direction) -> io::Result<bool> {
        self.socket.is_ready(direction)
    }

    /// Reads like [`Stream::read`], but leaves the bytes to be read again.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<TryIo<usize>> {
        self.socket.attempt(Direction::Read, |stream| stream.peek(buffer))
    }
}

impl Stream for TcpStream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<TryIo<usize>> {
        self.socket.attempt_bytes(Direction::Read, buffer.len(), |mut stream| stream.read(buffer))
    }

    fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<TryIo<usize>> {
        // Most writes have one buffer, for which the system has a shorter path.
        if let [buffer] = buffers {
            return self
                .socket
                .attempt_bytes(Direction::Write, buffer.len(), |mut stream| stream.write(buffer));
        }
        let size = buffers.iter().map(|buffer| buffer.len()).sum();
        self.socket.attempt_bytes(Direction::Write, size, |mut stream| stream.write_vectored(buffers))
    }

    fn flush(&self) -> io::Result<TryIo<()>> {
        Ok(TryIo::Done(()))
    }

    fn source(&self) -> &Arc<Source> {
        self.socket.source()
    }

    fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    fn peer(&self) -> io::Result<SocketAddr> {
        self.socket.io().peer_addr()
    }
}

impl TcpListener {
    /// Listens at an address. An address that was in use a moment ago can be used again.
    pub fn bind(net: &Arc<Net>, address: SocketAddr) -> io::Result<TcpListener> {
        net.check()?;
        Ok(TcpListener(Socket::new(net, mio::net::TcpListener::bind(address)?)?))
    }

    /// Wraps a socket that the system listens at already.
    fn of_std(net: &Arc<Net>, listener: std::net::TcpListener) -> io::Result<TcpListener> {
        net.check()?;
        listener.set_nonblocking(true)?;
        Ok(TcpListener(Socket::new(net, mio::net::TcpListener::from_std(listener))?))
    }

    /// Returns whether a connection waits, as the system says now. If none does, waiters are woken by the change.
    pub fn is_ready(&self) -> io::Result<bool> {
        self.0.is_ready(Direction::Read)
    }

    /// Accepts the next connection. Returns it with its address.
    pub fn accept(&self) -> io::Result<TryIo<(TcpStream, SocketAddr)>> {
        let net = self.0.net();
        net.has_room(self.0.io())?;
        // A client that gave up while it waited is skipped.
        let accept = |listener: &mio::net::TcpListener| loop {
            match listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                other => return other,
            }
        };
        match self.0.attempt(Direction::Read, accept)? {
            TryIo::Done((stream, peer)) => Ok(TryIo::Done((TcpStream::new(net, stream)?, peer))),
            TryIo::Blocked(direction) => Ok(TryIo::Blocked(direction)),
        }
    }

    /// The address that it listens at.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.0.io().local_addr()
    }

    /// Its readiness.
    pub fn source(&self) -> &Arc<Source> {
        self.0.source()
    }
}
