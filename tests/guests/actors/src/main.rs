//! Features of the published `lunatic` crate, one scenario per invocation. A failing scenario panics.

mod hostages;
mod redirects;
mod supervision;

use std::time::{Duration, Instant};

use lunatic::{
    LinkDiedSignal, Mailbox, MessageSignal, Process, ProcessConfig, ProcessDiedSignal, Tag, sleep, spawn,
    spawn_link,
};

#[lunatic::main]
fn main(mailbox: Mailbox<u64>) {
    let scenario = std::env::args().nth(1).unwrap_or_default();
    match scenario.as_str() {
        "messages" => messages(mailbox),
        "tags" => tags(mailbox),
        "timeouts" => timeouts(mailbox),
        "links" => links(mailbox),
        "link-kills" => link_kills(mailbox),
        "monitors" => monitors(mailbox),
        "registry" => registry(mailbox),
        "configs" => configs(mailbox),
        "tasks" => tasks(),
        "timers" => timers(mailbox),
        "kill" => kill(mailbox),
        "ticks" => ticks(mailbox),
        "memory" => memory(mailbox),
        "catch" => supervision::catch(mailbox),
        "panics" => supervision::panics(mailbox),
        "abstract-process" => supervision::abstract_process(mailbox),
        "supervisor" => supervision::supervisor(mailbox),
        // SAFETY: no process sends messages to this one; only deaths arrive, which have no type.
        "hostages" => hostages::hostages(unsafe { Mailbox::new() }),
        "redirects" => redirects::redirects(mailbox),
        "panic-in-child" => panic_in_child(mailbox),
        other => panic!("no scenario {other:?}"),
    }
    println!("done: {scenario}");
}

fn messages(mailbox: Mailbox<u64>) {
    let child = Process::spawn(mailbox.this(), |parent: Process<u64>, mailbox: Mailbox<Vec<u64>>| {
        loop {
            parent.send(mailbox.receive().iter().sum());
        }
    });
    for size in [0, 1, 1000, 100_000] {
        let numbers: Vec<u64> = (0..size).collect();
        let sum = numbers.iter().sum();
        child.send(numbers);
        assert_eq!(mailbox.receive(), sum);
    }
    assert!(child.is_alive());
    // Sending to a process that has ended is not an error.
    let gone = spawn!(|| {});
    while gone.is_alive() {
        sleep(Duration::from_millis(1));
    }
    gone.send(());
}

fn tags(mailbox: Mailbox<u64>) {
    let tags: Vec<Tag> = (0..4).map(|_| Tag::new()).collect();
    for (number, tag) in tags.iter().enumerate() {
        mailbox.this().tag_send(*tag, number as u64);
    }
    assert_eq!(mailbox.tag_receive(&[tags[2]]), 2);
    assert_eq!(mailbox.tag_receive(&[tags[3], tags[1]]), 1);
    assert_eq!(mailbox.receive(), 0);
    assert_eq!(mailbox.receive(), 3);
}

fn timeouts(mailbox: Mailbox<u64>) {
    // A timeout of zero polls.
    assert!(mailbox.receive_timeout(Duration::ZERO).unwrap_err().is_timed_out());
    let start = Instant::now();
    assert!(mailbox.receive_timeout(Duration::from_millis(30)).unwrap_err().is_timed_out());
    assert!(start.elapsed() >= Duration::from_millis(30));
    mailbox.this().send(7);
    assert_eq!(mailbox.receive_timeout(Duration::from_secs(60)).unwrap(), 7);
    let start = Instant::now();
    sleep(Duration::from_millis(20));
    assert!(start.elapsed() >= Duration::from_millis(20));
}

fn links(mailbox: Mailbox<u64>) {
    let mailbox = mailbox.catch_link_failure();
    // A normal exit sends nothing; an abnormal one becomes a message with the link's tag.
    let _quiet = spawn_link!(|| {});
    let tag = Tag::new();
    Process::spawn_link_tag((), tag, |_, _: Mailbox<()>| panic!("on purpose"));
    match mailbox.receive() {
        MessageSignal::Signal(LinkDiedSignal(died)) => assert_eq!(died, tag),
        MessageSignal::Message(message) => panic!("a message {message}"),
    }
    assert!(mailbox.receive_timeout(Duration::from_millis(20)).unwrap_err().is_timed_out());
}

fn link_kills(mailbox: Mailbox<u64>) {
    // The middle process is linked to a child that fails: it dies as well, before it can report.
    let middle = Process::spawn(mailbox.this(), |parent: Process<u64>, mailbox: Mailbox<()>| {
        spawn_link!(|| panic!("on purpose"));
        mailbox.receive();
        parent.send(1);
    });
    while middle.is_alive() {
        sleep(Duration::from_millis(1));
    }
    assert!(mailbox.receive_timeout(Duration::ZERO).is_err());
    // After an unlink in time, nothing happens.
    let child = Process::spawn_link((), |_, mailbox: Mailbox<()>| {
        mailbox.receive();
        panic!("on purpose");
    });
    child.unlink();
    child.send(());
    while child.is_alive() {
        sleep(Duration::from_millis(1));
    }
}

fn monitors(mailbox: Mailbox<u64>) {
    let mailbox = mailbox.monitorable();
    let child = Process::spawn((), |_, mailbox: Mailbox<()>| mailbox.receive());
    mailbox.monitor(child);
    child.send(());
    match mailbox.receive() {
        MessageSignal::Signal(ProcessDiedSignal(id)) => assert_eq!(id, child.id()),
        MessageSignal::Message(message) => panic!("a message {message}"),
    }
}

fn registry(mailbox: Mailbox<u64>) {
    mailbox.this().register(&"parent");
    assert!(Process::<u64>::lookup("nobody").is_none());
    spawn!(|| {
        Process::<u64>::lookup("parent").expect("it is registered").send(5);
    });
    assert_eq!(mailbox.receive(), 5);
}

fn configs(mailbox: Mailbox<u64>) {
    let mut config = ProcessConfig::new().expect("it is allowed");
    config.set_can_spawn_processes(false);
    config.add_environment_variable("COLOUR", "green");
    config.add_command_line_argument("first");
    let child = Process::spawn_config(&config, mailbox.this(), |parent: Process<u64>, _: Mailbox<()>| {
        assert_eq!(std::env::var("COLOUR").as_deref(), Ok("green"));
        assert_eq!(std::env::args().collect::<Vec<_>>(), ["first"]);
        assert!(ProcessConfig::new().is_err());
        parent.send(1);
        // This is not allowed and ends the process.
        spawn!(|| {});
        parent.send(2);
    });
    assert_eq!(mailbox.receive(), 1);
    while child.is_alive() {
        sleep(Duration::from_millis(1));
    }
    assert!(mailbox.receive_timeout(Duration::ZERO).is_err());

    // Out of fuel, an endless loop ends.
    let mut config = ProcessConfig::new().expect("it is allowed");
    config.set_max_fuel(10);
    let spinner = Process::spawn_config(&config, (), |_, _: Mailbox<()>| spin());
    while spinner.is_alive() {
        sleep(Duration::from_millis(1));
    }
}

fn tasks() {
    let tasks: Vec<_> = (0..10u64).map(|number| spawn_link!(@task |number| number * number)).collect();
    let results: Vec<u64> = tasks.into_iter().map(|task| task.result()).collect();
    assert_eq!(results, (0..10).map(|number| number * number).collect::<Vec<u64>>());
}

fn timers(mailbox: Mailbox<u64>) {
    let start = Instant::now();
    let late = mailbox.this().send_after(2, Duration::from_millis(40));
    mailbox.this().send_after(1, Duration::from_millis(20));
    let cancelled = mailbox.this().send_after(3, Duration::from_millis(30));
    assert!(cancelled.cancel());
    assert_eq!(mailbox.receive(), 1);
    assert_eq!(mailbox.receive(), 2);
    assert!(start.elapsed() >= Duration::from_millis(40));
    assert!(!late.cancel());
}

fn kill(mailbox: Mailbox<u64>) {
    let spinner = Process::spawn(mailbox.this(), |parent: Process<u64>, _: Mailbox<()>| {
        parent.send(0);
        spin();
    });
    mailbox.receive();
    assert!(spinner.is_alive());
    spinner.kill();
    while spinner.is_alive() {
        sleep(Duration::from_millis(1));
    }
}

/// Four endless loops, and a process that ticks.
fn ticks(mailbox: Mailbox<u64>) {
    for _ in 0..4 {
        spawn!(|| spin());
    }
    Process::spawn(mailbox.this(), |parent: Process<u64>, _: Mailbox<()>| {
        for tick in 0..20 {
            sleep(Duration::from_millis(10));
            parent.send(tick);
        }
    });
    for tick in 0..20 {
        assert_eq!(mailbox.receive(), tick);
    }
}

/// A process past its memory limit dies alone.
fn memory(mailbox: Mailbox<u64>) {
    let mailbox = mailbox.catch_link_failure();
    let mut config = ProcessConfig::new().expect("it is allowed");
    config.set_max_memory(8 << 20);
    Process::spawn_link_config_tag(&config, (), Tag::new(), |_, _: Mailbox<()>| {
        let mut hoard = Vec::new();
        loop {
            hoard.push(vec![1u8; 1 << 20]);
        }
    });
    let quiet = Process::spawn((), |_, mailbox: Mailbox<()>| mailbox.receive());
    assert!(mailbox.receive().is_signal());
    assert!(quiet.is_alive());
}

/// The report of a trap goes to standard error; the parent continues.
fn panic_in_child(mailbox: Mailbox<u64>) {
    let child = Process::spawn(mailbox.this(), |_: Process<u64>, _: Mailbox<()>| {
        panic!("a child's panic");
    });
    while child.is_alive() {
        sleep(Duration::from_millis(1));
    }
}

fn spin() {
    let mut number = 1u64;
    loop {
        number = std::hint::black_box(number.wrapping_mul(3));
        if number == 0 {
            return;
        }
    }
}
