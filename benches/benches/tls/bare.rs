//! The same server on bare rustls: one thread that waits for all connections with mio.
//!
//! This is the fairer upper bound. With a thread per connection, a thread would be created for each handshake, and the kernel would
//! switch between threads where this one goes to the next connection, as a worker goes to the next process.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Result, Write};
use std::path::Path;
use std::sync::Arc;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::PIECE;

const LISTENER: Token = Token(usize::MAX - 1);

struct Connection {
    stream: TcpStream,
    session: ServerConnection,
    request: [u8; 9],
    filled: usize,
    doing: Doing,
}

/// The state of a connection, with the remaining bytes.
#[derive(Clone, Copy)]
enum Doing {
    Listening,
    Sending(u64),
    Taking(u64),
}

/// Serves until it is killed, with the certificate and the key in a directory.
pub(crate) fn serve(directory: &Path) -> Result<()> {
    let config = config(directory);
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening at {}", listener.local_addr()?);
    let mut connections: HashMap<usize, Connection> = HashMap::new();
    let mut next = 0;
    let mut piece = vec![0; PIECE];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(next), both)?;
                    connections.insert(next, Connection::new(stream, config.clone()));
                    next += 1;
                }
            } else if let Some(connection) = connections.get_mut(&event.token().0)
                && !connection.goes_on(&mut piece).unwrap_or(false)
            {
                connections.remove(&event.token().0);
            }
        }
    }
}

fn config(directory: &Path) -> Arc<ServerConfig> {
    let certificate =
        CertificateDer::from_pem_file(directory.join("cert.pem")).expect("the load has written it");
    let key = PrivateKeyDer::from_pem_file(directory.join("key.pem")).expect("the load has written it");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has what these versions need")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    Arc::new(config.expect("they belong together"))
}

impl Connection {
    fn new(stream: TcpStream, config: Arc<ServerConfig>) -> Connection {
        let session = ServerConnection::new(config).expect("the configuration has been used before");
        Connection { stream, session, request: [0; 9], filled: 0, doing: Doing::Listening }
    }

    /// Does what is possible without waiting. Returns whether the connection stays open.
    fn goes_on(&mut self, piece: &mut [u8]) -> Result<bool> {
        match self.work(piece) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
            Ok(()) => {
                self.session.send_close_notify();
                self.send()?;
                Ok(false)
            }
            Err(_) => Ok(false),
        }
    }

    /// Works until it would block, which is an error, or until the peer has closed the connection.
    fn work(&mut self, piece: &mut [u8]) -> Result<()> {
        loop {
            self.send()?;
            match self.doing {
                Doing::Sending(0) => self.doing = Doing::Listening,
                Doing::Sending(left) => {
                    let room = left.min(PIECE as u64) as usize;
                    self.doing = Doing::Sending(left - self.session.writer().write(&piece[..room])? as u64);
                }
                Doing::Taking(0) => self.doing = Doing::Sending(1),
                Doing::Taking(left) => {
                    let room = left.min(PIECE as u64) as usize;
                    match self.read(&mut piece[..room])? {
                        0 => return Ok(()),
                        count => self.doing = Doing::Taking(left - count as u64),
                    }
                }
                Doing::Listening => {
                    let mut rest = [0; 9];
                    let room = rest.len() - self.filled;
                    let count = self.read(&mut rest[..room])?;
                    if count == 0 {
                        return Ok(());
                    }
                    self.request[self.filled..][..count].copy_from_slice(&rest[..count]);
                    self.filled += count;
                    self.take_request();
                }
            }
        }
    }

    /// Begins the request if it is complete.
    fn take_request(&mut self) {
        let [letter, number @ ..] = self.request;
        if self.filled == self.request.len() {
            self.filled = 0;
            let count = u64::from_le_bytes(number);
            self.doing = if letter == b'd' { Doing::Sending(count) } else { Doing::Taking(count) };
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.session.read_tls(&mut self.stream)?;
            self.session.process_new_packets().map_err(std::io::Error::other)?;
            self.send()?;
        }
    }

    fn send(&mut self) -> Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.stream)?;
        }
        Ok(())
    }
}
