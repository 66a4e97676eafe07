//! A chat server with rooms. Each room is a process, each connection is two, and one process knows all rooms.
//!
//! ```text
//! connection ──room(name)──▶ Rooms ──starts──▶ Room
//!     │ reads lines                              │
//!     ├──enter, say, leave──────────────────────▶│
//!     └──links──▶ writer ◀──what others say──────┘
//! ```
//!
//! A failing connection ends its writer and no other process. Rooms remove members that they can no longer reach.
//!
//! Try it with `nc 127.0.0.1 4000`, twice. The argument is the address to listen at.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};

use lunatic::ap::{AbstractProcess, Config, ProcessRef};
use lunatic::net::{TcpListener, TcpStream};
use lunatic::{Mailbox, Process, abstract_process};
use serde::{Deserialize, Serialize};

const HELP: &str = "/join ROOM, /leave, /rooms, /who, /quit; whatever else you type is said in your room";

#[lunatic::main]
fn main(_: Mailbox<()>) {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4000".to_owned());
    let listener = TcpListener::bind(address.as_str()).expect("the address is free");
    println!("listening at {}", listener.local_addr().expect("it has an address"));
    let rooms = Rooms::link().start(()).expect("it always starts");
    loop {
        let (stream, _) = listener.accept().expect("it listens");
        Process::spawn((stream, rooms), connection);
    }
}

/// Finds rooms by name. A room is created when a client wants to join it.
struct Rooms(BTreeMap<String, ProcessRef<Room>>);

#[abstract_process]
impl Rooms {
    #[init]
    fn init(_: Config<Self>, (): ()) -> Result<Rooms, ()> {
        Ok(Rooms(BTreeMap::new()))
    }

    #[handle_request]
    fn room(&mut self, name: String) -> ProcessRef<Room> {
        let known = self.0.get(&name).copied().filter(ProcessRef::is_alive);
        known.unwrap_or_else(|| {
            // Not linked: a room that failed is created again when it is wanted next.
            let room = Room::start(name.clone()).expect("it always starts");
            self.0.insert(name, room);
            room
        })
    }

    #[handle_request]
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// A line to write, or the end of the connection.
type Out = Process<Option<String>>;

#[derive(Clone, Serialize, Deserialize)]
struct Member {
    name: String,
    out: Out,
}

/// Sends the messages of each member to the others.
struct Room {
    name: String,
    members: Vec<Member>,
}

#[abstract_process]
impl Room {
    #[init]
    fn init(_: Config<Self>, name: String) -> Result<Room, ()> {
        Ok(Room { name, members: Vec::new() })
    }

    #[handle_message]
    fn enter(&mut self, member: Member) {
        self.tell_others(&member, format!("{} enters", member.name));
        self.members.push(member);
    }

    #[handle_message]
    fn say(&mut self, from: Member, text: String) {
        self.tell_others(&from, format!("{}: {text}", from.name));
    }

    #[handle_message]
    fn leave(&mut self, member: Member) {
        self.members.retain(|other| other.out != member.out);
        self.tell_others(&member, format!("{} leaves", member.name));
    }

    #[handle_request]
    fn who(&mut self) -> Vec<String> {
        self.members.retain(|member| member.out.is_alive());
        self.members.iter().map(|member| member.name.clone()).collect()
    }

    fn tell_others(&mut self, from: &Member, text: String) {
        self.members.retain(|member| member.out.is_alive());
        for other in self.members.iter().filter(|other| other.out != from.out) {
            other.out.send(Some(format!("[{}] {text}", self.name)));
        }
    }
}

/// Reads the lines of a client. Its mailbox is for answers only: messages of others go directly to its writer.
fn connection((stream, rooms): (TcpStream, ProcessRef<Rooms>), _: Mailbox<()>) {
    let out = Process::spawn_link(stream.clone(), writer);
    let tell = |text: String| out.send(Some(text));
    tell("who are you?".to_owned());
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(name) = lines.next() else { return out.send(None) };
    let me = Member { name, out };
    tell(format!("hello, {}: {HELP}", me.name));

    let mut room: Option<ProcessRef<Room>> = None;
    for line in lines {
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("/join", name) if !name.is_empty() => {
                let joined = rooms.room(name.to_owned());
                if let Some(left) = room.replace(joined) {
                    left.leave(me.clone());
                }
                joined.enter(me.clone());
                tell(format!("[{name}] here are {}", joined.who().join(", ")));
            }
            ("/leave", _) => room.take().into_iter().for_each(|left| left.leave(me.clone())),
            ("/rooms", _) => tell(format!("rooms: {}", rooms.names().join(", "))),
            ("/who", _) => tell(room.map_or("nobody".to_owned(), |room| room.who().join(", "))),
            ("/quit", _) => break,
            (command, _) if command.starts_with('/') => tell(HELP.to_owned()),
            _ => match room {
                Some(room) => room.say(me.clone(), line),
                None => tell("you are in no room".to_owned()),
            },
        }
    }
    if let Some(left) = room {
        left.leave(me);
    }
    out.send(None);
}

/// Writes the lines that it receives, until the end or until the client has disconnected.
fn writer(mut stream: TcpStream, mailbox: Mailbox<Option<String>>) {
    while let Some(line) = mailbox.receive() {
        if stream.write_all(format!("{line}\n").as_bytes()).is_err() {
            return;
        }
    }
}
