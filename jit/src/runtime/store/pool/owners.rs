//! Random owners of memories on several threads: each has to find its memory as the module declares it.
//!
//! A step takes a store, runs in one, or drops one, on a thread that the seed decides. Steps run one after
//! the other, so a seed always gives the same history, except for the page faults that the system adds. A
//! second test plants the fault that this one is to find, and checks that it is found.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::{
    CompileOptions, Engine, EngineConfig, Instance, Linked, Linker, MemoryLayout, Module, Store, StoreLimits,
    Value,
};

const PAGE: u64 = 4096;
const THREADS: usize = 3;
const STEPS: usize = 4000;
/// Steps during which mostly the same threads take and drop stores.
const PHASE: usize = 200;
/// The stores in use at a time, at most.
const MAX_USED: usize = 40;

/// A kind of guest.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    layout: MemoryLayout,
    untrusted: bool,
    /// WebAssembly pages of each memory.
    pages: u64,
    memories: u32,
    /// The system's pages of the first memory that begin with data.
    data: (u64, u64),
    /// Whether its stores are recycled.
    is_recycled: bool,
}

const KINDS: [Kind; 7] = {
    const POOLED: Kind = Kind {
        name: "pooled",
        layout: MemoryLayout::Pooled,
        untrusted: false,
        pages: 9,
        memories: 1,
        data: (0, 0),
        is_recycled: true,
    };
    [
        POOLED,
        Kind { name: "untrusted", untrusted: true, ..POOLED },
        Kind { name: "with an image", data: (3, 7), ..POOLED },
        Kind { name: "with copied data", data: (3, 4), ..POOLED },
        Kind { name: "two memories", memories: 2, ..POOLED },
        Kind { name: "large", pages: 40, ..POOLED },
        Kind { name: "reserved", layout: MemoryLayout::Reserved, is_recycled: false, ..POOLED },
    ]
};

impl Kind {
    fn linked(self, engine: &Engine) -> Linked<()> {
        let bytes = "\\11".repeat((PAGE * (self.data.1 - self.data.0)) as usize);
        let data = match bytes.is_empty() {
            true => String::new(),
            false => format!("(data (i32.const {}) \"{bytes}\")", self.data.0 * PAGE),
        };
        let memory = |index| {
            format!(
                r#"(memory {pages} {more})
                (func (export "put{index}") (param i32) (i64.store {index} (local.get 0) (i64.const -1)))
                (func (export "get{index}") (param i32) (result i64) (i64.load {index} (local.get 0)))
                (func (export "grow{index}") (drop (memory.grow {index} (i32.const 1))))"#,
                pages = self.pages,
                more = self.pages + 1,
            )
        };
        let memories: String = (0..self.memories).map(memory).collect();
        let wasm = wat::parse_str(format!("(module {memories} {data})")).expect("it is well-formed");
        let options = CompileOptions { memory: self.layout, untrusted: self.untrusted };
        let module = Module::compile_with(engine, &wasm, options).expect("it is valid");
        Linker::new().link(&module).expect("it imports nothing")
    }

    fn data(self) -> Range<u64> {
        self.data.0..self.data.1
    }
}

/// A store in use.
struct Owner {
    store: Store<()>,
    instance: Instance,
    linked: Linked<()>,
}

/// A page of one of its memories.
type Page = (u32, u64);

impl Owner {
    fn take(linked: &Linked<()>) -> Owner {
        let (store, instance) = Store::with_instance(linked, (), StoreLimits::default());
        Owner { store, instance: instance.expect("there is room"), linked: linked.clone() }
    }

    fn call(&mut self, name: &str, memory: u32, arguments: &[Value]) -> Vec<Value> {
        let function = self.linked.module().exported_function(&format!("{name}{memory}"));
        let function = function.expect("the module exports it");
        self.store.call(self.instance, function, arguments).expect("it does not trap")
    }

    fn put(&mut self, (memory, page): Page) {
        self.call("put", memory, &[Value::I32((page * PAGE) as i32)]);
    }

    fn get(&mut self, (memory, page): Page) -> Value {
        self.call("get", memory, &[Value::I32((page * PAGE) as i32)])[0]
    }

    /// Identifies its memories: a recycled store has the same ones.
    fn address(&mut self) -> usize {
        self.store.core().as_ptr().addr()
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread that runs jobs, so that it has a history.
struct Helper(Sender<Job>);

impl Helper {
    fn new() -> Helper {
        let (jobs, given) = channel::<Job>();
        thread::spawn(move || given.into_iter().for_each(|job| job()));
        Helper(jobs)
    }

    fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (answer, answered) = channel();
        let job = move || answer.send(job()).expect("the test waits");
        self.0.send(Box::new(job)).expect("the thread lives as long as this");
        answered.recv().expect("the job does not panic")
    }
}

/// Returns how often an owner found what an earlier one had written.
fn leaks(engine: &Engine, kind: Kind, seed: u64) -> usize {
    let linked = kind.linked(engine);
    let helpers: [Helper; THREADS] = std::array::from_fn(|_| Helper::new());
    let mut random = Random(seed);
    let mut used: Vec<Owner> = Vec::new();
    // The pages that were written recently, where data could remain. Reading other pages would make them
    // resident.
    let mut written_in: HashMap<usize, Vec<Page>> = HashMap::new();
    let mut found = 0;
    let (mut taker, mut dropper) = (0, 1);
    for step in 0..STEPS {
        if step % PHASE == 0 {
            (taker, dropper) = (random.below(THREADS as u64), random.below(THREADS as u64));
        }
        let mut one_of = |usual: u64| match random.below(32) {
            0 => &helpers[random.below(THREADS as u64) as usize],
            _ => &helpers[usual as usize],
        };
        let (takes, drops) = (one_of(taker), one_of(dropper));
        let grows = random.below(2) == 0;
        if used.len() < MAX_USED / 2 || (used.len() < MAX_USED && grows) {
            let module = linked.clone();
            let mut owner = takes.run(move || Owner::take(&module));
            let written = written_in.entry(owner.address()).or_default();
            let looks_at = if random.below(4) == 0 { Vec::new() } else { std::mem::take(written) };
            // Most owners touch the same pages, so that these are known without asking the system.
            let mut writes = vec![(0, 3), (kind.memories - 1, 4)];
            if random.below(8) == 0 {
                writes.push((random.below(kind.memories.into()) as u32, random.below(kind.pages * 16)));
            }
            written.extend(&writes);
            written.drain(..written.len().saturating_sub(6));
            let grows = random.below(32) == 0;
            let work = move || {
                let mut leaks = 0;
                for page in looks_at {
                    let is_data = page.0 == 0 && kind.data().contains(&page.1);
                    let new = if is_data { 0x1111_1111_1111_1111 } else { 0 };
                    leaks += usize::from(owner.get(page) != Value::I64(new));
                }
                if grows {
                    owner.call("grow", 0, &[]);
                }
                writes.into_iter().for_each(|page| owner.put(page));
                (owner, leaks)
            };
            // It runs where it was taken, or on another thread.
            let runs = if random.below(16) == 0 { drops } else { takes };
            let (owner, leaks) = runs.run(work);
            found += leaks;
            used.push(owner);
        } else {
            let owner = used.swap_remove(random.below(used.len() as u64) as usize);
            drops.run(move || drop(owner));
        }
    }
    found
}

fn engine() -> Engine {
    Engine::new(EngineConfig { stack_size: 64 << 10, ..EngineConfig::default() }).expect("it is supported")
}

#[test]
#[cfg_attr(miri, ignore = "it runs native code")]
fn owners_on_several_threads_get_new_memories() {
    let engine = engine();
    for kind in KINDS {
        for seed in 0..4 {
            assert_eq!(leaks(&engine, kind, seed), 0, "{}, seed {seed}", kind.name);
        }
    }
}

/// The control: with a watch that begins too early, the histories of the test above find remaining data.
#[test]
#[cfg_attr(miri, ignore = "it runs native code")]
#[cfg_attr(any(not(target_os = "linux"), feature = "plain"), ignore = "no pages are remembered")]
fn watching_the_renewing_thread_is_detected() {
    let engine = engine();
    engine.memories().watches_too_early.store(true, Ordering::Relaxed);
    for kind in KINDS {
        let found: usize = (0..4).map(|seed| leaks(&engine, kind, seed)).sum();
        assert_eq!(found > 0, kind.is_recycled, "{}: {found} times", kind.name);
    }
}
