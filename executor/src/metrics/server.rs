//! Answers Prometheus: one question at a time, on a thread of its own, with little patience.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::node::Node;

use super::one;

/// Bytes of a question.
const MAX_QUESTION: usize = 8 << 10;

/// How long a question and its answer may take together. Whoever asks next waits meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// Serves a node's metrics over HTTP, at `/metrics` and at `/`, for as long as the program runs.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
}

impl MetricsServer {
    pub(crate) fn start(node: Arc<Node>, address: SocketAddr) -> io::Result<MetricsServer> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let work = move || {
            for stream in listener.incoming().flatten() {
                // Whoever asks badly gets no answer, and nobody else notices.
                let _ = answer(stream, &node);
            }
        };
        std::thread::Builder::new().name("metrics".into()).spawn(work)?;
        Ok(MetricsServer { address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn answer(mut stream: TcpStream, node: &Node) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    let question = read_question(&mut stream, end)?;
    let (status, body) = match path(&question) {
        Some("/" | "/metrics") => ("200 OK", text(node)),
        Some(_) => ("404 Not Found", String::new()),
        None => ("400 Bad Request", String::new()),
    };
    stream.set_write_timeout(Some(left(end)?))?;
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// Reads until the empty line behind the headers.
fn read_question(stream: &mut TcpStream, end: Instant) -> io::Result<Vec<u8>> {
    let mut question = Vec::new();
    let mut part = [0; 1024];
    while !question.windows(4).any(|four| four == b"\r\n\r\n") {
        stream.set_read_timeout(Some(left(end)?))?;
        match stream.read(&mut part)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count if question.len() + count > MAX_QUESTION => return Err(ErrorKind::InvalidData.into()),
            count => question.extend_from_slice(&part[..count]),
        }
    }
    Ok(question)
}

/// How much of the time is left.
fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// What is asked for, if it is a question.
fn path(question: &[u8]) -> Option<&str> {
    let line = question.split(|&byte| byte == b'\r').next()?;
    let (path, version) = std::str::from_utf8(line).ok()?.strip_prefix("GET ")?.split_once(' ')?;
    (path.starts_with('/') && version.starts_with("HTTP/")).then_some(path)
}

/// What there is to know.
pub(super) fn text(node: &Node) -> String {
    let mut text = node.metrics.text();
    one(&mut text, "lunatic_processes", "gauge", node.table.len() as u64);
    one(&mut text, "lunatic_sockets", "gauge", node.net().sockets() as u64);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_a_path() {
        assert_eq!(path(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"), Some("/metrics"));
        for nonsense in
            [&b""[..], b"GET /metrics", b"POST / HTTP/1.1\r\n", b"GET  HTTP/1.1 x\r\n", b"\xff\r\n\r\n"]
        {
            assert_eq!(path(nonsense), None, "{nonsense:?}");
        }
    }
}
