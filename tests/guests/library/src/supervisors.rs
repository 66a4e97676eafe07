//! Supervisors: every strategy, names and configs of children, and supervisors as children.

use lunatic::ap::{AbstractProcess, Config, ProcessRef};
use lunatic::supervisor::{Supervisor, SupervisorConfig, SupervisorStrategy};
use lunatic::{ProcessConfig, abstract_process, spawn_link};

use crate::eventually;

/// Fails on request. Its state shows whether it was restarted.
struct Child {
    count: u32,
}

#[abstract_process]
impl Child {
    #[init]
    fn init(_: Config<Self>, count: u32) -> Result<Self, ()> {
        Ok(Child { count })
    }

    #[handle_request]
    fn next(&mut self) -> u32 {
        self.count += 1;
        self.count
    }

    #[handle_message]
    fn fail(&self) {
        panic!("on purpose");
    }

    #[handle_request]
    fn variable(&self) -> Option<String> {
        std::env::var("CHILD").ok()
    }
}

macro_rules! supervisor {
    ($name:ident) => {
        struct $name;

        impl Supervisor for $name {
            type Arg = ();
            type Children = (Child, Child, Child);

            fn init(config: &mut SupervisorConfig<Self>, (): ()) {
                config.set_strategy(SupervisorStrategy::$name);
                config.set_args((0, 10, 20));
            }
        }
    };
}

supervisor!(OneForOne);
supervisor!(RestForOne);
supervisor!(OneForAll);

/// Lets the second of three fail: the strategy decides which are restarted.
macro_rules! second_fails {
    ($name:ident, $after:expr) => {
        let supervisor = $name::link().start(()).expect("it starts");
        let (first, second, third) = supervisor.children();
        assert_eq!([first.next(), second.next(), third.next()], [1, 11, 21]);
        second.fail();
        let (first, second, third) = eventually(|| {
            let children = supervisor.children();
            (children.1 != second).then_some(children)
        });
        assert_eq!([first.next(), second.next(), third.next()], $after, stringify!($name));
        let waits = spawn_link!(@task |supervisor| supervisor.wait_on_shutdown());
        // It waits once the supervisor answers what was asked later.
        lunatic::sleep(std::time::Duration::from_millis(20));
        supervisor.shutdown();
        let () = waits.result();
        eventually(|| [first, second, third].iter().all(|child| !child.is_alive()).then_some(()));
    };
}

pub fn strategies() {
    second_fails!(OneForOne, [2, 11, 22]);
    second_fails!(RestForOne, [2, 11, 21]);
    second_fails!(OneForAll, [1, 11, 21]);
}

/// Children with names and configs of their own.
struct Named;

impl Supervisor for Named {
    type Arg = String;
    type Children = (Child, Child);

    fn init(config: &mut SupervisorConfig<Self>, variable: String) {
        let mut configured = ProcessConfig::new().expect("it is allowed");
        configured.add_environment_variable("CHILD", &variable);
        config.set_args((5, 6));
        config.set_names((Some("first child".to_owned()), None));
        config.set_configs((Some(configured), None));
    }
}

struct Top;

impl Supervisor for Top {
    type Arg = ();
    type Children = (Named, Child);

    fn init(config: &mut SupervisorConfig<Self>, (): ()) {
        config.set_strategy(SupervisorStrategy::OneForAll);
        config.set_args(("green".to_owned(), 50));
    }
}

pub fn nested() {
    let top = Top::link().start(()).expect("it starts");
    let (named, child) = top.children();
    let (first, second) = named.children();
    let found = || ProcessRef::<Child>::lookup("first child");
    assert_eq!(found(), Some(first));
    assert_eq!(first.variable().as_deref(), Some("green"));
    assert_eq!(second.variable(), None);
    assert_eq!([first.next(), second.next(), child.next()], [6, 7, 51]);
    // The name is the new one's, with its config.
    first.fail();
    let again = eventually(|| found().filter(|again| *again != first && again.is_alive()));
    assert_eq!((again.next(), again.variable().as_deref()), (6, Some("green")));
    assert_eq!(second.next(), 8);
    // A failure at the top ends the supervisor below, and its children.
    child.fail();
    let (named, child) = eventually(|| Some(top.children()).filter(|new| new.0 != named && new.1 != child));
    let (first, second) = named.children();
    assert_eq!([first.next(), second.next(), child.next()], [6, 7, 51]);
    assert_eq!(found(), Some(first));
    top.shutdown();
    eventually(|| (!first.is_alive() && !named.is_alive()).then_some(()));
}
