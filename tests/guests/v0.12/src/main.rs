//! A program for version 0.12 of the crate: a process answers with a message, and an abstract process answers a request, which waits
//! with the host function of the old type.

use lunatic::process::{
    AbstractProcess, Message, MessageHandler, ProcessRef, Request, RequestHandler, StartProcess,
};
use lunatic::{spawn_link, Mailbox};

struct Counter(u32);

impl AbstractProcess for Counter {
    type Arg = u32;
    type State = Self;

    fn init(_: ProcessRef<Self>, start: u32) -> Self {
        Counter(start)
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Increment;

impl MessageHandler<Increment> for Counter {
    fn handle(state: &mut Self::State, _: Increment) {
        state.0 += 1;
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Count;

impl RequestHandler<Count> for Counter {
    type Response = u32;

    fn handle(state: &mut Self::State, _: Count) -> u32 {
        state.0
    }
}

#[lunatic::main]
fn main(mailbox: Mailbox<u32>) {
    let this = mailbox.this();
    spawn_link!(|this, _mailbox: Mailbox<()>| this.send(41));
    println!("{}", mailbox.receive() + 1);
    let counter = Counter::start(5, None);
    counter.send(Increment);
    println!("{}", counter.request(Count));
}
