//! Name resolution, and network rules.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lunatic::net::{TcpListener, TcpStream, UdpSocket, resolve, resolve_timeout};

pub fn names() {
    let addresses: Vec<_> = resolve("localhost:80").unwrap().collect();
    assert!(!addresses.is_empty() && addresses.iter().all(|a| a.ip().is_loopback() && a.port() == 80));
    let literal: Vec<_> = resolve("[2001:db8::1]:443").unwrap().collect();
    assert_eq!(literal, ["[2001:db8::1]:443".parse().unwrap()]);
    assert!(resolve("localhost").is_err(), "there is no port");
    // This name does not exist. Without a name server, the look-up may take until the timeout.
    let begun = Instant::now();
    assert!(resolve_timeout("nobody.invalid:80", Duration::from_millis(500)).is_err());
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// With rules: connecting to port 9 of this machine, listening at ports from 20000, looking up `*.example`.
pub fn denied() {
    fn denied(error: impl std::fmt::Display) {
        assert!(error.to_string().contains("not allowed to"), "{error}");
    }
    denied(TcpListener::bind("127.0.0.1:80").unwrap_err());
    denied(TcpListener::bind("0.0.0.0:20000").unwrap_err());
    denied(TcpStream::connect("127.0.0.1:10").unwrap_err());
    denied(TcpStream::connect("127.0.0.2:9").unwrap_err());
    denied(resolve("localhost:80").map(drop).unwrap_err());
    let refused = TcpStream::connect("127.0.0.1:9").unwrap_err();
    assert!(refused.to_string().contains("refused"), "{refused}");
    let socket = (20_000..20_100)
        .find_map(|port| UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], port))).ok())
        .unwrap();
    denied(socket.send_to(b"", "127.0.0.1:10").unwrap_err());
    denied(socket.connect("127.0.0.1:10").unwrap_err());
    socket.connect("127.0.0.1:9").unwrap();
}
