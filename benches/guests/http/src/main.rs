//! The smallest HTTP server: a process for each connection, one answer to every request.

use std::io::{Read, Write};

use lunatic::net::{TcpListener, TcpStream};
use lunatic::{Mailbox, Process};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nHello world\n";

#[lunatic::main]
fn main(_: Mailbox<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("listening at {}", listener.local_addr().unwrap());
    loop {
        let (stream, _) = listener.accept().unwrap();
        Process::spawn(stream, serve);
    }
}

fn serve(mut stream: TcpStream, _: Mailbox<()>) {
    let mut request = [0; 2048];
    let mut filled = 0;
    while let Ok(count @ 1..) = stream.read(&mut request[filled..]) {
        filled += count;
        if request[..filled].ends_with(b"\r\n\r\n") {
            filled = 0;
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    }
}
