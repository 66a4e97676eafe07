//! A thousand processes, each of which adds up a part of a vector.
//!
//! Each child gets an index and a copy of the vector, sums the numbers up to the index, and sends the result to the parent, which
//! prints the results in order.

use lunatic::{Mailbox, Process};

const CHILDREN: usize = 1000;

#[lunatic::main]
fn main(mailbox: Mailbox<(usize, u64)>) {
    let numbers: Vec<u64> = (0..CHILDREN as u64).collect();
    for index in 0..CHILDREN {
        Process::spawn((mailbox.this(), index, numbers.clone()), sum_until);
    }

    let mut sums = vec![0; CHILDREN];
    for _ in 0..CHILDREN {
        let (index, sum) = mailbox.receive();
        sums[index] = sum;
    }
    for (index, sum) in sums.iter().enumerate() {
        println!("Sum until {index}: {sum}");
    }
}

fn sum_until(task: (Process<(usize, u64)>, usize, Vec<u64>), _: Mailbox<()>) {
    let (parent, index, numbers) = task;
    let sum = numbers[..=index].iter().sum();
    parent.send((index, sum));
}
