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

/// What connections arrive at.
pub struct TcpListener(Socket<mio::net::TcpListener>);

/// A listener that processes have from their beginning: open before there was a node, watched from when one looks.
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
    /// A listener that was open before the node began.
    pub fn new(given: Arc<std::net::TcpListener>) -> GivenListener {
        GivenListener { given, watched: OnceLock::new() }
    }

    /// The same for another node.
    pub fn for_another_node(&self) -> GivenListener {
        GivenListener::new(self.given.clone())
    }

    /// As this node has it.
    pub fn get(&self, net: &Arc<Net>) -> io::Result<&Arc<TcpListener>> {
        if let Some(watched) = self.watched.get() {
            return Ok(watched);
        }
        let listener = TcpListener::of_std(net, self.given.try_clone()?)?;
        // Who was quicker has done the same.
        Ok(self.watched.get_or_init(|| Arc::new(listener)))
    }
}

impl TcpStream {
    /// Begins to connect; [`TcpStream::finish_connecting`] says what came of it.
    pub fn connect(net: &Arc<Net>, address: SocketAddr) -> io::Result<TcpStream> {
        net.check()?;
        TcpStream::new(net, mio::net::TcpStream::connect(address)?)
    }

    fn new(net: &Arc<Net>, stream: mio::net::TcpStream) -> io::Result<TcpStream> {
        // Guests cannot ask for it, and write in small pieces, each of which would wait for the last one's acknowledgement.
        // A connection that is over already does not take it; its reader is told why.
        let _ = stream.set_nodelay(true);
        Ok(TcpStream { socket: Socket::new(net, stream)?, timeouts: Timeouts::default() })
    }

    /// Whether it is connected.
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

    /// Ends what is sent, received, or both.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.io().shutdown(how)
    }

    /// Whether an attempt would not block, as the system says now; if it would, who waits is told of the change.
    pub fn is_ready(&self, direction: Direction) -> io::Result<bool> {
        self.socket.is_ready(direction)
    }

    /// As [`Stream::read`], and what was read can be read again.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<TryIo<usize>> {
        self.socket.attempt(Direction::Read, |stream| stream.peek(buffer))
    }
}

impl Stream for TcpStream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<TryIo<usize>> {
        self.socket.attempt_bytes(Direction::Read, buffer.len(), |mut stream| stream.read(buffer))
    }

    fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<TryIo<usize>> {
        // Most writes are of one buffer, and for one the system has a shorter way.
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
    /// Listens. An address that was in use a moment ago can be used again.
    pub fn bind(net: &Arc<Net>, address: SocketAddr) -> io::Result<TcpListener> {
        net.check()?;
        Ok(TcpListener(Socket::new(net, mio::net::TcpListener::bind(address)?)?))
    }

    /// One that the system listens at already.
    fn of_std(net: &Arc<Net>, listener: std::net::TcpListener) -> io::Result<TcpListener> {
        net.check()?;
        listener.set_nonblocking(true)?;
        Ok(TcpListener(Socket::new(net, mio::net::TcpListener::from_std(listener))?))
    }

    /// Whether a connection waits, as the system says now; if none does, who waits is told of the change.
    pub fn is_ready(&self) -> io::Result<bool> {
        self.0.is_ready(Direction::Read)
    }

    /// The next connection, and where it comes from.
    pub fn accept(&self) -> io::Result<TryIo<(TcpStream, SocketAddr)>> {
        let net = self.0.net();
        net.has_room(self.0.io())?;
        // Who gave up while it waited is nobody.
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
