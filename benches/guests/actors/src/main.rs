//! What the process benchmarks run: `actors spawn N`, `actors ping-pong N`, `actors ring N`, `actors fan-in N`,
//! `actors park N`.

use lunatic::{Mailbox, Process};

#[lunatic::main]
fn main(mailbox: Mailbox<u64>) {
    let args: Vec<String> = std::env::args().collect();
    let count: u64 = args[2].parse().expect("a number");
    match args[1].as_str() {
        "spawn" => spawn(mailbox, count),
        "ping-pong" => ping_pong(mailbox, count),
        "ring" => ring(mailbox, 1000, count),
        "fan-in" => fan_in(mailbox, 100, count.div_ceil(100)),
        "park" => park(mailbox, count),
        other => panic!("no benchmark {other}"),
    }
}

/// Spawns processes that say hello and then wait for ever, says so, and waits as well.
fn park(mailbox: Mailbox<u64>, count: u64) {
    for _ in 0..count {
        Process::spawn(mailbox.this(), |parent: Process<u64>, mailbox: Mailbox<u64>| {
            parent.send(1);
            mailbox.receive();
        });
    }
    for _ in 0..count {
        mailbox.receive();
    }
    println!("parked");
    mailbox.receive();
}

/// Spawns a process that replies and exits, one at a time.
fn spawn(mailbox: Mailbox<u64>, count: u64) {
    for _ in 0..count {
        Process::spawn(mailbox.this(), |parent: Process<u64>, _: Mailbox<()>| parent.send(1));
        mailbox.receive();
    }
}

/// Sends a number to an echo and waits for it.
fn ping_pong(mailbox: Mailbox<u64>, count: u64) {
    let echo = Process::spawn(mailbox.this(), |parent: Process<u64>, mailbox: Mailbox<u64>| {
        loop {
            parent.send(mailbox.receive());
        }
    });
    for number in 0..count {
        echo.send(number);
        assert_eq!(mailbox.receive(), number);
    }
}

/// Passes a token around a ring until it has made `hops` hops.
fn ring(mailbox: Mailbox<u64>, size: u64, hops: u64) {
    let mut next = mailbox.this();
    for _ in 1..size {
        next = Process::spawn(next, |next: Process<u64>, mailbox: Mailbox<u64>| {
            loop {
                next.send(mailbox.receive().saturating_sub(1));
            }
        });
    }
    next.send(hops);
    loop {
        match mailbox.receive() {
            0 => return,
            left => next.send(left - 1),
        }
    }
}

/// Receives `each` messages from each of `senders` processes.
fn fan_in(mailbox: Mailbox<u64>, senders: u64, each: u64) {
    for _ in 0..senders {
        Process::spawn((mailbox.this(), each), |(parent, each): (Process<u64>, u64), _: Mailbox<()>| {
            for number in 0..each {
                parent.send(number);
            }
        });
    }
    for _ in 0..senders * each {
        mailbox.receive();
    }
}
