//! The server of `benches/guests/http` on bare mio with one thread: the upper bound, whose remaining cost is the kernel's.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nHello world\n";

const LISTENER: Token = Token(usize::MAX - 1);

/// A connection, and the received part of its next request.
struct Connection {
    stream: TcpStream,
    request: [u8; 2048],
    filled: usize,
}

/// Serves until it is killed.
///
/// # Errors
/// If the system cannot listen or wait.
pub fn serve() -> std::io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening at {}", listener.local_addr()?);
    let mut connections: HashMap<usize, Connection> = HashMap::new();
    let mut next = 0;
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(next), Interest::READABLE)?;
                    connections.insert(next, Connection { stream, request: [0; 2048], filled: 0 });
                    next += 1;
                }
            } else if let Some(connection) = connections.get_mut(&event.token().0)
                && !connection.go_on()
            {
                connections.remove(&event.token().0);
            }
        }
    }
}

impl Connection {
    /// Answers the received requests. Returns whether there may be more.
    fn go_on(&mut self) -> bool {
        loop {
            let room = self.request.len() - self.filled;
            match self.stream.read(&mut self.request[self.filled..]) {
                Ok(0) => return false,
                Ok(count) => {
                    self.filled += count;
                    if self.request[..self.filled].ends_with(b"\r\n\r\n") {
                        self.filled = 0;
                        if self.stream.write_all(ANSWER).is_err() {
                            return false;
                        }
                    }
                    // Fewer bytes than the buffer holds: there are no more.
                    if count < room {
                        return true;
                    }
                }
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}
