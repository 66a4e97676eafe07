//! UDP.

use lunatic::net::UdpSocket;
use lunatic::{Mailbox, Process};

pub fn datagrams(mailbox: Mailbox<u64>) {
    // It answers ten with their number and then ends.
    Process::spawn_link(mailbox.this(), |parent: Process<u64>, _: Mailbox<()>| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        parent.send(u64::from(socket.local_addr().unwrap().port()));
        for number in 0..10u8 {
            let mut buffer = [0; 100];
            let (count, from) = socket.recv_from(&mut buffer).unwrap();
            buffer[count] = number;
            assert_eq!(socket.send_to(&buffer[..=count], from).unwrap(), count + 1);
        }
    });
    let server = ([127, 0, 0, 1], mailbox.receive() as u16).into();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(socket.peer_addr().is_err());
    let mut buffer = [0; 100];
    for number in 0..5 {
        assert_eq!(socket.send_to(b"hello", server).unwrap(), 5);
        let (count, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..count - 1], buffer[count - 1], from), (&b"hello"[..], number, server));
    }
    assert!(socket.send(b"not connected").is_err());
    socket.connect(server).unwrap();
    assert_eq!(socket.peer_addr().unwrap(), server);
    let clone = socket.try_clone().unwrap();
    for number in 5..10 {
        assert_eq!(clone.send(b"").unwrap(), 0);
        assert_eq!((socket.recv(&mut buffer).unwrap(), buffer[0]), (1, number));
    }
}

/// Datagrams to a port without a socket: the error is reported once, and then there is nothing to receive. A process that waits for
/// that delays no other.
pub fn refused(mailbox: Mailbox<u64>) {
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let waits = Process::spawn_link(
        (mailbox.this(), nobody.port()),
        |(parent, port): (Process<u64>, u16), _: Mailbox<()>| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(std::net::SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
            socket.send(b"anyone?").unwrap();
            // The answer arrives while no process waits for it.
            lunatic::sleep(std::time::Duration::from_millis(20));
            let error = socket.recv(&mut [0; 10]).unwrap_err().to_string();
            assert!(error.contains("refused"), "{error}");
            parent.send(1);
            let _ = socket.recv(&mut [0; 10]);
        },
    );
    assert_eq!(mailbox.receive(), 1);
    lunatic::sleep(std::time::Duration::from_millis(50));
    waits.kill();
}

pub fn settings() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(!socket.broadcast().unwrap());
    socket.set_broadcast(true).unwrap();
    assert!(socket.try_clone().unwrap().broadcast().unwrap());
    socket.set_ttl(7).unwrap();
    assert_eq!(socket.ttl().unwrap(), 7);
}
