//! The chat server of the examples with several clients.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use lunatic_tests::Killed;
use lunatic_tests::commands::command;
use lunatic_tests::guests::build;

/// The server. It is killed when dropped.
struct Server {
    _child: Killed,
    address: String,
}

impl Server {
    fn start(workers: &str) -> Server {
        let mut exec = command("lunatic-exec");
        exec.args(["--workers", workers]).arg(build("examples/chat", "chat")).arg("127.0.0.1:0");
        let mut child = exec.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where");
        let address = line.trim().strip_prefix("listening at ").expect("an address").to_owned();
        Server { _child: Killed(child), address }
    }

    /// A client that has sent its name.
    fn client(&self, name: &str) -> Client {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("more than none");
        let mut client = Client(BufReader::new(stream));
        client.hears("who are you?");
        client.types(name);
        assert!(client.line().starts_with(&format!("hello, {name}: /join ROOM")));
        client
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn types(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).expect("it listens");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the server sends a line");
        line.trim_end().to_owned()
    }

    #[track_caller]
    fn hears(&mut self, expected: &str) {
        assert_eq!(self.line(), expected);
    }
}

#[test]
fn messages_reach_the_members_of_a_room() {
    for workers in ["1", "2"] {
        let server = Server::start(workers);
        let [mut ada, mut bob, mut eve] = ["ada", "bob", "eve"].map(|name| server.client(name));
        ada.types("is anybody here?");
        ada.hears("you are in no room");
        ada.types("/join nails");
        ada.hears("[nails] here are ada");
        bob.types("/join nails");
        bob.hears("[nails] here are ada, bob");
        ada.hears("[nails] bob enters");
        eve.types("/join screws");
        eve.hears("[screws] here are eve");
        bob.types("hello, größer world");
        ada.hears("[nails] bob: hello, größer world");
        // A client gets neither its own messages nor those of other rooms.
        bob.types("/who");
        bob.hears("ada, bob");
        eve.types("/rooms");
        eve.hears("rooms: nails, screws");
        eve.types("/help");
        assert!(eve.line().contains("/join ROOM"));
        // A client moves from one room to the other.
        eve.types("/join nails");
        eve.hears("[nails] here are ada, bob, eve");
        ada.hears("[nails] eve enters");
        bob.hears("[nails] eve enters");
        // A client that leaves properly, one that disconnects, and one that sends bytes that are not text.
        eve.types("/leave");
        ada.hears("[nails] eve leaves");
        bob.hears("[nails] eve leaves");
        drop(bob);
        ada.hears("[nails] bob leaves");
        let mut odd = server.client("odd");
        odd.types("/join nails");
        odd.hears("[nails] here are ada, odd");
        ada.hears("[nails] odd enters");
        odd.0.get_mut().write_all(b"\xff\xfe\n").expect("it listens");
        ada.hears("[nails] odd leaves");
        odd.hears("");
        ada.types("/quit");
        ada.hears("");
    }
}

#[test]
fn many_clients_send_at_once() {
    const CLIENTS: usize = 40;
    for workers in ["1", "2"] {
        let server = Server::start(workers);
        let mut clients: Vec<_> = (0..CLIENTS).map(|number| server.client(&number.to_string())).collect();
        for client in &mut clients {
            client.types("/join all");
            while !client.line().contains("here are") {}
        }
        clients.iter_mut().for_each(|client| client.types("hello"));
        for (number, client) in clients.iter_mut().enumerate() {
            let mut heard = BTreeSet::new();
            while heard.len() < CLIENTS - 1 {
                let line = client.line();
                // The arrivals of later clients were announced first.
                if let Some(from) = line.strip_suffix(": hello") {
                    assert!(heard.insert(from.to_owned()), "twice: {line}");
                }
            }
            assert!(!heard.contains(&format!("[all] {number}")), "its own");
        }
    }
}
