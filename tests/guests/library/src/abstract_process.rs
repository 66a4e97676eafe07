//! Abstract processes, written with the macro: handlers, start and end.

use std::time::Duration;

use lunatic::ap::{AbstractProcess, Config, DeferredResponse, ProcessRef, StartupError};
use lunatic::{Mailbox, ProcessConfig, ProcessName, Tag, abstract_process, sleep};

use crate::eventually;

/// A shop: messages, requests, and a request that is answered later.
struct Shop {
    stock: u64,
    waiting: Vec<(u64, DeferredResponse<String, Shop>)>,
}

#[abstract_process(visibility = pub)]
impl Shop {
    #[init]
    fn init(config: Config<Self>, stock: u64) -> Result<Self, String> {
        if stock > 1000 {
            return Err(format!("{stock} are too many"));
        }
        // A message to itself, after all others.
        config.self_ref().deliver(1);
        Ok(Shop { stock, waiting: Vec::new() })
    }

    #[handle_message]
    fn deliver(&mut self, more: u64) {
        self.stock += more;
        let waiting = std::mem::take(&mut self.waiting);
        for (wanted, answer) in waiting {
            self.buy(wanted, answer);
        }
    }

    #[handle_request]
    fn stock(&self) -> u64 {
        self.stock
    }

    #[handle_request]
    fn price(&self, (name, count): (String, u64), [first, second]: [f64; 2]) -> String {
        format!("{count} {name}: {}", count as f64 * first + second)
    }

    #[handle_deferred_request]
    fn buy(&mut self, wanted: u64, answer: DeferredResponse<String, Self>) {
        if wanted > self.stock {
            self.waiting.push((wanted, answer));
        } else {
            self.stock -= wanted;
            answer.send_response(format!("{wanted} sold"));
        }
    }
}

pub fn handlers() {
    let shop = Shop::link().start(10).expect("it starts");
    shop.deliver(4);
    assert_eq!(shop.stock(), 15);
    assert_eq!(shop.price(("nails".to_owned(), 3), [1.5, 0.25]), "3 nails: 4.75");
    assert_eq!(shop.buy(15), "15 sold");
    // Three waiting processes are served one after the other.
    let customers: Vec<_> = [30, 20, 10]
        .into_iter()
        .map(|wanted| lunatic::spawn_link!(@task |shop, wanted| shop.buy(wanted)))
        .collect();
    sleep(Duration::from_millis(20));
    assert_eq!(shop.stock(), 0);
    shop.deliver(60);
    let served: Vec<String> = customers.into_iter().map(|customer| customer.result()).collect();
    assert_eq!(served, ["30 sold", "20 sold", "10 sold"]);
    assert_eq!(shop.stock(), 0);
    // In a task: an answer that was not waited for arrives in the mailbox.
    let hurried =
        lunatic::spawn_link!(@task |shop| shop.with_timeout(Duration::from_millis(20)).buy(1).is_err());
    assert!(hurried.result(), "there is no delivery");
    // A late answer is dropped.
    shop.deliver(2);
    assert_eq!(shop.stock(), 1);
    assert_eq!(Shop::start(1001), Err(StartupError::Custom("1001 are too many".to_owned())));
}

/// Reports how it ends, and which of its links died.
struct Witness {
    tell: lunatic::Process<u64>,
}

#[abstract_process]
impl Witness {
    #[init]
    fn init(config: Config<Self>, tell: lunatic::Process<u64>) -> Result<Self, ()> {
        config.die_if_link_dies(false);
        Ok(Witness { tell })
    }

    #[terminate]
    fn terminate(self) {
        self.tell.send(100);
    }

    #[handle_link_death]
    fn handle_link_death(&self, _tag: Tag) {
        self.tell.send(1);
    }

    #[handle_message]
    fn have_a_child_that_fails(&self) {
        lunatic::spawn_link!(|| panic!("on purpose"));
    }

    #[handle_request]
    fn environment(&self, name: String) -> Option<String> {
        std::env::var(name).ok()
    }

    #[handle_request]
    fn hesitate(&self) {
        sleep(Duration::from_millis(100));
    }
}

#[derive(ProcessName)]
struct TheWitness;

pub fn lifecycle(mailbox: Mailbox<u64>) {
    let witness = Witness::start_as(&TheWitness, mailbox.this()).expect("the name is free");
    assert_eq!(ProcessRef::<Witness>::lookup(&TheWitness), Some(witness));
    assert!(ProcessRef::<Shop>::lookup(&TheWitness).is_none());
    match Witness::start_as(&TheWitness, mailbox.this()) {
        Err(StartupError::NameAlreadyRegistered(first)) => assert_eq!(first, witness),
        other => panic!("the name is taken: {other:?}"),
    }
    witness.have_a_child_that_fails();
    assert_eq!(mailbox.receive(), 1);
    let hurried = lunatic::spawn_link!(@task |witness| witness.with_timeout(Duration::from_millis(10)).hesitate().is_err());
    assert!(hurried.result());
    witness.shutdown();
    assert_eq!(mailbox.receive(), 100);
    eventually(|| (!witness.is_alive()).then_some(()));

    // With a config, a link with a tag, and killed.
    let mut config = ProcessConfig::new().expect("it is allowed");
    config.add_environment_variable("WITNESS", "yes");
    let mailbox = mailbox.catch_link_failure();
    let tag = Tag::new();
    let configured = Witness::configure(&config).link_with(tag).start(mailbox.this()).expect("it starts");
    assert_eq!(configured.environment("WITNESS".to_owned()).as_deref(), Some("yes"));
    assert_eq!(configured.environment("PATH".to_owned()), None);
    configured.kill();
    assert_eq!(mailbox.receive().unwrap_signal().0, tag);
    // A reference to a dead process: a message is dropped, a request waits until its timeout.
    configured.have_a_child_that_fails();
    assert!(configured.with_timeout(Duration::from_millis(10)).hesitate().is_err());
    let on_node = Witness::on_node(configured.node_id()).start(mailbox.this()).expect("it is this node");
    on_node.link();
    on_node.unlink();
    on_node.shutdown();
    assert_eq!(mailbox.receive().unwrap_message(), 100);
}

/// Delayed messages, and cancelled ones, which do not arrive.
pub fn delays() {
    let shop = Shop::link().start(0).expect("it starts");
    let late = shop.with_delay(Duration::from_millis(30)).deliver(10);
    let never = shop.with_delay(Duration::from_millis(20)).deliver(100);
    shop.with_delay(Duration::from_millis(10)).deliver(1);
    assert!(never.cancel());
    assert_eq!(shop.stock(), 1);
    eventually(|| (shop.stock() == 12).then_some(()));
    assert!(!late.cancel(), "it has come");
    sleep(Duration::from_millis(20));
    assert_eq!(shop.stock(), 12);
}
