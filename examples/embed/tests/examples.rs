//! The two examples work as described.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

#[test]
fn the_plugin_host_survives_its_plugins() {
    let output = Command::new(env!("CARGO_BIN_EXE_plugins")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..2], ["the plugin says: hello, world", "greet returned I32(5)"]);
    assert!(lines[2].starts_with("endless ended: LimitExceeded"), "{text}");
    assert!(lines[3].starts_with("greedy ended: Trapped"), "{text}");
}

/// Kills the server when the test ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_server_answers_beside_requests_that_never_end() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    let mut server = Server(command.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit('/').next().unwrap().to_owned();
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
        stream
    };
    let answer = |mut stream: TcpStream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let endless: Vec<_> = (0..8).map(|_| ask("/loop")).collect();
    for number in 0..20 {
        let text = answer(ask(&format!("/{number}")));
        assert!(
            text.starts_with("HTTP/1.1 200") && text.ends_with(&format!("you asked for /{number}")),
            "{text}"
        );
    }
    assert!(answer(ask("/trap")).starts_with("HTTP/1.1 500"));
    for stream in endless {
        assert!(answer(stream).starts_with("HTTP/1.1 504"));
    }
}
