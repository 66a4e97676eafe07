//! UDP: datagrams.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::socket::Socket;
use super::{Direction, Net, Source, TryIo};

/// A UDP socket. Its clones share it.
pub struct UdpSocket(Socket<mio::net::UdpSocket>);

impl UdpSocket {
    /// Creates a socket with an address.
    pub fn bind(net: &Arc<Net>, address: SocketAddr) -> io::Result<UdpSocket> {
        net.check()?;
        Ok(UdpSocket(Socket::new(net, mio::net::UdpSocket::bind(address)?)?))
    }

    /// Connects the socket: datagrams go to this address and are received from it alone. Nothing is sent.
    pub fn connect(&self, address: SocketAddr) -> io::Result<()> {
        self.0.io().connect(address)
    }

    /// Sends a datagram to the connected address.
    pub fn send(&self, datagram: &[u8]) -> io::Result<TryIo<usize>> {
        self.0.attempt(Direction::Write, |socket| socket.send(datagram))
    }

    /// Sends a datagram to an address.
    pub fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<TryIo<usize>> {
        self.0.attempt(Direction::Write, |socket| socket.send_to(datagram, to))
    }

    /// Receives the next datagram. Bytes beyond the buffer are lost.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<TryIo<usize>> {
        self.0.attempt(Direction::Read, |socket| socket.recv(buffer))
    }

    /// Receives the next datagram with the address of its sender. Bytes beyond the buffer are lost.
    pub fn receive_from(&self, buffer: &mut [u8]) -> io::Result<TryIo<(usize, SocketAddr)>> {
        self.0.attempt(Direction::Read, |socket| socket.recv_from(buffer))
    }

    /// Returns the socket, for settings and addresses.
    pub fn io(&self) -> &mio::net::UdpSocket {
        self.0.io()
    }

    /// Returns its readiness.
    pub fn source(&self) -> &Arc<Source> {
        self.0.source()
    }
}
