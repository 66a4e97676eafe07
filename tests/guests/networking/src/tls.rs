//! TLS. The server's certificate and key are in the files `cert.pem` and `key.pem`; clients trust `ca.pem`.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lunatic::net::{TcpStream, TlsListener, TlsStream};
use lunatic::{Mailbox, Process};

fn file(name: &str) -> Vec<u8> {
    std::fs::read(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn listen(port: u16) -> (TlsListener, u16) {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = TlsListener::bind(address, file("cert.pem"), file("key.pem")).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// An echo server. A client that disconnects has no effect on others.
fn send_back(mut stream: TlsStream, _: Mailbox<()>) {
    let mut buffer = [0; 10_000];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

fn serve_on(listener: TlsListener) -> ! {
    loop {
        let (stream, peer) = listener.accept().unwrap();
        assert!(peer.ip().is_loopback());
        Process::spawn(stream, send_back);
    }
}

/// A server of its own process; its port.
fn server(mailbox: &Mailbox<u64>) -> u32 {
    Process::spawn_link(mailbox.this(), |parent: Process<u64>, _: Mailbox<()>| {
        let (listener, port) = listen(0);
        parent.send(u64::from(port));
        serve_on(listener);
    });
    mailbox.receive() as u32
}

fn connect(port: u32) -> TlsStream {
    TlsStream::connect_with_certs("localhost", port, vec![file("ca.pem")]).unwrap()
}

pub fn echo(mailbox: Mailbox<u64>) {
    let port = server(&mailbox);
    let mut stream = connect(port);
    for round in 0..100u32 {
        stream.write_all(&round.to_le_bytes()).unwrap();
        stream.flush().unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(u32::from_le_bytes(answer), round);
    }
    // It moves to another process, and back.
    let parent = mailbox.this();
    let (child, clone) = (stream.clone(), stream.clone());
    Process::spawn_link(
        (child, parent),
        |(mut stream, parent): (TlsStream, Process<u64>), _: Mailbox<()>| {
            stream.write_all(b"from a child").unwrap();
            parent.send(1);
        },
    );
    assert_eq!(mailbox.receive(), 1);
    let mut answer = [0; 12];
    let mut clone = clone;
    clone.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"from a child");
    // Several at once.
    let mut streams: Vec<_> = (0..20).map(|_| connect(port)).collect();
    streams.iter_mut().for_each(|stream| stream.write_all(b"hello").unwrap());
    for stream in &mut streams {
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
    }
}

/// More than fits any buffer, in both directions at once.
pub fn bulk(mailbox: Mailbox<u64>) {
    const SIZE: usize = 8 << 20;
    let mut stream = connect(server(&mailbox));
    let writer = (stream.clone(), mailbox.this());
    Process::spawn_link(writer, |(mut stream, parent): (TlsStream, Process<u64>), _: Mailbox<()>| {
        let block: Vec<u8> = (0..251 * 400).map(|at| (at % 251) as u8).collect();
        let mut left = SIZE;
        while left > 0 {
            let now = left.min(block.len());
            stream.write_all(&block[..now]).unwrap();
            left -= now;
        }
        parent.send(1);
    });
    let (mut buffer, mut read) = (vec![0; 7000], 0);
    while read < SIZE {
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0);
        assert!(buffer[..count].iter().enumerate().all(|(at, &got)| got == ((read + at) % 251) as u8));
        read += count;
    }
    assert_eq!((read, mailbox.receive()), (SIZE, 1));
}

/// Peers with a wrong certificate, and peers that do not speak TLS.
pub fn faults(mailbox: Mailbox<u64>) {
    let port = server(&mailbox);
    let unknown = TlsStream::connect("localhost", port).unwrap_err().to_string();
    assert!(unknown.contains("UnknownIssuer"), "{unknown}");
    let name =
        TlsStream::connect_with_certs("127.0.0.1", port, vec![file("ca.pem")]).unwrap_err().to_string();
    assert!(name.contains("not valid for name"), "{name}");
    let no_one = TlsStream::connect_with_certs("localhost", port, vec![b"no certificate".to_vec()]);
    assert!(no_one.unwrap_err().to_string().contains("UnknownIssuer"));
    assert!(TlsStream::connect("no name!", port).is_err());
    // A server is there for others after each of these.
    for nonsense in [&b""[..], b"GET / HTTP/1.0\r\n\r\n", &[0x16, 3, 1, 0xff, 0xff, 0, 0], &[0; 100_000]] {
        let mut tcp = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port as u16))).unwrap();
        // It may have hung up by now.
        let _ = tcp.write_all(nonsense);
    }
    let mut stream = connect(port);
    stream.write_all(b"well").unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"well");
    // Invalid certificates, and a certificate of another key.
    let address = "127.0.0.1:0";
    for (certificate, key) in [("key.pem", "key.pem"), ("cert.pem", "cert.pem"), ("ca.pem", "key.pem")] {
        assert!(TlsListener::bind(address, file(certificate), file(key)).is_err(), "{certificate}, {key}");
    }
}

pub fn timeouts(mailbox: Mailbox<u64>) {
    let mut stream = connect(server(&mailbox));
    assert_eq!((stream.read_timeout(), stream.write_timeout()), (None, None));
    stream.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(stream.read_timeout(), Some(Duration::from_millis(30)));
    assert_eq!(stream.write_timeout(), Some(Duration::from_secs(30)));
    let begun = Instant::now();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(begun.elapsed() >= Duration::from_millis(30));
    stream.set_read_timeout(None).unwrap();
    stream.write_all(b"!").unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"!");
    // A listener that sends nothing.
    let silent = lunatic::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = u32::from(silent.local_addr().unwrap().port());
    let error = TlsStream::connect_timeout("localhost", Duration::from_millis(50), port, vec![]).unwrap_err();
    assert!(error.to_string().contains("timed out"), "{error}");
}

/// Serves until it is killed.
pub fn serve(port: &str) {
    let (listener, port) = listen(port.parse().unwrap());
    println!("listening at 127.0.0.1:{port}");
    serve_on(listener);
}

/// Fetches a page, as a browser of old would, and prints it.
pub fn fetch(host: &str, port: &str) {
    let mut stream =
        TlsStream::connect_with_certs(host, port.parse().unwrap(), vec![file("ca.pem")]).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    println!("{}", page.lines().last().unwrap_or_default());
}
