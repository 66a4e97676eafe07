//! The guest of the process benchmarks: `actors spawn N`, `actors ping-pong N`, `actors ring N`, `actors fan-in N`,
//! `actors park N`, `actors busy N`, `actors compute N`, `actors spawners N`, `actors pairs N`.

use std::time::{Duration, Instant};

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
        "busy" => busy(mailbox, count),
        "compute" => apart(mailbox, count, |rounds, _| compute(rounds)),
        "spawners" => apart(mailbox, count, |children, mailbox| spawn(mailbox, children)),
        "pairs" => apart(mailbox, count, |trips, mailbox| ping_pong(mailbox, trips)),
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

/// Divides the work among eight independent processes, and waits for them.
fn apart(mailbox: Mailbox<u64>, count: u64, work: fn(u64, Mailbox<u64>)) {
    const PROCESSES: u64 = 8;
    for _ in 0..PROCESSES {
        let share = (mailbox.this(), count / PROCESSES, work as usize);
        Process::spawn(share, |(parent, count, work): (Process<u64>, u64, usize), mailbox: Mailbox<u64>| {
            // SAFETY: it is such a function, and the child is an instance of the same module.
            let work: fn(u64, Mailbox<u64>) = unsafe { std::mem::transmute(work) };
            work(count, mailbox);
            parent.send(0);
        });
    }
    (0..PROCESSES).for_each(|_| {
        mailbox.receive();
    });
}

fn compute(rounds: u64) {
    let mut number = 1u64;
    for round in 0..rounds {
        number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round));
    }
}

/// With eight processes that never stop computing: how late sleeps of 5 ms end, and how long an echo takes. Prints the
/// median and the 99th percentile of each, in nanoseconds.
fn busy(mailbox: Mailbox<u64>, count: u64) {
    for _ in 0..8 {
        Process::spawn((), |(), _: Mailbox<()>| {
            let mut number = 0u64;
            loop {
                number = std::hint::black_box(number + 1);
            }
        });
    }
    let echo = Process::spawn(mailbox.this(), |parent: Process<u64>, mailbox: Mailbox<u64>| {
        loop {
            parent.send(mailbox.receive());
        }
    });
    let sleep = Duration::from_millis(5);
    let late = (0..count).map(|_| {
        let start = Instant::now();
        lunatic::sleep(sleep);
        start.elapsed().checked_sub(sleep).expect("a sleep is never too short")
    });
    let [late, very_late] = percentiles(late.collect());
    let trips = (0..count).map(|number| {
        // Between two trips the others compute, or it would be measured how fast two processes wake each other.
        lunatic::sleep(Duration::from_millis(1));
        let start = Instant::now();
        echo.send(number);
        mailbox.receive();
        start.elapsed()
    });
    let [trip, long_trip] = percentiles(trips.collect());
    println!("{late} {very_late} {trip} {long_trip}");
}

fn percentiles(mut times: Vec<Duration>) -> [u128; 2] {
    times.sort();
    [times.len() / 2, times.len() * 99 / 100].map(|index| times[index].as_nanos())
}
