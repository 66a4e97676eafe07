//! What is sent when, seen from the other side of a connection.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream as Client;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, pki_types::ServerName};

use super::super::{Attempt, Direction, Net, Stream};
use super::{TlsListener, TlsStream, client_config};

/// Longer than bytes take from one end to the other.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server's stream and its client. The reactor is asked for nothing: attempts are made again and again.
struct Pair {
    server: TlsStream,
    client: Client,
    session: ClientConnection,
    /// What the registry belongs to.
    _poll: mio::Poll,
}

/// A connection whose handshake is over but for the client's last message, which waits in its session.
fn pair() -> Pair {
    let poll = mio::Poll::new().expect("the system has one");
    let registry = poll.registry().try_clone().expect("it can be shared");
    let net = Arc::new(Net::new(Some(registry)));
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("there is randomness");
    let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    let any = ([127, 0, 0, 1], 0).into();
    let listener =
        TlsListener::bind(&net, any, certificate.as_bytes(), key.as_bytes()).expect("it can listen");
    let client = Client::connect(listener.local().expect("it has an address")).expect("it is listened to");
    client.set_nonblocking(true).expect("a socket takes it");
    let name = ServerName::try_from("localhost").expect("a good name");
    let session = ClientConnection::new(client_config(&[certificate.into_bytes()]), name);
    let session = session.expect("the configuration is complete");
    let server = soon(|| match listener.accept().expect("there is a client") {
        Attempt::Done((server, _)) => Some(server),
        Attempt::Blocked(_) => {
            listener.source().ready(ANYTHING);
            None
        }
    });
    let mut pair = Pair { server, client, session, _poll: poll };
    soon(|| {
        pair.client_receives();
        if !pair.session.is_handshaking() {
            return Some(());
        }
        pair.client_sends();
        assert_eq!(pair.server_reads(), None, "nothing was sent to it yet");
        None
    });
    pair
}

const ANYTHING: crate::scheduler::Readiness =
    crate::scheduler::Readiness { readable: true, writable: true, read_closed: false, write_closed: false };

/// What comes of attempts, when something does.
fn soon<R>(mut attempt: impl FnMut() -> Option<R>) -> R {
    let start = Instant::now();
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(start.elapsed() < PATIENCE, "it takes too long");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Pair {
    fn client_sends(&mut self) {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.client).expect("there is room");
        }
    }

    /// Takes what is there; how many bytes of it are for the client's user.
    fn client_receives(&mut self) -> usize {
        match self.session.read_tls(&mut self.client) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        let state = self.session.process_new_packets().expect("the server speaks TLS");
        let mut buffer = vec![0; state.plaintext_bytes_to_read()];
        self.session.reader().read_exact(&mut buffer).expect("so many there are");
        buffer.len()
    }

    /// Whether anything has come to the client's socket.
    fn client_hears(&self) -> bool {
        match self.client.peek(&mut [0]) {
            Ok(count) => count > 0,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        }
    }

    fn server_reads(&self) -> Option<Vec<u8>> {
        self.server.source().ready(ANYTHING);
        let mut buffer = [0; 100];
        match self.server.read(&mut buffer).expect("the client speaks TLS") {
            Attempt::Done(count) => Some(buffer[..count].to_vec()),
            Attempt::Blocked(direction) => {
                assert_eq!(direction, Direction::Read);
                None
            }
        }
    }

    /// The bytes that the server's stream takes, if it takes any.
    fn server_writes(&self, bytes: &[u8]) -> Option<usize> {
        match self.server.write(&[IoSlice::new(bytes)]).expect("the client is there") {
            Attempt::Done(count) => Some(count),
            Attempt::Blocked(direction) => {
                assert_eq!(direction, Direction::Write);
                None
            }
        }
    }
}

#[test]
fn tickets_go_with_the_answer() {
    let mut pair = pair();
    pair.session.writer().write_all(b"question").expect("there is room");
    pair.client_sends();
    assert_eq!(soon(|| pair.server_reads()), b"question");
    assert_eq!(pair.server_writes(b"answer"), Some(6));
    assert!(!pair.client_hears(), "what waits is sent together");
    assert_eq!(pair.server.flush().expect("the client is there"), Attempt::Done(()));
    soon(|| pair.client_hears().then_some(()));
    assert_eq!(soon(|| Some(pair.client_receives()).filter(|&count| count > 0)), 6);
}

#[test]
fn who_waits_for_more_sends_what_it_owes() {
    let mut pair = pair();
    pair.client_sends();
    soon(|| {
        assert_eq!(pair.server_reads(), None, "the client has not asked yet");
        pair.client_hears().then_some(())
    });
}

#[test]
fn what_there_is_no_room_for_waits() {
    let mut pair = pair();
    pair.client_sends();
    soon(|| {
        pair.server_reads();
        (!pair.server.is_new()).then_some(())
    });
    let piece = vec![7; 1 << 16];
    let mut accepted = 0;
    // Until the system's buffers are full, and then the session's.
    while let Some(count) = pair.server_writes(&piece) {
        assert_ne!(count, 0);
        accepted += count;
        pair.server_reads();
    }
    let mut received = 0;
    soon(|| {
        received += pair.client_receives();
        pair.server.source().ready(ANYTHING);
        pair.server.flush().expect("the client is there");
        (received >= accepted).then_some(())
    });
    assert_eq!(received, accepted);
}
