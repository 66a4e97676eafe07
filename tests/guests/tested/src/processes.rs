//! Tests that use processes.

use std::time::Duration;

use lunatic::{Mailbox, Process, spawn_link, test};

/// Answers with one more, for ever.
fn start() -> Process<(Process<u32>, u32)> {
    spawn_link!(|mailbox: Mailbox<(Process<u32>, u32)>| {
        loop {
            let (from, number) = mailbox.receive();
            from.send(number + 1);
        }
    })
}

/// Each of two tests is the only one that has this name.
fn take_the_name(mailbox: Mailbox<u32>) {
    assert!(Process::<(Process<u32>, u32)>::lookup(&"the name").is_none(), "another test has the name");
    start().register(&"the name");
    let named = Process::<(Process<u32>, u32)>::lookup(&"the name").expect("it is registered");
    named.send((unsafe { Process::this() }, 41));
    assert_eq!(mailbox.receive(), 42);
    // For so long that the other one comes in between.
    lunatic::sleep(Duration::from_millis(200));
}

#[test]
fn takes_the_name(mailbox: Mailbox<u32>) {
    take_the_name(mailbox);
}

#[test]
fn takes_the_same_name(mailbox: Mailbox<u32>) {
    take_the_name(mailbox);
}

#[test]
fn many_answer(mailbox: Mailbox<u32>) {
    let processes: Vec<_> = (0..100).map(|_| start()).collect();
    for (number, process) in processes.iter().enumerate() {
        process.send((unsafe { Process::this() }, number as u32));
        assert_eq!(mailbox.receive(), number as u32 + 1);
    }
}

#[test]
#[should_panic(expected = "of a child")]
fn dies_by_a_link(mailbox: Mailbox<()>) {
    spawn_link!(|_mailbox: Mailbox<()>| panic!("the panic of a child"));
    mailbox.receive();
}

#[test]
fn a_child_that_panics_is_not_the_test(mailbox: Mailbox<()>) {
    let mailbox = mailbox.monitorable();
    mailbox.monitor(lunatic::spawn!(|_mailbox: Mailbox<()>| panic!("not linked")));
    mailbox.receive().unwrap_signal();
}

#[test]
fn a_result_may_be_ok() -> Result<(), String> {
    Ok(())
}

#[test]
#[ignore]
fn fails_by_a_result() -> Result<(), String> {
    Err("what the test returns".into())
}

#[test]
#[ignore]
fn fails_by_its_status() {
    std::process::exit(3);
}
