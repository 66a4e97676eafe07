//! Messages: their encodings, mailboxes, and messages that are not data.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use lunatic::function::FuncRef;
use lunatic::net::{TcpListener, TcpStream};
use lunatic::serializer::{
    Bincode, CanSerialize, DecodeError, EncodeError, Json, MessagePack, MessageRw, ProtocolBuffers,
};
use lunatic::{Mailbox, Process, Tag, spawn_link};
use protobuf::well_known_types::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle { radius: f64 },
    Polygon(Vec<(i32, i32)>),
    Named(String, Box<Shape>),
}

/// A received value equals the sent one, in every encoding.
fn travels<M, S>(message: M)
where
    M: Clone + PartialEq + std::fmt::Debug + 'static,
    S: CanSerialize<M>
        + CanSerialize<()>
        + CanSerialize<lunatic::protocol::ProtocolCapture<Process<M, S>>>
        + 'static,
    S: CanSerialize<Process<M, S>>,
{
    // SAFETY: the scenario's own mailbox is empty, and read as this type until the answer is there.
    let mailbox: Mailbox<M, S> = unsafe { Mailbox::new() };
    let echo =
        Process::<M, S>::spawn_link(mailbox.this(), |parent: Process<M, S>, mailbox: Mailbox<M, S>| {
            parent.send(mailbox.receive());
        });
    echo.send(message.clone());
    assert_eq!(mailbox.receive(), message);
}

pub fn serializers() {
    let shapes = [
        Shape::Point,
        Shape::Circle { radius: 0.1 },
        Shape::Polygon((0..10_000).map(|step| (step, -step)).collect()),
        Shape::Named("größer".to_owned(), Box::new(Shape::Circle { radius: -1e300 })),
    ];
    for shape in shapes {
        travels::<_, Bincode>(shape.clone());
        travels::<_, Json>(shape.clone());
        travels::<_, MessagePack>(shape);
    }
    travels::<_, Own>(vec![1, 2, 3]);

    // Protocol buffers have no tuples and no references to processes: only messages.
    // SAFETY: as above.
    let mailbox: Mailbox<Timestamp, ProtocolBuffers> = unsafe { Mailbox::new() };
    let mut time = Timestamp::new();
    (time.seconds, time.nanos) = (i64::MAX, 5);
    mailbox.this().send(time.clone());
    assert_eq!(mailbox.receive(), time);

    // An invalid message is an error, and the mailbox stays usable.
    // SAFETY: as above.
    let numbers: Mailbox<u64, Json> = unsafe { Mailbox::new() };
    let words: Process<String, Json> = unsafe { Process::new(numbers.this().node_id(), numbers.this().id()) };
    words.send("no number".to_owned());
    numbers.this().send(6);
    assert!(numbers.receive_timeout(Duration::from_secs(60)).unwrap_err().is_deserialization_failed());
    assert_eq!(numbers.receive(), 6);
}

/// A serializer of this program's own: bytes as they are, whatever else goes as Bincode would have it.
#[derive(Debug, Hash)]
struct Own;

impl CanSerialize<Vec<u8>> for Own {
    fn encode(message: &Vec<u8>) -> Result<(), EncodeError> {
        Ok(MessageRw {}.write_all(message)?)
    }

    fn decode() -> Result<Vec<u8>, DecodeError> {
        let mut bytes = Vec::new();
        MessageRw {}.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

macro_rules! as_bincode {
    ($($type:ty),* $(,)?) => {$(
        impl CanSerialize<$type> for Own {
            fn encode(message: &$type) -> Result<(), EncodeError> {
                Bincode::encode(message)
            }

            fn decode() -> Result<$type, DecodeError> {
                Bincode::decode()
            }
        }
    )*};
}

as_bincode!((), Process<Vec<u8>, Own>, lunatic::protocol::ProtocolCapture<Process<Vec<u8>, Own>>);

/// Looking, waiting for some of the tags, and neither.
pub fn mailboxes(mailbox: Mailbox<u64>) {
    // Not with `try_receive`, which waits as `receive` does.
    assert!(mailbox.receive_timeout(Duration::ZERO).unwrap_err().is_timed_out());
    let [first, second, third] = std::array::from_fn(|_| Tag::new());
    mailbox.this().tag_send(second, 2);
    let other = Duration::from_millis(20);
    assert!(mailbox.tag_receive_timeout(&[first, third], other).unwrap_err().is_timed_out());
    assert_eq!(mailbox.tag_receive_timeout(&[first, second], other).unwrap(), 2);
    assert!(mailbox.receive_timeout(Duration::ZERO).is_err());
    // One that comes while others are waited for stays.
    spawn_link!(|parent = { mailbox.this() }, first, third| {
        parent.tag_send(third, 3);
        lunatic::sleep(Duration::from_millis(10));
        parent.tag_send(first, 1);
    });
    assert_eq!(mailbox.tag_receive(&[first]), 1);
    assert_eq!(mailbox.receive(), 3);

    let mailbox = mailbox.catch_link_failure();
    assert!(mailbox.receive_timeout(Duration::ZERO).is_err());
    Process::spawn_link_tag((), first, |(), _: Mailbox<()>| panic!("on purpose"));
    assert!(mailbox.tag_receive_timeout(&[second], other).is_err(), "the end has another tag");
    assert!(mailbox.tag_receive(&[first]).is_signal());
}

/// A function is a number of the module, which is the same module there.
pub fn functions(mailbox: Mailbox<u64>) {
    type Job = (FuncRef<fn(u64) -> u64>, u64);
    let worker = Process::spawn_link(mailbox.this(), |parent: Process<u64>, mailbox: Mailbox<Job>| {
        loop {
            let (function, argument) = mailbox.receive();
            parent.send(function(argument));
        }
    });
    fn twice(number: u64) -> u64 {
        number * 2
    }
    for (function, result) in
        [(twice as fn(u64) -> u64, 42), (|number| number + 1, 22), (u64::count_ones_of, 3)]
    {
        worker.send((FuncRef::new(function), 21));
        assert_eq!(mailbox.receive(), result);
    }
}

trait Ones {
    fn count_ones_of(self) -> u64;
}

impl Ones for u64 {
    fn count_ones_of(self) -> u64 {
        u64::from(self.count_ones())
    }
}

/// Sockets travel in messages of any form.
pub fn resources(mailbox: Mailbox<u64>) {
    // SAFETY: as above.
    let addresses: Mailbox<SocketAddr> = unsafe { Mailbox::new() };
    Process::spawn_link(addresses.this(), |parent: Process<SocketAddr>, _: Mailbox<()>| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("it can listen");
        parent.send(listener.local_addr().expect("it has one"));
        loop {
            let (mut stream, _) = listener.accept().expect("there is one");
            stream.write_all(b"hello").expect("it listens");
        }
    });
    let address = addresses.receive();
    let read = |mut stream: TcpStream, parent: Process<u64>| {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it is text");
        assert_eq!(text, "hello");
        parent.send(1);
    };
    let connect = || TcpStream::connect(address).expect("it listens");
    type Given = (TcpStream, Process<u64>, FuncRef<fn(TcpStream, Process<u64>)>);
    let given = || -> Given { (connect(), mailbox.this(), FuncRef::new(read)) };
    Process::spawn_link(given(), |(stream, parent, read): Given, _: Mailbox<(), Bincode>| {
        read(stream, parent)
    });
    Process::spawn_link(given(), |(stream, parent, read): Given, _: Mailbox<(), Json>| read(stream, parent));
    Process::spawn_link(given(), |(stream, parent, read): Given, _: Mailbox<(), MessagePack>| {
        read(stream, parent)
    });
    for _ in 0..3 {
        assert_eq!(mailbox.receive(), 1);
    }
}
