//! The modules of the published `lunatic` crate that the guest `actors` does not use, one scenario per invocation. A failing
//! scenario panics.

mod abstract_process;
mod messages;
mod modules;
mod processes;
mod protocols;
mod supervisors;

use lunatic::{Mailbox, sleep};

#[lunatic::main]
fn main(mailbox: Mailbox<u64>) {
    let scenario = std::env::args().nth(1).unwrap_or_default();
    match scenario.as_str() {
        "references" => processes::references(mailbox),
        "links-by-hand" => processes::links_by_hand(mailbox),
        "process-local" => processes::process_local(mailbox),
        "names" => processes::names(mailbox),
        "metrics" => processes::metrics(),
        "one-node" => processes::one_node(mailbox),
        "serializers" => messages::serializers(),
        "mailboxes" => messages::mailboxes(mailbox),
        "functions" => messages::functions(mailbox),
        "resources" => messages::resources(mailbox),
        "protocols" => protocols::protocols(mailbox),
        "tasks" => protocols::tasks(),
        "abstract-process" => abstract_process::handlers(),
        "lifecycle" => abstract_process::lifecycle(mailbox),
        "delays" => abstract_process::delays(),
        "supervisors" => supervisors::strategies(),
        "supervisors-of-supervisors" => supervisors::nested(),
        "modules" => modules::modules(mailbox),
        "modules-refused" => modules::refused(),
        "configs" => modules::configs(),
        "configs-inside" => modules::configs_inside(),
        other => panic!("no scenario {other:?}"),
    }
    println!("done: {scenario}");
}

fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look() {
            return found;
        }
        sleep(std::time::Duration::from_millis(1));
    }
}
