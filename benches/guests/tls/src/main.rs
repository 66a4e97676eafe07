//! Bytes over TLS, from and to clients: a process per connection. A request is a letter and a number of bytes as eight bytes in
//! little-endian order: `d` receives that number of bytes, `u` sends that number and receives one byte.

use std::io::{Read, Result, Write};

use lunatic::net::{TlsListener, TlsStream};
use lunatic::{Mailbox, Process};

/// A record's worth.
const PIECE: usize = 16 << 10;

#[lunatic::main]
fn main(_: Mailbox<()>) {
    let file = |name| std::fs::read(name).unwrap();
    let listener = TlsListener::bind("127.0.0.1:0", file("cert.pem"), file("key.pem")).unwrap();
    println!("listening at {}", listener.local_addr().unwrap());
    loop {
        let (stream, _) = listener.accept().unwrap();
        Process::spawn(stream, serve);
    }
}

fn serve(mut stream: TlsStream, _: Mailbox<()>) {
    let mut piece = vec![0; PIECE];
    // A client that disconnects ends the process.
    while let Ok(()) = answer(&mut stream, &mut piece) {}
}

/// Answers a request.
fn answer(stream: &mut TlsStream, piece: &mut [u8]) -> Result<()> {
    let mut request = [0; 9];
    stream.read_exact(&mut request)?;
    let mut left = usize::try_from(u64::from_le_bytes(request[1..].try_into().unwrap())).unwrap();
    if request[0] == b'd' {
        while left > 0 {
            let count = left.min(PIECE);
            stream.write_all(&piece[..count])?;
            left -= count;
        }
        return Ok(());
    }
    while left > 0 {
        let room = left.min(PIECE);
        match stream.read(&mut piece[..room])? {
            0 => return Ok(()),
            count => left -= count,
        }
    }
    stream.write_all(b"!")
}
