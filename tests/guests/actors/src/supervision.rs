//! Features that use `lunatic::trap::catch`: caught panics, abstract processes and supervisors.

use std::time::Duration;

use lunatic::ap::handlers::{Message, Request};
use lunatic::ap::{AbstractProcess, Config, MessageHandler, RequestHandler, StartupError, State};
use lunatic::panic::catch_panic;
use lunatic::serializer::Bincode;
use lunatic::supervisor::{Supervisor, SupervisorConfig, SupervisorStrategy};
use lunatic::{Mailbox, Process, sleep};

pub fn catch(mailbox: Mailbox<u64>) {
    let text = String::from("captured");
    assert_eq!(catch_panic(|| text.len()).unwrap(), 8);
    assert!(catch_panic(|| panic!("on purpose")).is_err());
    // Nested, with receiving, sleeping and spawning inside.
    let outer = catch_panic(|| {
        assert!(catch_panic(|| panic!("on purpose, inside")).is_err());
        let child = Process::spawn(mailbox.this(), |parent: Process<u64>, _: Mailbox<()>| {
            sleep(Duration::from_millis(5));
            parent.send(17);
        });
        let received = mailbox.receive();
        drop(child);
        sleep(Duration::from_millis(5));
        received
    });
    assert_eq!(outer.unwrap(), 17);
    // Repeated overflows of the guest's stack: no part of it stays in use.
    for _ in 0..100 {
        assert!(catch_panic(|| deep(0)).is_err());
    }
    assert!(catch_panic(|| shallow_then_panic(&[7; 4096])).is_err());
}

/// Panics a thousand times below a frame of 16 KiB: if it were lost each time, this would be sixteen times the stack.
pub fn panics(_: Mailbox<u64>) {
    std::panic::set_hook(Box::new(|_| {}));
    for _ in 0..1000 {
        assert!(catch_panic(|| shallow_then_panic(&[7; 16 << 10])).is_err());
    }
}

#[allow(unconditional_recursion)]
fn deep(level: u64) -> u64 {
    std::hint::black_box(deep(std::hint::black_box(level) + 1)) + 1
}

#[inline(never)]
fn shallow_then_panic<const SIZE: usize>(bytes: &[u8; SIZE]) -> u8 {
    let copy = std::hint::black_box(*bytes);
    assert_eq!(std::hint::black_box(&copy)[SIZE / 2], 0, "on purpose");
    copy[0]
}

/// Counts from a given number.
struct Counter(u64);

impl AbstractProcess for Counter {
    type Arg = u64;
    type State = Counter;
    type Serializer = Bincode;
    type Handlers = (Message<u64>, Message<String>, Request<()>);
    type StartupError = String;

    fn init(_: Config<Self>, start: u64) -> Result<Counter, String> {
        match start {
            0 => panic!("on purpose, at the start"),
            1 => Err("not from 1".to_owned()),
            start => Ok(Counter(start)),
        }
    }
}

impl MessageHandler<u64> for Counter {
    fn handle(mut state: State<Self>, more: u64) {
        state.0 += more;
    }
}

impl MessageHandler<String> for Counter {
    fn handle(_: State<Self>, why: String) {
        panic!("{why}");
    }
}

impl RequestHandler<()> for Counter {
    type Response = u64;

    fn handle(state: State<Self>, (): ()) -> u64 {
        state.0
    }
}

pub fn abstract_process(_: Mailbox<u64>) {
    let counter = Counter::link().start(5).unwrap();
    for more in 0..10u64 {
        counter.send(more);
    }
    assert_eq!(counter.request(()), 50);
    counter.shutdown();
    assert_eq!(Counter::start(0), Err(StartupError::InitPanicked));
    assert_eq!(Counter::start(1), Err(StartupError::Custom("not from 1".to_owned())));
}

struct OneForOne;

impl Supervisor for OneForOne {
    type Arg = ();
    type Children = (Counter, Counter);

    fn init(config: &mut SupervisorConfig<Self>, (): ()) {
        config.set_strategy(SupervisorStrategy::OneForOne);
        config.set_args((10, 20));
    }
}

struct OneForAll;

impl Supervisor for OneForAll {
    type Arg = ();
    type Children = (Counter, Counter);

    fn init(config: &mut SupervisorConfig<Self>, (): ()) {
        config.set_strategy(SupervisorStrategy::OneForAll);
        config.set_args((10, 20));
    }
}

pub fn supervisor(_: Mailbox<u64>) {
    let one = OneForOne::link().start(()).unwrap();
    for _ in 0..3 {
        let (first, second) = one.children();
        first.send(1u64);
        second.send(5u64);
        assert_eq!(first.request(()), 11, "it was started anew");
        let before = second.request(());
        first.send("on purpose".to_owned());
        // Only the failed child is a new process.
        let new = eventually(|| Some(one.children().0).filter(|new| *new != first));
        assert_eq!(new.request(()), 10);
        assert_eq!(second.request(()), before);
    }
    let all = OneForAll::link().start(()).unwrap();
    let (first, second) = all.children();
    second.send(5u64);
    assert_eq!(second.request(()), 25);
    first.send("on purpose".to_owned());
    let (first, second) = eventually(|| {
        let (new_first, new_second) = all.children();
        (new_first != first && new_second != second).then_some((new_first, new_second))
    });
    assert_eq!((first.request(()), second.request(())), (10, 20));
}

fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look() {
            return found;
        }
        sleep(Duration::from_millis(1));
    }
}
