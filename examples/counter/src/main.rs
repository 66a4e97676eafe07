use lunatic::{Mailbox, Process};

#[lunatic::main]
fn main(mailbox: Mailbox<u64>) {
    // An endless loop starves no other process.
    Process::spawn((), |(), _: Mailbox<()>| loop {});

    let counter = Process::spawn(mailbox.this(), count);
    for number in [2, 3, 5] {
        counter.send(number);
        println!("the sum is {}", mailbox.receive());
    }
}

/// A process of its own, with memory of its own: adds up what it receives, and reports each sum.
fn count(parent: Process<u64>, mailbox: Mailbox<u64>) {
    let mut sum = 0;
    loop {
        sum += mailbox.receive();
        parent.send(sum);
    }
}
