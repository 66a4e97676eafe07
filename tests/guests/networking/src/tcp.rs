//! TCP.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lunatic::net::{TcpListener, TcpStream};
use lunatic::{Mailbox, MessageSignal, Process, sleep, spawn_link};

/// A listener and its address.
fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert_ne!(address.port(), 0);
    (listener, address)
}

/// Two ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listen();
    let client = TcpStream::connect(address).unwrap();
    let (server, _) = listener.accept().unwrap();
    (client, server)
}

/// Sends back what it gets, until there is no more.
fn send_back(mut stream: TcpStream, _: Mailbox<()>) {
    let mut buffer = [0; 1000];
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return,
            count => stream.write_all(&buffer[..count]).unwrap(),
        }
    }
}

/// Accepts for ever; each connection moves to a process of its own.
fn serve_on(listener: TcpListener) -> ! {
    loop {
        let (stream, peer) = listener.accept().unwrap();
        assert!(peer.ip().is_loopback());
        Process::spawn(stream, send_back);
    }
}

/// A server of its own process; its address.
fn server(mailbox: &Mailbox<u64>) -> SocketAddr {
    let parent = mailbox.this();
    Process::spawn_link(parent, |parent: Process<u64>, _: Mailbox<()>| {
        let (listener, address) = listen();
        parent.send(u64::from(address.port()));
        serve_on(listener);
    });
    let port = u16::try_from(mailbox.receive()).unwrap();
    ([127, 0, 0, 1], port).into()
}

pub fn echo(mailbox: Mailbox<u64>) {
    let address = server(&mailbox);
    let mut stream = TcpStream::connect(address).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), address);
    for round in 0..1000u32 {
        stream.write_all(&round.to_le_bytes()).unwrap();
        stream.flush().unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(u32::from_le_bytes(answer), round);
    }
    // Several buffers at once, one of them empty.
    let sent =
        stream.write_vectored(&[IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two")]).unwrap();
    assert_eq!(sent, 6);
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"onetwo");
    // Nothing is asked for.
    assert_eq!(stream.read(&mut []).unwrap(), 0);
    assert_eq!(stream.write(&[]).unwrap(), 0);
    let over_v6 = TcpListener::bind("[::1]:0").map(|listener| {
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    });
    // Some machines have no version 6.
    assert!(over_v6.is_ok() || over_v6.unwrap_err().to_string().contains("address"));
}

/// Many clients at once, each a process.
pub fn crowd(mailbox: Mailbox<u64>) {
    const CLIENTS: u64 = 200;
    let address = server(&mailbox);
    for number in 0..CLIENTS {
        let work = (mailbox.this(), address.port(), number);
        Process::spawn_link(work, |(parent, port, number): (Process<u64>, u16, u64), _: Mailbox<()>| {
            let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
            for round in 0..20 {
                let sent = (number * 1000 + round).to_le_bytes();
                stream.write_all(&sent).unwrap();
                let mut answer = [0; 8];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(answer, sent);
            }
            parent.send(number);
        });
    }
    let sum: u64 = (0..CLIENTS).map(|_| mailbox.receive()).sum();
    assert_eq!(sum, CLIENTS * (CLIENTS - 1) / 2);
}

/// More than fits any buffer, in both directions at once.
pub fn bulk(mailbox: Mailbox<u64>) {
    const SIZE: usize = 32 << 20;
    let address = server(&mailbox);
    let stream = TcpStream::connect(address).unwrap();
    let byte = |at: usize| (at % 251) as u8;
    Process::spawn_link(
        (stream.clone(), mailbox.this()),
        |(mut stream, parent): (TcpStream, Process<u64>), _: Mailbox<()>| {
            let block: Vec<u8> = (0..251 * 1000).map(|at| (at % 251) as u8).collect();
            let mut left = 32 << 20;
            while left > 0 {
                let now = left.min(block.len());
                stream.write_all(&block[..now]).unwrap();
                left -= now;
            }
            parent.send(1);
        },
    );
    let mut reader = stream;
    let mut buffer = vec![0; 100_000];
    let mut read = 0;
    while read < SIZE {
        let count = reader.read(&mut buffer).unwrap();
        assert_ne!(count, 0);
        assert!(buffer[..count].iter().enumerate().all(|(at, &got)| got == byte(read + at)));
        read += count;
    }
    assert_eq!((read, mailbox.receive()), (SIZE, 1));
}

pub fn timeouts() {
    let (mut client, mut server) = pair();
    assert_eq!(client.read_timeout(), None);
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(client.read_timeout(), Some(Duration::from_millis(50)));
    assert_eq!(client.clone().read_timeout(), Some(Duration::from_millis(50)), "it is the stream's");
    let begun = Instant::now();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(begun.elapsed() >= Duration::from_millis(50));
    // Later data is not lost.
    server.write_all(b"late").unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"late");
    // A timeout of nothing only looks.
    client.set_read_timeout(Some(Duration::ZERO)).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    client.set_read_timeout(None).unwrap();
    assert_eq!(client.read_timeout(), None);
    // The peer does not read, so the buffers become full.
    client.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(client.write_timeout(), Some(Duration::from_millis(50)));
    let block = vec![0; 1 << 20];
    let error = (0..100).find_map(|_| client.write_all(&block).err()).expect("the buffers are finite");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    // Connecting takes no longer than the timeout, whether the peer refuses or does not answer.
    let begun = Instant::now();
    TcpStream::connect_timeout("192.0.2.1:9", Duration::from_millis(100)).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5));
}

pub fn peek() {
    let (mut client, mut server) = pair();
    let mut buffer = [0; 8];
    assert_eq!(client.peek_timeout(), None);
    client.set_peek_timeout(Some(Duration::from_millis(20))).unwrap();
    assert_eq!(client.peek_timeout(), Some(Duration::from_millis(20)));
    assert_eq!(client.peek(&mut buffer).unwrap_err().kind(), ErrorKind::TimedOut);
    client.set_peek_timeout(None).unwrap();
    server.write_all(b"twice").unwrap();
    // With a timeout and without.
    for timeout in [None, Some(Duration::from_secs(5))] {
        client.set_peek_timeout(timeout).unwrap();
        assert_eq!((client.peek(&mut buffer).unwrap(), &buffer[..5]), (5, &b"twice"[..]));
    }
    assert_eq!((client.read(&mut buffer).unwrap(), &buffer[..5]), (5, &b"twice"[..]));
}

pub fn errors() {
    let (listener, address) = listen();
    // The address is taken, and no one listens where one has stopped to.
    let taken = TcpListener::bind(address).unwrap_err();
    assert!(taken.to_string().contains("in use"), "{taken}");
    drop(listener);
    let refused = TcpStream::connect(address).unwrap_err();
    assert!(refused.to_string().contains("refused"), "{refused}");
    let again = TcpListener::bind(address).unwrap();
    assert_eq!(again.local_addr().unwrap(), address);
    // Writing to a closed connection returns an error.
    let (mut client, server) = pair();
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let error = (0..100).find_map(|_| {
        sleep(Duration::from_millis(1));
        client.write_all(b"anyone?").err()
    });
    let error = error.expect("it was reset").to_string();
    assert!(error.contains("Broken pipe") || error.contains("reset"), "{error}");
}

/// One stream in two processes: what one side sends is read by both, each byte once.
pub fn clones(mailbox: Mailbox<u64>) {
    const BYTES: u64 = 10_000;
    let (mut client, server) = pair();
    for _ in 0..2 {
        Process::spawn_link(
            (server.clone(), mailbox.this()),
            |(mut stream, parent): (TcpStream, Process<u64>), _: Mailbox<()>| {
                let (mut sum, mut buffer) = (0, [0; 10]);
                loop {
                    match stream.read(&mut buffer).unwrap() {
                        0 => return parent.send(sum),
                        count => sum += buffer[..count].iter().map(|&byte| u64::from(byte)).sum::<u64>(),
                    }
                }
            },
        );
    }
    for _ in 0..BYTES / 10 {
        client.write_all(&[1; 10]).unwrap();
    }
    drop(client);
    assert_eq!(mailbox.receive() + mailbox.receive(), BYTES);
}

/// A process that is killed while it waits for its socket leaves nothing behind: the port is free when that is known.
pub fn killed(mailbox: Mailbox<u64>) {
    let mailbox = mailbox.monitorable();
    for round in 0..20 {
        let acceptor = Process::spawn(mailbox.this(), |parent: Process<u64>, _: Mailbox<()>| {
            let (listener, address) = listen();
            parent.send(u64::from(address.port()));
            if let Ok((mut stream, _)) = listener.accept() {
                parent.send(0);
                let _ = stream.read(&mut [0]);
                panic!("no process sends");
            }
        });
        let MessageSignal::Message(port) = mailbox.receive() else { panic!("it sends its port first") };
        let address = SocketAddr::from(([127, 0, 0, 1], port as u16));
        // In accepting, or in reading.
        let client = (round % 2 == 1).then(|| {
            let client = TcpStream::connect(address).unwrap();
            assert!(matches!(mailbox.receive(), MessageSignal::Message(0)));
            client
        });
        mailbox.monitor(acceptor);
        acceptor.kill();
        assert!(matches!(mailbox.receive(), MessageSignal::Signal(_)));
        if let Some(mut client) = client {
            assert_eq!(client.read(&mut [0]).unwrap(), 0, "the connection was closed");
        }
        TcpListener::bind(address).expect("the port is free");
    }
}

/// A stream is closed if no process takes it from its message, or if the message is sent to a dead process.
pub fn ends(mailbox: Mailbox<u64>) {
    let ended = spawn_link!(|| {});
    while ended.is_alive() {
        sleep(Duration::from_millis(1));
    }
    let gone: Process<TcpStream> = unsafe { Process::new(ended.node_id(), ended.id()) };
    let (mut client, server) = pair();
    gone.send(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);

    let deaf = Process::spawn((), |(), _: Mailbox<TcpStream>| sleep(Duration::from_millis(20)));
    let (mut client, server) = pair();
    deaf.send(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let _ = mailbox;
}

/// Far more connections than descriptors, one after the other: dropped, sent to dead processes, in messages that are not read, of
/// processes that are killed or panic. All are closed.
pub fn leaks(mailbox: Mailbox<u64>) {
    let mailbox = mailbox.monitorable();
    let (listener, address) = listen();
    for round in 0..400 {
        let client = TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        let clone = server.clone();
        let child = Process::spawn(
            (server, round),
            |(stream, round): (TcpStream, i32), mailbox: Mailbox<TcpStream>| {
                let clones = [stream.clone(), stream.clone()];
                match round % 4 {
                    0 => drop(mailbox.receive()),
                    1 => drop(clones[0].clone().read(&mut [0])),
                    2 => std::process::abort(),
                    _ => {}
                }
            },
        );
        mailbox.monitor(child);
        child.send(clone);
        if round % 4 == 1 {
            sleep(Duration::from_millis(1));
            child.kill();
        }
        assert!(matches!(mailbox.receive(), MessageSignal::Signal(_)));
        // The peer sees that the connection is closed.
        let mut client = client;
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    }
}

/// A port without a listener.
pub fn unanswered(port: &str) {
    let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    let begun = Instant::now();
    let error = TcpStream::connect_timeout(address, Duration::from_millis(100)).unwrap_err();
    assert!(error.to_string().contains("timed out"), "{error}");
    assert!((100..900).contains(&begun.elapsed().as_millis()));
}

/// Serves until it is killed; tries again when there is no descriptor for a connection.
pub fn serve(port: &str) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))).unwrap();
    println!("listening at {}", listener.local_addr().unwrap());
    loop {
        match listener.accept() {
            Ok((stream, _)) => drop(Process::spawn(stream, |stream, mailbox| {
                // A client that disconnects has no effect on others.
                let _: Mailbox<()> = mailbox;
                send_back_politely(stream);
            })),
            Err(error) => {
                assert!(error.to_string().contains("Too many open files"), "{error}");
                sleep(Duration::from_millis(10));
            }
        }
    }
}

fn send_back_politely(mut stream: TcpStream) {
    let mut buffer = [0; 1000];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}
