//! HTTP server for Prometheus. One thread serves all connections.
//!
//! Idle clients and slow readers do not delay others. At most [`MAX_CONNECTIONS`] are open; a further connection
//! replaces the one that has been waiting longest. A response is produced in parts while it is sent. If the system
//! has no descriptor for a new connection, the thread pauses before it accepts again.
//!
//! The thread does not keep the node alive. It ends with the node or when [`MetricsServer::stop`] is called.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use lunatic_core::node::Node;

use lunatic_host::Services;
use lunatic_metrics::one;

/// Maximum number of open connections.
const MAX_CONNECTIONS: usize = 64;

/// Maximum size of a request, in bytes.
const MAX_QUESTION: usize = 8 << 10;

/// Maximum time for receiving a request, and again for sending the response.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pause after the system has refused a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Interval at which the thread checks whether it should end.
const TICK: Duration = Duration::from_millis(500);

/// Bytes of a response that are produced before some are sent.
const PIECE: usize = 16 << 10;

/// Token of the listener. Connections use their index as the token.
const LISTENER: Token = Token(usize::MAX);

/// Serves the metrics of a node over HTTP at `/metrics` and `/`, until the program ends or the server is stopped.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    is_stopped: Arc<AtomicBool>,
}

impl MetricsServer {
    pub(crate) fn start(node: &Arc<Node>, address: SocketAddr) -> io::Result<MetricsServer> {
        let mut listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let is_stopped = Arc::new(AtomicBool::new(false));
        let connections = (0..MAX_CONNECTIONS).map(|_| None).collect();
        let (node, flag) = (Arc::downgrade(node), is_stopped.clone());
        let server = Server { poll, listener, connections, node, is_stopped: flag };
        std::thread::Builder::new().name("metrics".into()).spawn(move || {
            lunatic_resources::sys::block_signals();
            server.work();
        })?;
        Ok(MetricsServer { address, is_stopped })
    }

    /// Returns the address of the listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks the thread to close the listener and all connections. Returns at once.
    pub fn stop(&self) {
        // Relaxed: the flag publishes no other data.
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

/// State of the server's thread. See the module documentation.
struct Server {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    node: Weak<Node>,
    is_stopped: Arc<AtomicBool>,
}

/// A connection to a client.
struct Connection {
    stream: TcpStream,
    /// Time at which the current request or response must be complete.
    end: Instant,
    question: Vec<u8>,
    answer: Option<Answer>,
}

/// A response: the part to send next, and how to produce the following one.
struct Answer {
    piece: Vec<u8>,
    sent: usize,
    rest: Box<dyn Iterator<Item = String> + Send>,
}

/// State of a connection after it was served.
enum State {
    Goes,
    Over,
}

impl Server {
    fn work(mut self) {
        let mut events = Events::with_capacity(MAX_CONNECTIONS + 1);
        let mut paused_until = None;
        // Relaxed: as above.
        while !self.is_stopped.load(Ordering::Relaxed) && self.node.strong_count() > 0 {
            let patience = if paused_until.is_some() { PAUSE } else { TICK };
            if let Err(error) = self.poll.poll(&mut events, Some(patience))
                && error.kind() != ErrorKind::Interrupted
            {
                return;
            }
            for event in &events {
                match event.token() {
                    // mio reports the listener once; connections that arrive during a pause are accepted after it.
                    LISTENER => _ = paused_until.get_or_insert_with(Instant::now),
                    Token(place) => self.go_on(place),
                }
            }
            let now = Instant::now();
            if paused_until.is_some_and(|until| until <= now) {
                paused_until = self.accept().then(|| now + PAUSE);
            }
            for connection in &mut self.connections {
                connection.take_if(|connection| connection.end <= now);
            }
        }
    }

    /// Accepts all waiting connections. Returns whether the system refused one, which must then be tried again later.
    fn accept(&mut self) -> bool {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.add(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // The client closed the connection before it was accepted.
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(_) => return true,
            }
        }
    }

    /// Adds a connection. Replaces the one with the earliest deadline if the limit is reached.
    fn add(&mut self, mut stream: TcpStream) {
        let ends =
            |(_, connection): &(usize, &Option<Connection>)| connection.as_ref().map(|known| known.end);
        let Some(place) = self.connections.iter().enumerate().min_by_key(ends).map(|(place, _)| place) else {
            return;
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut stream, Token(place), interest).is_ok() {
            let end = Instant::now() + PATIENCE;
            self.connections[place] = Some(Connection { stream, end, question: Vec::new(), answer: None });
            // Serve it now: mio does not report data that arrived before the registration.
            self.go_on(place);
        }
    }

    /// Reads and writes as much as possible without blocking.
    fn go_on(&mut self, place: usize) {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_mut) else { return };
        // A malformed request closes this connection without a response.
        if !matches!(connection.go_on(&self.node), Ok(State::Goes)) {
            self.connections[place] = None;
        }
    }
}

impl Connection {
    fn go_on(&mut self, node: &Weak<Node>) -> io::Result<State> {
        while self.answer.is_none() {
            let mut part = [0; 1024];
            match self.stream.read(&mut part) {
                Ok(0) => return Ok(State::Over),
                Ok(count) if self.question.len() + count > MAX_QUESTION => return Ok(State::Over),
                Ok(count) => self.question.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(State::Goes),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.question.windows(4).any(|four| four == b"\r\n\r\n") {
                self.answer = Some(answer(&self.question, node));
                self.end = Instant::now() + PATIENCE;
            }
        }
        self.send()
    }

    fn send(&mut self) -> io::Result<State> {
        let Some(answer) = &mut self.answer else { return Ok(State::Goes) };
        loop {
            if answer.sent == answer.piece.len() && !answer.next_piece() {
                return Ok(State::Over);
            }
            match self.stream.write(&answer.piece[answer.sent..]) {
                Ok(count) => {
                    answer.sent += count;
                    // Each part that a client reads extends its deadline, so a client that continues reading gets the
                    // whole response.
                    self.end = Instant::now() + PATIENCE;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(State::Goes),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Answer {
    /// Produces the next part of the response. Returns whether there was one.
    fn next_piece(&mut self) -> bool {
        (self.sent, self.piece) = (0, std::mem::take(&mut self.piece));
        self.piece.clear();
        while self.piece.len() < PIECE
            && let Some(text) = self.rest.next()
        {
            self.piece.extend_from_slice(text.as_bytes());
        }
        !self.piece.is_empty()
    }
}

/// Creates the response to a request.
fn answer(question: &[u8], node: &Weak<Node>) -> Answer {
    let nothing = || -> Box<dyn Iterator<Item = String> + Send> { Box::new(std::iter::empty()) };
    let (status, more, rest) = match Question::of(question) {
        Some(Question { path: "/" | "/metrics", method }) => {
            let rest = match (method, node.upgrade()) {
                (Method::Get, Some(node)) => Box::new(texts(&node)),
                _ => nothing(),
            };
            ("200 OK", "", rest)
        }
        Some(Question { method: Method::Other, .. }) => {
            ("405 Method Not Allowed", "Allow: GET, HEAD\r\n", nothing())
        }
        Some(_) => ("404 Not Found", "", nothing()),
        None => ("400 Bad Request", "", nothing()),
    };
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n{more}Connection: close\r\n\r\n"
    );
    Answer { piece: head.into_bytes(), sent: 0, rest }
}

/// Target of a request.
#[derive(Debug, PartialEq, Eq)]
struct Question<'a> {
    method: Method,
    /// Path without the query string.
    path: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Get,
    Head,
    Other,
}

impl Question<'_> {
    /// Parses a request; returns `None` if it is malformed.
    fn of(question: &[u8]) -> Option<Question<'_>> {
        let line = std::str::from_utf8(question.split(|&byte| byte == b'\r').next()?).ok()?;
        let (method, rest) = line.split_once(' ')?;
        let (target, version) = rest.split_once(' ')?;
        let method = match method {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            other if !other.is_empty() && other.bytes().all(|byte| byte.is_ascii_uppercase()) => {
                Method::Other
            }
            _ => return None,
        };
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let path = if method == Method::Other { "" } else { path };
        (target.starts_with('/') && version.starts_with("HTTP/")).then_some(Question { method, path })
    }
}

/// Produces the metrics in parts, one metric name at a time.
fn texts(node: &Node) -> impl Iterator<Item = String> + Send + 'static {
    let mut own = String::new();
    one(&mut own, "lunatic_processes", "gauge", node.table.len() as u64);
    one(&mut own, "lunatic_sockets", "gauge", Services::of(node).net().sockets() as u64);
    #[cfg(feature = "sqlite")]
    if !node.is_driven() {
        let (threads, stuck) = Services::of(node).database_threads();
        one(&mut own, "lunatic_database_threads", "gauge", threads as u64);
        one(&mut own, "lunatic_database_threads_stuck", "gauge", stuck as u64);
    }
    node.metrics.texts().chain([own])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_a_method_and_a_path() {
        let of = |question: &'static str| Question::of(question.as_bytes());
        let get = |path| Some(Question { method: Method::Get, path });
        assert_eq!(of("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"), get("/metrics"));
        assert_eq!(of("GET /metrics?name=a?b HTTP/1.1\r\n\r\n"), get("/metrics"));
        assert_eq!(of("HEAD / HTTP/1.0\r\n\r\n"), Some(Question { method: Method::Head, path: "/" }));
        assert_eq!(of("POST / HTTP/1.1\r\n"), Some(Question { method: Method::Other, path: "" }));
        for nonsense in
            ["", "GET /metrics", "get / HTTP/1.1\r\n", "GET  HTTP/1.1 x\r\n", "GET a HTTP/1.1\r\n"]
        {
            assert_eq!(of(nonsense), None, "{nonsense:?}");
        }
        assert_eq!(Question::of(b"\xff\r\n\r\n"), None);
    }
}
