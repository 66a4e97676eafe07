//! Session types, and tasks, which are the simplest of them.

use std::time::Duration;

use lunatic::protocol::{Branch, End, Offer, Pop, Protocol, Rec, Recv, Send};
use lunatic::serializer::{Json, MessagePack};
use lunatic::{Mailbox, Process, ProcessConfig, spawn_link};

/// A calculator that is asked for sums and squares, as often as one likes.
type Calculator = Offer<Recv<(i64, i64), Send<i64, Pop>>, Offer<Recv<i64, Send<String, Pop>>, End>>;

fn calculator((): (), protocol: Protocol<Rec<Calculator>>) {
    let mut protocol = protocol.repeat();
    loop {
        protocol = match protocol.offer() {
            Branch::Left(sum) => {
                let (sum, (first, second)) = sum.receive();
                sum.send(first + second).pop().repeat()
            }
            Branch::Right(more) => match more.offer() {
                Branch::Left(square) => {
                    let (square, number) = square.receive();
                    square.send(format!("{number} squared is {}", number * number)).pop().repeat()
                }
                Branch::Right(_end) => return,
            },
        };
    }
}

pub fn protocols(mailbox: Mailbox<u64>) {
    let mut protocol = Process::spawn_link((), calculator).repeat();
    for number in 0..20 {
        let (pop, sum) = protocol.select_left().send((number, 100)).receive();
        assert_eq!(sum, number + 100);
        let (pop, text) = pop.pop().repeat().select_right().select_left().send(number).receive();
        assert_eq!(text, format!("{number} squared is {}", number * number));
        protocol = pop.pop().repeat();
    }
    let _end = protocol.select_right().select_right();

    // In other forms, two at a time: each has a tag of its own.
    type Sum = Recv<Vec<u64>, Send<u64, End>>;
    let sum = |(), protocol: Protocol<Sum, MessagePack>| {
        let (protocol, numbers) = protocol.receive();
        let _ = protocol.send(numbers.iter().sum());
    };
    let json = |(), protocol: Protocol<Sum, Json>| {
        let (protocol, numbers) = protocol.receive();
        let _ = protocol.send(numbers.iter().product());
    };
    let (sum, product) = (Process::spawn_link((), sum), Process::spawn_link((), json));
    let (sum, product) = (sum.send(vec![1, 2, 3, 4]), product.send(vec![1, 2, 3, 4]));
    mailbox.this().send(8);
    assert_eq!((product.receive().1, sum.receive().1), (24, 10));
    assert_eq!(mailbox.receive(), 8);

    // A process that leaves the protocol early fails, and so does a linked one.
    let mailbox = mailbox.catch_link_failure();
    let leaves = Process::spawn_link((), |(), _: Protocol<Recv<u64, End>>| {});
    assert!(mailbox.receive().is_signal());
    let _end = leaves.send(1);
}

pub fn tasks() {
    let slow = spawn_link!(@task || lunatic::sleep(Duration::from_secs(60)));
    assert!(slow.result_timeout(Duration::from_millis(20)).unwrap_err().is_timed_out());
    let quick = spawn_link!(@task || "quick".to_owned());
    assert_eq!(quick.result_timeout(Duration::from_secs(60)).unwrap(), "quick");
    let config = ProcessConfig::new().expect("it is allowed");
    let (factor, numbers) = (3, vec![1, 2, 3]);
    let alone = spawn_link!(@task &config, |factor, numbers| {
        assert!(ProcessConfig::new().is_err(), "by its config");
        numbers.iter().map(|number: &i32| number * factor).collect::<Vec<_>>()
    });
    assert_eq!(alone.result(), [3, 6, 9]);
    // Tasks of tasks.
    fn fibonacci(number: u64) -> u64 {
        if number < 2 {
            return number;
        }
        let [one, two] = [number - 1, number - 2].map(|number| spawn_link!(@task |number| fibonacci(number)));
        one.result() + two.result()
    }
    assert_eq!(fibonacci(10), 55);
}
