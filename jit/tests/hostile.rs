//! Hostile guests, by the rows of docs/hostile.md that no other test covers. The other tests name their row
//! in a comment.

use std::time::{Duration, Instant};

use lunatic_jit::{
    Budget, CompileError, CompileOptions, Engine, EngineConfig, Instance, Linker, MemoryLayout, Module,
    Store, StoreLimits, Trap, TrapKind, Value,
};

fn engine() -> Engine {
    Engine::new(EngineConfig::default()).unwrap()
}

fn all_options() -> impl Iterator<Item = CompileOptions> {
    let layouts = [MemoryLayout::Pooled, MemoryLayout::Reserved];
    layouts.into_iter().flat_map(|memory| [false, true].map(|untrusted| CompileOptions { memory, untrusted }))
}

fn compile(engine: &Engine, wat: &str, options: CompileOptions) -> Module {
    Module::compile_with(engine, &wat::parse_str(wat).unwrap(), options).unwrap()
}

/// An instance in a store of its own.
struct Process {
    store: Store<()>,
    instance: Instance,
    module: Module,
}

impl Process {
    fn new(engine: &Engine, module: &Module, limits: StoreLimits) -> Process {
        let mut store = Store::new(engine, (), limits);
        let instance = store.instantiate(&Linker::new().link(module).unwrap()).unwrap();
        Process { store, instance, module: module.clone() }
    }

    fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Vec<Value>, Box<Trap>> {
        self.store.call(self.instance, self.module.exported_function(name).unwrap(), arguments)
    }
}

/// What a guest would read that gets the stack, the memory or the table of another one.
const SECRET: i64 = 0x5ec2_e75e_c2e7_5ec2;

/// Leaves secrets wherever a guest can: on a deep stack, in memory that it had from the start and that it has
/// grown (twice, so that a pooled one moves), in a table, and in globals.
fn leaver() -> String {
    let locals: String = (0..40).map(|_| "(local i64)").collect();
    let set: String = (1..41).map(|i| format!("(local.set {i} (i64.const {SECRET}))")).collect();
    let kept: String = (1..41).map(|i| format!("(i64.store (i32.const 0) (local.get {i}))")).collect();
    format!(
        r#"(module (memory 1 8) (table $t 4 100 funcref) (elem declare func $down)
            (global $g (mut i64) (i64.const 0))
            (func $down (export "down") (param i32) {locals} {set}
                (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1))))) {kept})
            (func (export "sparse") (param $pages i32) (local $i i32)
                (drop (memory.grow (local.get $pages)))
                (loop $next
                    (i64.store (local.get $i) (i64.const {SECRET}))
                    (local.set $i (i32.add (local.get $i) (i32.const 32768)))
                    (br_if $next (i32.lt_u (local.get $i) (i32.mul (memory.size) (i32.const 65536))))))
            (func (export "dense") (param $pages i32)
                (drop (memory.grow (local.get $pages)))
                (memory.fill (i32.const 0) (i32.const 0xc2) (i32.mul (memory.size) (i32.const 65536))))
            (func (export "rest")
                (global.set $g (i64.const {SECRET}))
                (drop (table.grow $t (ref.func $down) (i32.const 90)))
                (table.fill $t (i32.const 0) (ref.func $down) (i32.const 94))))"#
    )
}

/// Looks for secrets in everything that it has never written.
fn finder() -> String {
    let locals: String = (0..100).map(|_| "(local i64)".to_owned()).collect();
    let or: String = (1..101).map(|i| format!("(local.get {i}) (i64.or)")).collect();
    format!(
        r#"(module (memory 1 8) (table $t 4 100 funcref) (global $g (mut i64) (i64.const 0))
            (func $nothing)
            (func $stack (export "stack") (param i32) (result i64) {locals}
                (call $nothing)
                (i64.const 0) {or}
                (if (result i64) (local.get 0)
                    (then (call $stack (i32.sub (local.get 0) (i32.const 1)))) (else (i64.const 0)))
                (i64.or))
            (func (export "memory") (result i64) (local $i i32) (local $found i64)
                (loop $grown
                    (loop $next
                        (local.set $found (i64.or (local.get $found) (i64.load (local.get $i))))
                        (local.set $i (i32.add (local.get $i) (i32.const 8)))
                        (br_if $next (i32.lt_u (local.get $i) (i32.mul (memory.size) (i32.const 65536)))))
                    (br_if $grown (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
                (local.get $found))
            (func (export "rest") (result i64) (local $i i32) (local $found i64)
                (drop (table.grow $t (ref.null func) (i32.const 90)))
                (loop $next
                    (if (i32.eqz (ref.is_null (table.get $t (local.get $i))))
                        (then (local.set $found (i64.const 1))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $next (i32.lt_u (local.get $i) (table.size $t))))
                (i64.or (local.get $found) (global.get $g))))"#
    )
}

/// HOSTILE 43: the next owner of a process's stack or memory finds nothing in it, whether little of it was
/// used, which is zeroed, or much, which is given back.
#[test]
fn the_next_process_finds_no_data_of_the_previous_one() {
    let engine = engine();
    for options in all_options() {
        let leaver = compile(&engine, &leaver(), options);
        let finder = compile(&engine, &finder(), options);
        for (how, pages) in
            [("sparse", 0), ("sparse", 1), ("dense", 0), ("dense", 2), ("sparse", 7), ("dense", 7)]
        {
            let mut process = Process::new(&engine, &leaver, StoreLimits::default());
            process.call(how, &[Value::I32(pages)]).unwrap();
            process.call("rest", &[]).unwrap();
            process.call("down", &[Value::I32(200)]).unwrap();
            drop(process);
            let mut process = Process::new(&engine, &finder, StoreLimits::default());
            for (what, arguments) in [("stack", &[Value::I32(200)][..]), ("memory", &[]), ("rest", &[])] {
                let found = process.call(what, arguments).unwrap();
                assert_eq!(found, [Value::I64(0)], "{what} after {how} {pages}, {options:?}");
            }
        }
    }
}

/// HOSTILE 17: a guest that grows its memory without end gets what its limit allows, then -1, and continues.
/// A second memory counts towards the same limit.
#[test]
fn a_memory_bomb_ends_at_the_limit() {
    let wat = r#"(module (memory $a 1) (memory $b 1)
        (func (export "bomb") (result i32) (local $grown i32)
            (loop $again
                (if (i32.ne (memory.grow $a (i32.const 1)) (i32.const -1))
                    (then (local.set $grown (i32.add (local.get $grown) (i32.const 1))) (br $again)))
                (if (i32.ne (memory.grow $b (i32.const 1)) (i32.const -1))
                    (then (local.set $grown (i32.add (local.get $grown) (i32.const 1))) (br $again))))
            (local.get $grown))
        (func (export "huge") (result i32) (memory.grow $a (i32.const 65535)))
        (func (export "wrap") (result i32) (memory.grow $a (i32.const -1)))
        (func (export "use") (result i32)
            (i32.store $a (i32.sub (i32.mul (memory.size $a) (i32.const 65536)) (i32.const 4)) (i32.const 7))
            (i32.load $a (i32.sub (i32.mul (memory.size $a) (i32.const 65536)) (i32.const 4)))))"#;
    let engine = engine();
    let limits = StoreLimits { max_memory: 50 << 16, ..StoreLimits::default() };
    for options in all_options() {
        let mut process = Process::new(&engine, &compile(&engine, wat, options), limits.clone());
        assert_eq!(process.call("bomb", &[]).unwrap(), [Value::I32(48)]);
        for name in ["bomb", "huge", "wrap"] {
            let expected = if name == "bomb" { 0 } else { -1 };
            assert_eq!(process.call(name, &[]).unwrap(), [Value::I32(expected)], "{name}");
        }
        assert_eq!(process.call("use", &[]).unwrap(), [Value::I32(7)]);
        assert_eq!(process.store.memory_size(), 50 << 16);
    }
}

/// HOSTILE 18: the same for all tables together.
#[test]
fn a_table_bomb_ends_at_the_limit() {
    let wat = r#"(module (table $a 1 funcref) (table $b 1 externref)
        (func (export "bomb") (result i32) (local $grown i32)
            (loop $again
                (if (i32.ne (table.grow $a (ref.null func) (i32.const 10)) (i32.const -1))
                    (then (local.set $grown (i32.add (local.get $grown) (i32.const 10))) (br $again)))
                (if (i32.ne (table.grow $b (ref.null extern) (i32.const 1)) (i32.const -1))
                    (then (local.set $grown (i32.add (local.get $grown) (i32.const 1))) (br $again))))
            (local.get $grown))
        (func (export "huge") (result i32) (table.grow $a (ref.null func) (i32.const -1)))
        (func (export "use") (result i32) (table.set $a (i32.const 990) (ref.null func)) (table.size $a)))"#;
    let engine = engine();
    let limits = StoreLimits { max_table_elements: 1000, ..StoreLimits::default() };
    let mut process = Process::new(&engine, &compile(&engine, wat, CompileOptions::default()), limits);
    assert_eq!(process.call("bomb", &[]).unwrap(), [Value::I32(998)]);
    assert_eq!(process.call("bomb", &[]).unwrap(), [Value::I32(0)]);
    assert_eq!(process.call("huge", &[]).unwrap(), [Value::I32(-1)]);
    assert_eq!(process.call("use", &[]).unwrap(), [Value::I32(991)]);
}

/// HOSTILE 18: a thousand segments that overlap are written one by one, into memory that exists. A segment
/// that does not fit traps.
#[test]
fn data_segments_write_no_more_than_the_memory() {
    let engine = engine();
    let full = format!("(data (i32.const 0) \"{}\")", "x".repeat(65_536)).repeat(500);
    let module = compile(&engine, &format!("(module (memory 1) {full})"), CompileOptions::default());
    let mut process = Process::new(&engine, &module, StoreLimits::default());
    assert_eq!(process.store.memory_size(), 65_536);
    let beyond = format!("(module (memory 1) {full} (data (i32.const 65536) \"x\"))");
    let module = compile(&engine, &beyond, CompileOptions::default());
    let linked = Linker::new().link(&module).unwrap();
    let error = process.store.instantiate(&linked).unwrap_err();
    let lunatic_jit::InstantiateError::Trap(trap) = error else { panic!("{error}") };
    assert!(matches!(trap.kind, TrapKind::MemoryOutOfBounds), "{trap}");
}

/// Small bodies that are large for a compiler.
fn blow_ups() -> Vec<(&'static str, String)> {
    let locals = |count: usize| "(local i64)".repeat(count);
    let sum = |count: usize| -> String { (0..count).map(|i| format!("(local.get {i}) i64.add ")).collect() };
    let nested = |depth: usize, inside: &str| {
        format!("{}{inside}{}", "loop ".repeat(depth), "(br_if 0 (i32.const 0)) end ".repeat(depth))
    };
    let change: String =
        (0..1000).map(|i| format!("(local.set {i} (i64.add (local.get {i}) (i64.const {i})))")).collect();
    vec![
        // Every local is passed around every loop.
        ("locals and nested loops", format!("{} {} ", locals(1000), nested(1000, &change))),
        (
            "locals and loops in a row",
            format!("{} {}", locals(1000), nested(1, &sum_of(&sum(1000))).repeat(300)),
        ),
        // All values are live at the same time.
        (
            "live values",
            format!(
                "(local i64) {} {} drop",
                "local.get 0 i64.clz ".repeat(50_000),
                "i64.add ".repeat(49_999)
            ),
        ),
        ("blocks", "(block (br_if 0 (i32.const 0)))".repeat(100_000)),
        (
            "jump tables",
            format!("(block {})", format!("(br_table {} 0 (i32.const 1))", "0 ".repeat(1000)).repeat(1000)),
        ),
        ("calls", "(call 0)".repeat(200_000)),
        (
            "vector operators",
            format!(
                "(local v128) {}",
                "(local.set 0 (i8x16.shr_s (i64x2.mul (local.get 0) (local.get 0)) (i32.const 3)))"
                    .repeat(20_000)
            ),
        ),
    ]
}

fn sum_of(sum: &str) -> String {
    format!("(i64.const 0) {sum} drop")
}

/// HOSTILE 15: a single body, which no deadline interrupts, is refused or compiled in an acceptable time.
#[test]
fn a_single_function_compiles_in_bounded_time() {
    for (what, body) in blow_ups() {
        let wasm = wat::parse_str(format!("(module (func {body}))")).unwrap();
        let started = Instant::now();
        let budget = Budget { threads: 1, ..Budget::default() };
        let result = Module::compile_within(&engine(), &wasm, CompileOptions::default(), &budget);
        let took = started.elapsed();
        println!("{what}: {} bytes, {took:?}, {:?}", wasm.len(), result.as_ref().map(drop));
        let is_refused = matches!(result, Err(CompileError::Unsupported { .. } | CompileError::Frame { .. }));
        assert!(result.is_ok() || is_refused, "{what}: {result:?}");
        assert!(took < LONGEST, "{what}: {took:?}");
    }
}

/// Of a debug build on a busy machine.
const LONGEST: Duration = Duration::from_secs(60);
