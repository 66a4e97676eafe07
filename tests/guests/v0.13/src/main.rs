//! A program for version 0.13 of the crate: a process answers with a message, and an abstract process answers a request.

use lunatic::ap::handlers::{Message, Request};
use lunatic::ap::{AbstractProcess, Config, MessageHandler, RequestHandler, State};
use lunatic::serializer::Bincode;
use lunatic::{spawn_link, Mailbox};

struct Counter(u32);

impl AbstractProcess for Counter {
    type Arg = u32;
    type State = Self;
    type Serializer = Bincode;
    type Handlers = (Message<Increment>, Request<Count>);
    type StartupError = ();

    fn init(_: Config<Self>, start: u32) -> Result<Self, ()> {
        Ok(Counter(start))
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Increment;

impl MessageHandler<Increment> for Counter {
    fn handle(mut state: State<Self>, _: Increment) {
        state.0 += 1;
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Count;

impl RequestHandler<Count> for Counter {
    type Response = u32;

    fn handle(state: State<Self>, _: Count) -> u32 {
        state.0
    }
}

#[lunatic::main]
fn main(mailbox: Mailbox<u32>) {
    let this = mailbox.this();
    spawn_link!(|this, _mailbox: Mailbox<()>| this.send(41));
    println!("{}", mailbox.receive() + 1);
    let counter = Counter::start(5).expect("it starts");
    counter.send(Increment);
    println!("{}", counter.request(Count));
}
