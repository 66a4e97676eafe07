//! Processes: references, links, names, process-local state, and the node.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use lunatic::{
    LunaticError, Mailbox, MessageSignal, Process, ProcessConfig, ProcessName, Signal, Tag, distributed,
    metrics, process_local, spawn_link,
};

use crate::eventually;

/// References to processes travel in messages, and are still theirs.
pub fn references(mailbox: Mailbox<u64>) {
    type Asked = (Process<u64>, u64);
    let answerer = Process::spawn((), |(), mailbox: Mailbox<Asked>| {
        loop {
            let (to, number) = mailbox.receive();
            to.send(number + 1);
        }
    });
    let forwarder = Process::spawn(answerer, |answerer: Process<Asked>, mailbox: Mailbox<Asked>| {
        loop {
            answerer.send(mailbox.receive());
        }
    });
    for number in 0..100 {
        forwarder.send((mailbox.this(), number));
        assert_eq!(mailbox.receive(), number + 1);
    }
    assert_eq!(answerer.node_id(), mailbox.this().node_id());
    assert_ne!(answerer.id(), forwarder.id());
    assert_eq!(answerer, answerer.clone());
    answerer.kill();
    forwarder.kill();
    eventually(|| (!answerer.is_alive() && !forwarder.is_alive()).then_some(()));

    let tag = Tag::new();
    mailbox.this().tag_send_after(tag, 2, Duration::from_millis(10));
    mailbox.this().send(1);
    assert_eq!(mailbox.tag_receive(&[tag]), 2);
    assert_eq!(mailbox.receive(), 1);
}

/// Links and monitors are made and taken back; both kinds of news come to one mailbox.
pub fn links_by_hand(mailbox: Mailbox<u64>) {
    let monitoring = mailbox.monitorable();
    let mailbox = monitoring.catch_link_failure();
    let failing = |(), mailbox: Mailbox<()>| {
        mailbox.receive();
        panic!("on purpose");
    };
    let [linked, unlinked, monitored, left] = std::array::from_fn(|_| Process::spawn((), failing));
    linked.link();
    unlinked.link();
    unlinked.unlink();
    monitoring.monitor(monitored);
    monitoring.monitor(left);
    monitoring.stop_monitoring(left);
    for process in [&unlinked, &left] {
        process.send(());
        eventually(|| (!process.is_alive()).then_some(()));
    }
    assert!(mailbox.receive_timeout(Duration::from_millis(20)).unwrap_err().is_timed_out());
    linked.send(());
    let news = mailbox.receive().unwrap_signal();
    assert!(matches!(news, Signal::LinkDied(_)), "the link's end comes first");
    monitored.send(());
    match mailbox.receive() {
        MessageSignal::Signal(Signal::ProcessDied(died)) => assert_eq!(died, monitored.id()),
        _ => panic!("the monitored one's end is expected"),
    }

    // A config and a link at once: what it must not do ends it, and that comes with the tag.
    let config = ProcessConfig::new().expect("it is allowed");
    let tag = Tag::new();
    Process::spawn_link_config_tag(&config, (), tag, |(), _: Mailbox<()>| {
        spawn_link!(|| {});
    });
    match mailbox.receive() {
        MessageSignal::Signal(Signal::LinkDied(died)) => assert_eq!(died, tag),
        _ => panic!("its link's end is expected"),
    }
}

process_local! {
    static NUMBER: Cell<u64> = Cell::new(1);
    static WORDS: RefCell<Vec<String>> = RefCell::new(Vec::new());
}

/// A local is each process's own, and is what it was made as in a new one.
pub fn process_local(mailbox: Mailbox<u64>) {
    NUMBER.set(2);
    WORDS.with_borrow_mut(|mut words| words.push("mine".to_owned()));
    for _ in 0..3 {
        Process::spawn_link(mailbox.this(), |parent: Process<u64>, _: Mailbox<()>| {
            assert_eq!(NUMBER.replace(30), 1);
            WORDS.with_borrow(|words| assert!(words.is_empty()));
            parent.send(NUMBER.get());
        });
        assert_eq!(mailbox.receive(), 30);
    }
    assert_eq!(NUMBER.get(), 2);
    assert_eq!(WORDS.take(), ["mine"]);
}

#[derive(ProcessName)]
struct Derived;

/// A name belongs to a process of a type: a look-up with another type does not find it.
pub fn names(mailbox: Mailbox<u64>) {
    mailbox.this().register(&Derived);
    mailbox.this().register(&String::from("another"));
    assert_eq!(Process::<u64>::lookup(&Derived), Some(mailbox.this()));
    assert_eq!(Process::<u64>::lookup("another"), Some(mailbox.this()));
    assert!(Process::<String>::lookup("another").is_none());
    assert!(Process::<u64>::lookup("a third").is_none());
    // A later registration replaces the owner.
    let later = Process::spawn_link((), |(), mailbox: Mailbox<u64>| {
        mailbox.receive();
    });
    later.register(&"another");
    assert_eq!(Process::<u64>::lookup("another"), Some(later));
    spawn_link!(|| Process::<u64>::lookup(&Derived).expect("it is registered").send(9));
    assert_eq!(mailbox.receive(), 9);
}

/// The program cannot read metrics, so this only checks that the functions accept any name.
pub fn metrics() {
    for name in ["requests", "", "a name with spaces, ünïcode", "requests"] {
        metrics::counter(name, 3);
        metrics::increment_counter(name);
        metrics::gauge(name, 1.5);
        metrics::increment_gauge(name, f64::INFINITY);
        metrics::decrement_gauge(name, f64::NAN);
        metrics::histogram(name, -0.0);
    }
}

/// A node is there for itself: what may be done on any node can be done on this one, and on no other.
pub fn one_node(mailbox: Mailbox<u64>) {
    let node = distributed::node_id();
    assert_eq!(distributed::nodes(), [node]);
    assert_eq!((mailbox.this().node_id(), lunatic::host::node_id()), (node, node));
    assert_eq!(mailbox.this().id(), lunatic::host::process_id());
    let child = Process::spawn_node(node, mailbox.this(), |parent: Process<u64>, mailbox: Mailbox<u64>| {
        parent.send(mailbox.receive() + 1);
    });
    child.send(4);
    assert_eq!(mailbox.receive(), 5);

    let entry: fn(i32) = |argument| assert_eq!(argument, 7);
    distributed::spawn(node, -1, entry, 7).expect("it is this node");
    let error = distributed::spawn(node + 1, -1, entry, 7).expect_err("there is no such node");
    assert!(error.to_string().contains("node"), "{error}");
    let error = distributed::lookup_nodes("name=another").expect_err("there is no control server");
    assert!(matches!(error, LunaticError::Error(_)), "{error}");
}
