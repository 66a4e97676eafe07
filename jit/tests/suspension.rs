//! A metered guest can be suspended at any point, resumed on another thread, and dropped there.

mod metered;

use lunatic_jit::{
    Caller, Engine, EngineConfig, Instance, Linker, Module, Progress, Resume, Store, StoreLimits, TrapKind,
    Value,
};
use metered::{CHARGE, METERING};

fn start(engine: &Engine, body: &str, linker: &Linker<()>) -> (Module, Store<()>, Instance) {
    let wat = format!("(module {METERING} {body})").replace("CHARGE", CHARGE);
    let module = Module::compile(engine, &wat::parse_str(wat).unwrap()).unwrap();
    assert!(module.is_metered());
    let mut store = Store::new(engine, (), StoreLimits::default());
    let instance = store.instantiate(&linker.link(&module).unwrap()).unwrap();
    (module, store, instance)
}

fn engine() -> Engine {
    Engine::new(EngineConfig::default()).unwrap()
}

#[test]
fn an_infinite_loop_yields_moves_to_another_thread_and_is_dropped_there() {
    let engine = engine();
    let body = r#"(func $spin (export "spin") (loop $again CHARGE (br $again)))"#;
    let (module, mut store, instance) = start(&engine, body, &Linker::new());
    store.begin(instance, module.exported_function("spin").unwrap(), &[]).unwrap();
    assert!(matches!(store.resume(Resume::Continue, 10_000), Progress::Yielded));
    let used = store.reductions();
    assert!((10_000..10_020).contains(&used), "{used}");
    let store = std::thread::spawn(move || {
        for _ in 0..100 {
            assert!(matches!(store.resume(Resume::Continue, 10_000), Progress::Yielded));
        }
        let frames = store.backtrace();
        assert_eq!(frames.len(), 1, "{frames:?}");
        assert_eq!(frames[0].name.as_deref(), Some("spin"));
        store
    });
    let store = store.join().unwrap();
    assert!(store.reductions() >= 1_010_000);
    // In the middle of the loop, and on a thread that it has never run on.
    std::thread::spawn(move || drop(store)).join().unwrap();
}

#[test]
fn a_yield_preserves_all_registers() {
    // Twelve integers and six floats that are live across the yield, in a loop whose result depends on all of
    // them.
    let mut body = String::from(r#"(func (export "mix") (param $n i64) (result i64)"#);
    for i in 0..12 {
        body += &format!("(local $i{i} i64)");
    }
    for i in 0..6 {
        body += &format!("(local $f{i} f64)");
    }
    body += "(loop $again CHARGE";
    for i in 0..12 {
        let other = (i + 5) % 12;
        body += &format!(
            "(local.set $i{i} (i64.add (i64.mul (local.get $i{i}) (i64.const 31)) (i64.xor (local.get $i{other}) (local.get $n))))"
        );
    }
    for i in 0..6 {
        body += &format!(
            "(local.set $f{i} (f64.add (f64.mul (local.get $f{i}) (f64.const 0.5)) (f64.convert_i64_s (local.get $i{i}))))"
        );
    }
    body += "(br_if $again (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))";
    body += "(i64.const 0)";
    for i in 0..12 {
        body += &format!("(i64.xor (local.get $i{i}))");
    }
    for i in 0..6 {
        body += &format!("(i64.xor (i64.reinterpret_f64 (local.get $f{i})))");
    }
    body += ")";
    let engine = engine();
    let (module, mut store, instance) = start(&engine, &body, &Linker::new());
    let mix = module.exported_function("mix").unwrap();
    let expected = store.call(instance, mix, &[Value::I64(500)]).unwrap();
    assert_eq!(store.call_in_slices(instance, mix, &[Value::I64(500)], 0).unwrap(), expected);
    assert_eq!(store.call_in_slices(instance, mix, &[Value::I64(500)], 35).unwrap(), expected);
}

#[test]
fn reductions_are_counted_exactly_across_calls() {
    let body = r#"
        (func $leaf CHARGE)
        (func (export "run") (param $n i32)
            CHARGE
            (loop $again CHARGE
                (call $leaf) (call $leaf)
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))"#;
    let engine = engine();
    let (module, mut store, instance) = start(&engine, body, &Linker::new());
    let run = module.exported_function("run").unwrap();
    store.call(instance, run, &[Value::I32(1000)]).unwrap();
    // 10 at entry, and a thousand times 10 for the loop and for each of two leaf functions.
    assert_eq!(store.reductions(), 10 + 30 * 1000);
    store.call_in_slices(instance, run, &[Value::I32(1000)], 7).unwrap();
    assert_eq!(store.reductions(), 2 * (10 + 30 * 1000));
}

#[test]
fn a_host_function_charges_for_its_work() {
    let mut linker = Linker::<()>::new();
    linker.func("host", "work", |caller: &mut Caller<'_, ()>| caller.charge(5000));
    let body = r#"
        (func $after CHARGE)
        (func (export "run") (call $work) (call $after))"#;
    let wat = format!(r#"(import "host" "work" (func $work)) {body}"#);
    let engine = engine();
    let (module, mut store, instance) = start(&engine, &wat, &linker);
    store.begin(instance, module.exported_function("run").unwrap(), &[]).unwrap();
    assert!(matches!(store.resume(Resume::Continue, 1000), Progress::Yielded));
    assert!(matches!(store.resume(Resume::Continue, 10_000), Progress::Returned));
    assert_eq!(store.reductions(), 5010);
}

#[test]
fn a_bulk_operation_yields_between_chunks() {
    let body = r#"
        (memory 64)
        (func (export "fill") (memory.fill (i32.const 0) (i32.const 1) (i32.const 4194304)))
        (func (export "shift") (memory.copy (i32.const 1) (i32.const 0) (i32.const 4194303)))
        (func (export "at") (param i32) (result i32) (i32.load8_u (local.get 0)))"#;
    let engine = engine();
    let (module, mut store, instance) = start(&engine, body, &Linker::new());
    for name in ["fill", "shift"] {
        store.begin(instance, module.exported_function(name).unwrap(), &[]).unwrap();
        let mut yields = 0;
        while let Progress::Yielded = store.resume(Resume::Continue, 1000) {
            yields += 1;
        }
        assert!(yields > 30, "{name}: {yields}");
    }
    let at = module.exported_function("at").unwrap();
    assert_eq!(store.call(instance, at, &[Value::I32(4194303)]).unwrap(), [Value::I32(1)]);
}

#[test]
fn short_bulk_operations_cost_the_same_per_byte_as_long_ones() {
    // A function of three reductions, and one reduction for 64 bytes; sizes on both sides of where another
    // routine takes over.
    for count in [0, 63, 64, 6400, 65_535, 65_536, 65_537, 131_072] {
        for operation in [
            "(memory.fill (i32.const 0) (i32.const 1) (local.get 0))",
            "(memory.copy (i32.const 1) (i32.const 0) (local.get 0))",
            "(memory.copy $b 0 (i32.const 1) (i32.const 0) (local.get 0))",
        ] {
            let body = format!("(memory 4) (memory $b 4) (func (export \"run\") (param i32) {operation})");
            let engine = engine();
            let (module, mut store, instance) = start(&engine, &body, &Linker::new());
            let run = module.exported_function("run").unwrap();
            store.begin(instance, run, &[Value::I32(count)]).unwrap();
            // A slice of no reductions is used up by any work, and stays used up: a yield for each chunk.
            let mut yields = 0;
            while let Progress::Yielded = store.resume(Resume::Continue, 0) {
                yields += 1;
            }
            assert_eq!(store.reductions(), count as u64 / 64, "{count} bytes of {operation}");
            let chunks = if count < 64 { 0 } else { count.unsigned_abs().div_ceil(65_536) };
            assert_eq!(yields, chunks, "{count} bytes of {operation}");
        }
    }
}

#[test]
fn a_loop_of_short_bulk_operations_yields() {
    let body = r#"(memory 2) (func (export "run")
        (loop $again (memory.copy (i32.const 64) (i32.const 0) (i32.const 65536)) (br $again)))"#;
    let engine = engine();
    let (module, mut store, instance) = start(&engine, body, &Linker::new());
    store.begin(instance, module.exported_function("run").unwrap(), &[]).unwrap();
    for turn in 1..=5 {
        assert!(matches!(store.resume(Resume::Continue, 10_000), Progress::Yielded));
        // The overshoot of a slice is subtracted from the next.
        assert_eq!(store.reductions(), (turn * 10_000_u64).next_multiple_of(1024));
    }
}

#[test]
fn a_trap_after_a_yield_on_another_thread_is_still_a_trap() {
    let body = r#"(func (export "run") (param $n i32)
        (loop $again CHARGE
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (drop (i32.div_u (i32.const 1) (local.get $n))))"#;
    let engine = engine();
    let (module, mut store, instance) = start(&engine, body, &Linker::new());
    store.begin(instance, module.exported_function("run").unwrap(), &[Value::I32(100)]).unwrap();
    assert!(matches!(store.resume(Resume::Continue, 100), Progress::Yielded));
    std::thread::spawn(move || match store.resume(Resume::Continue, 10_000) {
        Progress::Trapped(trap) => assert!(matches!(trap.kind, TrapKind::IntegerDivisionByZero), "{trap}"),
        other => panic!("{other:?}"),
    })
    .join()
    .unwrap();
}

#[test]
fn ten_thousand_suspended_guests_leak_nothing() {
    let engine = engine();
    let body = r#"(memory 1) (func (export "spin") (loop $again CHARGE (br $again)))"#;
    let (module, first, _) = start(&engine, body, &Linker::new());
    drop(first);
    let linked = Linker::<()>::new().link(&module).unwrap();
    let spin = module.exported_function("spin").unwrap();
    for _ in 0..10 {
        let mut stores = Vec::new();
        for _ in 0..1000 {
            let mut store = Store::new(&engine, (), StoreLimits::default());
            let instance = store.instantiate(&linked).unwrap();
            store.begin(instance, spin, &[]).unwrap();
            assert!(matches!(store.resume(Resume::Continue, 100), Progress::Yielded));
            stores.push(store);
        }
        drop(stores);
        let resident = resident_bytes();
        assert!(resident < 400 << 20, "{resident}");
    }
}

/// Returns the resident memory of this process. One round of the test above touches about 40 MiB.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// The counter is in a register when the fault happens. What was used since it was last stored must not be
/// free.
#[test]
fn a_trap_costs_the_whole_slice() {
    let engine = engine();
    let (module, mut store, instance) =
        start(&engine, r#"(func (export "trap") CHARGE unreachable)"#, &Linker::new());
    let function = module.exported_function("trap").unwrap();
    let trap = store.call_in_slices(instance, function, &[], 1000).unwrap_err();
    assert!(matches!(trap.kind, TrapKind::Unreachable), "{trap}");
    assert_eq!(store.reductions(), 1000);
}

/// Runs a bulk operation in slices of `slice` reductions. Returns the number of yields, and the results.
fn in_slices(body: &str, slice: u64) -> (usize, Vec<Value>) {
    let engine = engine();
    let (module, mut store, instance) = start(&engine, body, &Linker::new());
    store.begin(instance, module.exported_function("run").unwrap(), &[]).unwrap();
    for yields in 0.. {
        match store.resume(Resume::Continue, slice) {
            Progress::Yielded => {}
            Progress::Returned => return (yields, store.results().to_vec()),
            other => panic!("{other:?}"),
        }
    }
    unreachable!("it ends before that")
}

/// Each of these moves eight megabytes. A chunk of 64 KiB costs 1024 reductions, so a slice of 1000 never
/// does more than one.
#[test]
fn bulk_operations_on_tables_and_data_yield_between_chunks() {
    const ENTRIES: usize = 1 << 20;
    let items = "$f ".repeat(ENTRIES);
    let full = |name: &str| {
        format!("(table ${name} {ENTRIES} 9000000 funcref) (elem (table ${name}) (i32.const 0) func {items})")
    };
    let last = |table: &str| format!("(ref.is_null (table.get ${table} (i32.const {})))", ENTRIES - 1);
    let run = |declared: &str, code: &str, result: &str| {
        format!(r#"{declared} (func $f) (func (export "run") (result i32) CHARGE {code} {result})"#)
    };
    let data = "x".repeat(8 << 20);
    for (what, body) in [
        (
            "the first change to a shared table",
            run(&full("t"), "(table.set $t (i32.const 7) (ref.null func))", &last("t")),
        ),
        (
            "table.fill",
            run(
                &format!("(table $t {ENTRIES} funcref) (elem declare func $f)"),
                &format!("(table.fill $t (i32.const 0) (ref.func $f) (i32.const {ENTRIES}))"),
                &last("t"),
            ),
        ),
        (
            "table.copy",
            run(
                &format!("{} (table $u {ENTRIES} funcref)", full("t")),
                &format!("(table.copy $u $t (i32.const 0) (i32.const 0) (i32.const {ENTRIES}))"),
                &last("u"),
            ),
        ),
        (
            "table.grow",
            run(
                "(table $t 0 9000000 funcref) (elem declare func $f)",
                &format!("(drop (table.grow $t (ref.func $f) (i32.const {ENTRIES})))"),
                &last("t"),
            ),
        ),
        (
            "table.init",
            run(
                &format!("(table $t {ENTRIES} funcref) (elem $e func {items})"),
                &format!("(table.init $t $e (i32.const 0) (i32.const 0) (i32.const {ENTRIES}))"),
                &last("t"),
            ),
        ),
        (
            "memory.init",
            run(
                &format!("(memory 128) (data $d \"{data}\")"),
                &format!("(memory.init $d (i32.const 0) (i32.const 0) (i32.const {}))", data.len()),
                "(i32.eqz (i32.load (i32.const 8388604)))",
            ),
        ),
    ] {
        let (yields, results) = in_slices(&body, 1000);
        assert!(yields >= 120, "{what} yielded {yields} times");
        assert_eq!(results, [Value::I32(0)], "{what}");
    }
}

/// Overlapping ranges of one table, copied in chunks from either end.
#[test]
fn a_table_copied_within_itself_in_chunks_keeps_its_order() {
    const ENTRIES: i32 = 40_000;
    for (target, source) in [(10, 0), (0, 10), (9_000, 0), (0, 9_000)] {
        let count = ENTRIES - 9_000;
        // Every third entry is null.
        let entries: String =
            (0..ENTRIES).map(|i| if i % 3 == 0 { "(ref.null func) " } else { "(ref.func $f) " }).collect();
        let body = format!(
            r#"(table $t {ENTRIES} funcref) (elem (i32.const 0) funcref {entries}) (func $f)
            (func (export "run") (result i32) (local i32 i32) CHARGE
                (table.copy (i32.const {target}) (i32.const {source}) (i32.const {count}))
                (loop $next CHARGE
                    (local.set 1 (i32.add (local.get 1) (i32.ne
                        (ref.is_null (table.get (i32.add (local.get 0) (i32.const {target}))))
                        (i32.eqz (i32.rem_u (i32.add (local.get 0) (i32.const {source})) (i32.const 3))))))
                    (br_if $next (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const {count}))))
                (local.get 1))"#
        );
        let (_, results) = in_slices(&body, 1000);
        assert_eq!(results, [Value::I32(0)], "from {source} to {target}");
    }
}

/// Data that is too scattered to be shared is copied for each instance. The first slices of the instance pay
/// for that, so a process that spawns many of them delays others by one copy at most.
#[test]
fn the_first_slices_pay_for_data_that_was_copied() {
    let engine = engine();
    let data = "x".repeat(1 << 20);
    let body = format!(
        r#"(memory 640) (data (i32.const 0) "{data}") (data (i32.const 40000000) "{data}")
        (func (export "run") (local i32)
            (loop $again CHARGE
                (br_if $again (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 60)))))"#
    );
    let wat = format!("(module {METERING} {body})").replace("CHARGE", CHARGE);
    let module = Module::compile(&engine, &wat::parse_str(wat).unwrap()).unwrap();
    let linked = Linker::new().link(&module).unwrap();
    // The second time, the store is a recycled one.
    for _ in 0..2 {
        let (mut store, instance) = Store::with_instance(&linked, (), StoreLimits::default());
        store.begin(instance.unwrap(), module.exported_function("run").unwrap(), &[]).unwrap();
        let mut yields = 0;
        while let Progress::Yielded = store.resume(Resume::Continue, 1000) {
            yields += 1;
        }
        // Two megabytes, at 64 bytes a reduction, are 32,768 reductions. Until these are paid, it yields at
        // each charge.
        assert_eq!(yields, 33);
        assert_eq!(store.reductions(), 600, "what it did itself is all that it has used");
    }
}

/// An embedder can grant shorter slices to a guest with much new memory, because touching it is not charged.
#[test]
fn growing_a_memory_by_megabytes_ends_the_slice() {
    let grow = |pages: u32| {
        format!(
            r#"(memory 1) (func (export "run") (result i32) CHARGE (drop (memory.grow (i32.const {pages})))
            (memory.size))"#
        )
    };
    for (pages, yields) in [(63, 0), (64, 1)] {
        assert_eq!(in_slices(&grow(pages), 100_000), (yields, vec![Value::I32(pages as i32 + 1)]));
    }
}
