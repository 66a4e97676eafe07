//! A memory is new to its owner, whatever was done in its slot before: by which owner, on which threads, and
//! to which pages.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use lunatic_jit::{
    CompileOptions, Engine, EngineConfig, Instance, Linked, Linker, MemoryLayout, Module, Store, StoreLimits,
    Value,
};

/// `put` writes a word, `get` reads one, and `grow` adds pages. The data, if there is any, is in the pages of
/// [`DATA`].
fn text(has_data: bool) -> String {
    let bytes = "\\11".repeat((PAGE * (DATA.end - DATA.start)) as usize);
    let data = if has_data {
        format!("(data (i32.const {}) \"{bytes}\")", DATA.start * PAGE)
    } else {
        String::new()
    };
    format!("(module {data} {FUNCTIONS}")
}

const DATA: Range<u64> = 3..7;

const FUNCTIONS: &str = r#"
    (memory (export "memory") 9 10)
    (func (export "put") (param i32) (i64.store (local.get 0) (i64.const -1)))
    (func (export "grow") (param i32) (drop (memory.grow (local.get 0))))
    (func (export "get") (param i32) (result i64) (i64.load (local.get 0))))"#;

const PAGE: u64 = 4096;
/// The number of these pages before the memory grows, which it does in its slot.
const SMALL: u64 = 9 * 16;

struct Guest {
    store: Store<()>,
    instance: Instance,
    module: Module,
    has_data: bool,
}

impl Guest {
    fn new(engine: &Engine, linked: &Linked<()>, has_data: bool, is_kept: bool) -> Guest {
        let (store, instance) = if is_kept {
            Store::with_instance(linked, (), StoreLimits::default())
        } else {
            let mut store = Store::new(engine, (), StoreLimits::default());
            let instance = store.instantiate(linked);
            (store, instance)
        };
        Guest { store, instance: instance.unwrap(), module: linked.module().clone(), has_data }
    }

    fn call(&mut self, name: &str, argument: u64) -> Vec<Value> {
        let function = self.module.exported_function(name).unwrap();
        self.store.call(self.instance, function, &[Value::I32(argument as i32)]).unwrap()
    }

    fn address(&mut self) -> usize {
        self.store.memory_and_data(self.instance).unwrap().0.as_ptr().addr()
    }

    fn assert_new(&mut self, page: u64) {
        let new = if self.has_data && DATA.contains(&page) { 0x1111_1111_1111_1111 } else { 0 };
        assert_eq!(self.call("get", page * PAGE), [Value::I64(new)], "something was left in page {page}");
    }
}

/// A sequence of numbers determined by a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread that runs jobs, so that it has a history.
fn helper() -> Sender<Job> {
    let (jobs, given) = channel::<Job>();
    thread::spawn(move || given.into_iter().for_each(|job| job()));
    jobs
}

/// Runs a closure with a guest on another thread, and returns the guest or drops it there.
fn elsewhere(
    helper: &Sender<Job>,
    mut guest: Guest,
    keep: bool,
    work: impl FnOnce(&mut Guest) + Send + 'static,
) -> Option<Guest> {
    let (answer, answered) = channel();
    let job = move || {
        work(&mut guest);
        answer.send(keep.then_some(guest)).unwrap();
    };
    helper.send(Box::new(job)).unwrap();
    answered.recv().unwrap()
}

/// Most owners touch the same pages, as processes of one program do, so most slots are given back without
/// asking the system. The others touch random pages, grow, move between threads, or end on another one.
#[test]
fn no_data_remains_for_the_next_owner() {
    owners_of_memories(false, false);
}

/// The same for memories that do not begin with zeroes only.
#[test]
fn the_next_owner_finds_the_modules_data() {
    owners_of_memories(true, false);
}

/// The same for whole stores that are recycled.
#[test]
fn no_data_remains_in_a_recycled_store() {
    owners_of_memories(false, true);
    owners_of_memories(true, true);
}

/// Stores that are used on another thread than the one that takes and drops them. The latter has no page
/// fault meanwhile, and must not conclude that it knows the pages.
#[test]
fn no_data_remains_from_a_thread_that_used_the_store_before() {
    let engine = Engine::new(EngineConfig::default()).unwrap();
    let options = CompileOptions { memory: MemoryLayout::Pooled, untrusted: false };
    let module = Module::compile_with(&engine, &wat::parse_str(text(false)).unwrap(), options).unwrap();
    let linked = Linker::new().link(&module).unwrap();
    let other = helper();
    for round in 0..100 {
        let new = || Guest::new(&engine, &linked, false, true);
        let mut guests: Vec<Guest> = (0..8).map(|_| new()).collect();
        // Another page each time, which the previous owner has not touched.
        let (last, page) = ((round + 49) % 50, round % 50);
        guests = guests
            .into_iter()
            .map(|guest| {
                let work = move |guest: &mut Guest| {
                    guest.assert_new(last);
                    drop(guest.call("put", page * PAGE));
                };
                elsewhere(&other, guest, true, work).unwrap()
            })
            .collect();
        drop(guests);
    }
}

/// The reverse: stores that are taken and used on one thread, and dropped, and so renewed, on another. The
/// thread that renews them has no page fault between two renewals, and must not conclude that their users had
/// none.
#[test]
fn no_data_remains_in_a_store_renewed_by_another_thread() {
    let engine = Engine::new(EngineConfig::default()).unwrap();
    let options = CompileOptions { memory: MemoryLayout::Pooled, untrusted: false };
    let module = Module::compile_with(&engine, &wat::parse_str(text(false)).unwrap(), options).unwrap();
    let linked = Linker::new().link(&module).unwrap();
    let other = helper();
    for page in 20..100 {
        // As many as are renewed in two batches. One of them touches a page that no store has used before.
        for writes in [false, true, false] {
            let mut guests: Vec<Guest> = (0..16).map(|_| Guest::new(&engine, &linked, false, true)).collect();
            if writes {
                guests[5].call("put", page * PAGE);
            }
            guests.into_iter().for_each(|guest| drop(elsewhere(&other, guest, false, |_| ())));
        }
        let guests: Vec<Guest> = (0..16).map(|_| Guest::new(&engine, &linked, false, true)).collect();
        guests.into_iter().for_each(|mut guest| guest.assert_new(page));
    }
}

fn owners_of_memories(has_data: bool, is_kept: bool) {
    let engine = Engine::new(EngineConfig::default()).unwrap();
    let options = CompileOptions { memory: MemoryLayout::Pooled, untrusted: false };
    let module = Module::compile_with(&engine, &wat::parse_str(text(has_data)).unwrap(), options).unwrap();
    let linked = Linker::new().link(&module).unwrap();
    let (first, second) = (helper(), helper());
    for seed in 0..4 {
        let mut random = Random(seed);
        // The pages that were written recently in a slot, where data could remain. Reading other pages would
        // make them resident, and nothing would be remembered.
        let mut written_in = HashMap::new();
        for round in 0..4000 {
            let mut guest = Guest::new(&engine, &linked, has_data, is_kept);
            let written = written_in.entry(guest.address()).or_insert([3; 4]);
            // Sometimes it does nothing on this thread, whatever it does on another.
            if random.below(4) > 0 {
                written.iter().filter(|&&page| page < SMALL).for_each(|&page| guest.assert_new(page));
                for page in [3, 4, 30] {
                    guest.call("put", page * PAGE);
                }
            }
            let mut page = random.below(SMALL);
            let put = move |guest: &mut Guest| drop(guest.call("put", page * PAGE));
            let kind = if round < 10 { 0 } else { random.below(16) };
            let after = match kind {
                0 => {
                    put(&mut guest);
                    Some(guest)
                }
                1 | 6 => {
                    guest.call("grow", 1);
                    written.iter().filter(|&&page| page >= SMALL).for_each(|&page| guest.assert_new(page));
                    page = SMALL + random.below(2);
                    guest.call("put", page * PAGE);
                    Some(guest)
                }
                2 => elsewhere(&first, guest, true, put),
                3 => elsewhere(&second, guest, false, put),
                // There and back, and the last access is on this thread.
                4 => elsewhere(&second, guest, true, put).map(|mut guest| {
                    guest.call("put", 3 * PAGE);
                    guest
                }),
                // By the host on another thread; the guest does not run there.
                5 => elsewhere(&first, guest, true, move |guest| {
                    let (memory, ()) = guest.store.memory_and_data(guest.instance).unwrap();
                    memory[(page * PAGE) as usize] = 1;
                }),
                _ => {
                    page = 4;
                    Some(guest)
                }
            };
            drop(after);
            written.rotate_right(1);
            written[0] = page;
        }
    }
}
