//! A recycled store is like a new one to the guest and to the embedder, whatever the previous one did, and
//! however it ended.

use std::sync::Arc;
use std::thread;

use lunatic_jit::{
    Caller, CompileOptions, Engine, EngineConfig, HostCall, Instance, InstantiateError, Linked, Linker,
    MemoryLayout, Module, Progress, RawValue, Resume, Store, StoreLimits, TotalMemory, Value,
};

/// Each `f…` leaves something of another kind behind. `state` folds everything that a guest can observe of
/// itself into a number.
const GUEST: &str = r#"(module
    (import "h" "wait" (func $wait))
    (import "h" "call_back" (func $call_back))
    (import "h" "dear" (func $dear))
    (memory $memory (export "memory") 1 40)
    (global $number (mut i64) (i64.const 5))
    (global $vector (mut v128) (v128.const i64x2 6 7))
    (global $function (mut funcref) (ref.func $one))
    (table $t 4 8 funcref)
    (elem (table $t) (i32.const 0) func $one $two)
    (elem $passive func $two $one)
    (data (i32.const 100) "data")
    (data $late "late")
    (type $answer (func (result i64)))
    (func $one (export "one") (result i64) (i64.const 1))
    (func $two (result i64) (i64.const 2))

    (func (export "f0") (i64.store (i32.const 8) (i64.const -1)) (i64.store (i32.const 100) (i64.const -1)))
    (func (export "f1") (global.set $number (i64.const -1)) (global.set $vector (v128.const i64x2 -1 -1)))
    (func (export "f2") (global.set $function (ref.null func)))
    (func (export "f3") (table.set $t (i32.const 1) (ref.func $one)))
    (func (export "f4") (drop (table.grow $t (ref.func $one) (i32.const 2))))
    (func (export "f5") (data.drop $late))
    (func (export "f6") (elem.drop $passive))
    (func (export "f7") (drop (memory.grow (i32.const 1))) (i64.store (i32.const 70000) (i64.const -1)))
    (func (export "f8") (drop (memory.grow (i32.const 30))) (i64.store (i32.const 1900000) (i64.const -1)))
    (func (export "f9") (i64.store (i32.const 65528) (i64.const -1)) unreachable)
    (func (export "f10") (i64.store (i32.const 40000) (i64.const -1)) (drop (i64.load (i32.const -1))))
    (func $deep (export "f11") (call $deep))
    (func $ever (export "f12") (loop $again (br $again)))
    (func (export "f13") (global.set $number (i64.const -1)) (call $wait))
    (func (export "f14") (call $call_back))
    (func (export "f15") (table.copy $t $t (i32.const 2) (i32.const 0) (i32.const 2)))

    (func (export "dear") (call $dear))
    (func (export "grow_table") (result i32) (table.grow $t (ref.null func) (i32.const 2)))

    (func (export "state") (result i64)
        (local $sum i64) (local $at i32)
        (local.set $sum (i64.extend_i32_u (i32.mul (memory.size) (table.size $t))))
        (loop $next
            (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (i64.load (local.get $at))))
            (br_if $next (i32.lt_u
                (local.tee $at (i32.add (local.get $at) (i32.const 8)))
                (i32.mul (memory.size) (i32.const 65536)))))
        (local.set $at (i32.const 0))
        (loop $next
            (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31))
                (if (result i64) (ref.is_null (table.get $t (local.get $at)))
                    (then (i64.const 0))
                    (else (call_indirect $t (type $answer) (local.get $at))))))
            (br_if $next
                (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (table.size $t))))
        (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (global.get $number)))
        (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31))
            (i64x2.extract_lane 0 (global.get $vector))))
        (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31))
            (i64x2.extract_lane 1 (global.get $vector))))
        (table.set $t (i32.const 3) (global.get $function))
        (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31))
            (call_indirect $t (type $answer) (i32.const 3))))
        ;; Both trap if the segment was dropped.
        (memory.init $late (i32.const 0) (i32.const 0) (i32.const 4))
        (table.init $t $passive (i32.const 0) (i32.const 0) (i32.const 2))
        (local.get $sum)))"#;

const WAYS: usize = 16;

/// Of these, the functions that change a table, after which a store is not recycled, or that may move the
/// memory.
const MOVING: [usize; 5] = [3, 4, 7, 8, 15];

/// The instances of a module that are renewed at a time, once this number has ended.
const AT_A_TIME: usize = 8;

fn linker() -> Linker<Arc<()>> {
    type C<'a, 'b> = &'a mut Caller<'b, Arc<()>>;
    let mut linker = Linker::new();
    linker.func("h", "wait", |_: C<'_, '_>| HostCall::<()>::Suspend);
    linker.func("h", "dear", |caller: C<'_, '_>| {
        caller.charge(100_000);
        HostCall::<()>::Suspend
    });
    linker.func("h", "call_back", |caller: C<'_, '_>| -> HostCall<()> {
        let function = caller.module().exported_function("f13").unwrap();
        caller.call_guest(function, &[], |_, _| Ok(HostCall::Return(RawValue::from(0))))
    });
    linker
}

fn linked(engine: &Engine, text: &str, memory: MemoryLayout) -> Linked<Arc<()>> {
    // With charges, so that an infinite loop can be left.
    let wasm =
        lunatic_instrument::prepare(&wat::parse_str(text).unwrap(), &Default::default()).unwrap().bytes;
    let options = CompileOptions { memory, untrusted: false };
    linker().link(&Module::compile_with(engine, &wasm, options).unwrap()).unwrap()
}

fn engine() -> Engine {
    Engine::new(EngineConfig { stack_size: 128 << 10, ..EngineConfig::default() }).unwrap()
}

/// A store with the instance that it was created with.
struct Guest {
    store: Store<Arc<()>>,
    instance: Instance,
    module: Module,
}

impl Guest {
    fn new(linked: &Linked<Arc<()>>, data: &Arc<()>) -> Guest {
        let (store, instance) = Store::with_instance(linked, data.clone(), StoreLimits::default());
        Guest { store, instance: instance.unwrap(), module: linked.module().clone() }
    }

    fn begin(&mut self, function: &str) {
        let function = self.module.exported_function(function).unwrap();
        self.store.begin(self.instance, function, &[]).unwrap();
    }

    fn resume(&mut self) -> Progress {
        self.store.resume(Resume::Continue, 10_000)
    }

    fn state(&mut self) -> Vec<Value> {
        self.store.call(self.instance, self.module.exported_function("state").unwrap(), &[]).unwrap()
    }

    /// Returns the address of its memory.
    fn address(&mut self) -> usize {
        self.store.memory_and_data(self.instance).unwrap().0.as_ptr().addr()
    }
}

/// Creates more stores than are renewed at a time.
fn guests(linked: &Linked<Arc<()>>, data: &Arc<()>) -> Vec<Guest> {
    (0..AT_A_TIME).map(|_| Guest::new(linked, data)).collect()
}

/// Runs a function in several stores as long as it runs by itself, and drops them at that point. Returns the
/// addresses of their memories.
fn leave(linked: &Linked<Arc<()>>, function: &str, data: &Arc<()>) -> Vec<usize> {
    let mut guests = guests(linked, data);
    let addresses = guests.iter_mut().map(Guest::address).collect();
    for guest in &mut guests {
        guest.begin(function);
        // Without an end, or to the end of the stack.
        (0..5).any(|_| !matches!(guest.resume(), Progress::Yielded));
    }
    addresses
}

#[test]
fn a_recycled_store_is_new_after_any_use() {
    for layout in [MemoryLayout::Pooled, MemoryLayout::Reserved] {
        let engine = engine();
        // Without an image of its data, and with one.
        let large = GUEST.replace("\"data\"", &format!("\"{}\"", "data".repeat(3000)));
        // With a memory that can grow in place.
        let roomy = GUEST.replace("1 40)", "9 40)");
        for (text, size) in [(GUEST, 65_536), (&large, 65_536), (&roomy, 9 * 65_536)] {
            let linked = linked(&engine, text, layout);
            let data = Arc::new(());
            let mut new = Guest::new(&linked, &data);
            let expected = new.state();
            let used = new.store.reductions();
            for way in (0..WAYS).chain((0..WAYS).rev()) {
                let left = leave(&linked, &format!("f{way}"), &data);
                assert_eq!(Arc::strong_count(&data), 2, "the data of a store that has ended is dropped");
                let mut next = guests(&linked, &data);
                let are_those = next.iter_mut().all(|guest| left.contains(&guest.address()));
                assert!(
                    are_those || layout == MemoryLayout::Reserved || MOVING.contains(&way),
                    "after f{way}"
                );
                for guest in &mut next {
                    assert_eq!(
                        (guest.store.reductions(), guest.store.memory_size()),
                        (0, size),
                        "after f{way}"
                    );
                    assert_eq!(guest.state(), expected, "after f{way}");
                    assert_eq!(guest.store.reductions(), used, "after f{way}");
                }
            }
        }
    }
}

#[test]
fn a_recycled_store_has_no_backtrace_results_or_debt_of_the_previous_one() {
    let engine = engine();
    let linked = linked(&engine, GUEST, MemoryLayout::Pooled);
    let data = Arc::new(());
    for way in ["f13", "f14", "dear", "one"] {
        leave(&linked, way, &data);
        for mut guest in guests(&linked, &data) {
            assert!(guest.store.backtrace().is_empty() && guest.store.results().is_empty());
            // It would ask for a result if a host call were suspended.
            guest.begin("f0");
            assert!(matches!(guest.resume(), Progress::Returned));
        }
        leave(&linked, way, &data);
        for mut guest in guests(&linked, &data) {
            // Its first slice is a whole one: no debt remains.
            guest.begin("f12");
            assert!(matches!(guest.resume(), Progress::Yielded));
            assert!(guest.store.reductions() >= 10_000, "{}", guest.store.reductions());
        }
    }
}

#[test]
fn a_recycled_store_has_its_own_limits() {
    let engine = engine();
    let linked = linked(&engine, GUEST, MemoryLayout::Pooled);
    let data = Arc::new(());
    let total = TotalMemory::new(3 << 16);
    let limits = |max_memory, max_table_elements| StoreLimits {
        max_memory,
        max_table_elements,
        stack_size: None,
        total: Some(total.clone()),
    };
    let roomy = limits(4 << 16, 100);
    let with = |limits: &StoreLimits| Store::with_instance(&linked, data.clone(), limits.clone());
    let (first, _) = with(&roomy);
    assert_eq!(total.used(), 1 << 16);
    drop(first);
    assert_eq!(total.used(), 0, "a pooled instance counts towards no limit");
    for limits in [limits(1000, 100), limits(4 << 16, 3)] {
        let (store, instance) = with(&limits);
        assert!(matches!(instance, Err(InstantiateError::Limit(_))), "{instance:?}");
        assert_eq!((store.memory_size(), total.used()), (0, 0));
    }
    let grow = linked.module().exported_function("grow_table").unwrap();
    for (max, answer) in [(5, -1), (6, 4), (5, -1)] {
        let (mut store, instance) = with(&limits(4 << 16, max));
        assert_eq!(store.call(instance.unwrap(), grow, &[]).unwrap(), [Value::I32(answer)], "of {max}");
    }
    let stores: Vec<_> = (0..4).map(|_| with(&roomy)).collect();
    let made = stores.iter().filter(|(_, instance)| instance.is_ok()).count();
    assert_eq!((made, total.used()), (3, 3 << 16));
    drop(stores);
    let (mut store, instance) = with(&roomy);
    let grow = linked.module().exported_function("f8").unwrap();
    // Thirty pages exceed the limit, so the store after the growth traps.
    assert!(store.call(instance.unwrap(), grow, &[]).is_err());
    assert_eq!(total.used(), 1 << 16);
    drop(store);
    assert_eq!(total.used(), 0);
}

#[test]
fn a_store_with_a_second_instance_is_not_recycled() {
    let engine = engine();
    let linked = linked(&engine, GUEST, MemoryLayout::Pooled);
    let data = Arc::new(());
    for _ in 0..3 {
        let (mut store, instance) = Store::with_instance(&linked, data.clone(), StoreLimits::default());
        assert_eq!(instance.unwrap().index(), 0);
        assert_eq!(store.instantiate(&linked).unwrap().index(), 1);
    }
    // Nor is a store recycled whose instance others could refer to.
    for _ in 0..3 {
        let (mut store, instance) = Store::with_instance(&linked, data.clone(), StoreLimits::default());
        let export = store.export(instance.unwrap(), "memory").unwrap();
        let importing = wat::parse_str(r#"(module (import "" "memory" (memory 1)))"#).unwrap();
        let importing = Module::compile(&engine, &importing).unwrap();
        assert_eq!(store.instantiate_with(&importing, &[export]).unwrap().index(), 1);
    }
}

#[test]
fn many_threads_take_and_drop_stores() {
    let engine = engine();
    let linked = linked(&engine, GUEST, MemoryLayout::Pooled);
    let data = Arc::new(());
    let mut new = Guest::new(&linked, &data);
    let expected = new.state();
    thread::scope(|scope| {
        let (give, taken) = std::sync::mpsc::sync_channel(16);
        scope.spawn(|| taken.into_iter().for_each(drop::<Store<Arc<()>>>));
        for seed in 0..3 {
            let (give, linked, data, expected) = (give.clone(), &linked, &data, &expected);
            scope.spawn(move || {
                for round in 0..60 {
                    leave(linked, &format!("f{}", (round + seed) % 8), data);
                    for (number, mut guest) in guests(linked, data).into_iter().enumerate() {
                        // Most stores run first, and most end on this thread; some do neither.
                        if number % 3 != 0 {
                            assert_eq!(guest.state(), *expected);
                        }
                        if number % 2 == 0 {
                            give.send(guest.store).unwrap();
                        }
                    }
                }
            });
        }
        drop(give);
    });
    drop(new);
    assert_eq!(Arc::strong_count(&data), 1);
}
