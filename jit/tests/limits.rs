//! Modules that ask for too much get an error, or what they ask for: never a panic, and never all memory.

use std::fmt::Write;

use lunatic_jit::{
    CompileError, Engine, EngineConfig, InstantiateError, Linker, Module, Store, StoreLimits, TotalMemory,
    Value,
};

fn engine() -> Engine {
    Engine::new(EngineConfig::default()).unwrap()
}

fn compile(wat: &str) -> Result<Module, CompileError> {
    Module::compile(&engine(), &wat::parse_str(wat).unwrap())
}

/// Returns the error for a module that is refused, which has to say where.
fn refusal(wat: &str) -> String {
    match compile(wat).unwrap_err() {
        CompileError::Unsupported { what, offset } => {
            assert!(offset > 0, "{what}");
            what
        }
        CompileError::Invalid { message, offset } => {
            assert!(offset > 0, "{message}");
            message
        }
        error => panic!("{error}"),
    }
}

fn repeated(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut all, i| {
        writeln!(all, "{}", item(i)).unwrap();
        all
    })
}

/// HOSTILE 18.
#[test]
fn tables_and_memories_are_checked_before_allocation() {
    let refused = refusal("(module (table 4000000000 funcref))");
    assert!(refused.contains("table"), "{refused}");
    let many = repeated(3, |_| "(table 9000000 funcref)".into());
    assert_eq!(refusal(&format!("(module {many})")), "tables of more than 10000000 entries");
    let imported = repeated(3, |_| r#"(import "m" "t" (table 9000000 funcref))"#.into());
    assert_eq!(refusal(&format!("(module {imported})")), "tables of more than 10000000 entries");
    let many = repeated(1001, |_| "(table 0 funcref)".into());
    assert_eq!(refusal(&format!("(module {many})")), "more than 1000 tables");
    let many = repeated(33, |_| "(memory 0)".into());
    assert_eq!(refusal(&format!("(module {many})")), "more than 32 memories");
    let imported = repeated(33, |_| r#"(import "m" "m" (memory 0))"#.into());
    assert_eq!(refusal(&format!("(module {imported})")), "more than 32 memories");
}

/// HOSTILE 17 and 18: at the start. `hostile.rs` tests growth.
#[test]
fn a_store_refuses_what_is_beyond_its_limits() {
    let engine = engine();
    let total = TotalMemory::new(2 << 20);
    let limits = StoreLimits {
        max_memory: 1 << 20,
        max_table_elements: 100,
        stack_size: None,
        total: Some(total.clone()),
    };
    for (wat, what) in [
        ("(module (memory 65536))", "4294967296 bytes of memory"),
        ("(module (memory 17))", "1114112 bytes of memory"),
        ("(module (table 101 funcref))", "101 table elements"),
        ("(module (memory 1) (table 101 funcref))", "101 table elements"),
    ] {
        let module = Module::compile(&engine, &wat::parse_str(wat).unwrap()).unwrap();
        let mut store = Store::new(&engine, (), limits.clone());
        let linked = Linker::new().link(&module).unwrap();
        for error in [store.instantiate(&linked), store.instantiate_with(&module, &[])] {
            let Err(InstantiateError::Limit(message)) = error else { panic!("{error:?}") };
            assert!(message.starts_with(what), "{message}");
        }
        assert_eq!((store.memory_size(), total.used()), (0, 0));
    }
}

/// HOSTILE 17: several stores share a limit on their memories, until they are dropped.
#[test]
fn stores_share_a_memory_limit() {
    let engine = engine();
    let total = TotalMemory::new(5 << 16);
    let limits = StoreLimits { total: Some(total.clone()), ..StoreLimits::default() };
    let wat = r#"(module (memory 2) (func (export "grow") (result i32) (memory.grow (i32.const 1))))"#;
    let module = Module::compile(&engine, &wat::parse_str(wat).unwrap()).unwrap();
    let linked = Linker::new().link(&module).unwrap();
    let grow = module.exported_function("grow").unwrap();
    let [mut one, mut other, mut third] = [(); 3].map(|()| Store::new(&engine, (), limits.clone()));
    let first = one.instantiate(&linked).unwrap();
    other.instantiate_with(&module, &[]).unwrap();
    assert_eq!(one.call(first, grow, &[]).unwrap(), [Value::I32(2)]);
    assert_eq!(one.call(first, grow, &[]).unwrap(), [Value::I32(-1)]);
    for error in [third.instantiate(&linked), third.instantiate_with(&module, &[])] {
        assert!(
            matches!(&error, Err(InstantiateError::Limit(message)) if message.contains("together")),
            "{error:?}"
        );
    }
    assert_eq!(total.used(), 5 << 16);
    drop(other);
    third.instantiate(&linked).unwrap();
    drop((one, third));
    assert_eq!(total.used(), 0);
}

/// HOSTILE 14 and 18.
#[test]
fn exceeded_limits_are_reported_with_their_offset() {
    let cases = [
        repeated(50_001, |_| "(global i32 (i32.const 0))".into()),
        repeated(50_001, |_| r#"(import "m" "g" (global i32))"#.into()),
        repeated(10_001, |_| r#"(import "m" "f" (func))"#.into()),
        repeated(10_001, |_| "(type (func))".into()),
        repeated(100_000, |_| "(memory 1)".into()),
        repeated(100_001, |_| r#"(data "")"#.into()),
        repeated(100_001, |_| "(elem func)".into()),
        format!("(func {})", repeated(1001, |_| "(param i32)".into())),
        format!("(func {})", repeated(50_001, |_| "(local i64)".into())),
    ];
    for items in cases {
        refusal(&format!("(module {items})"));
    }
}

/// HOSTILE 14 and 18: the largest numbers that are allowed.
#[test]
fn the_largest_allowed_numbers_work() {
    let mut body = repeated(10_000, |i| format!(r#"(import "m" "f{i}" (func))"#));
    body += &repeated(49_999, |_| "(global i32 (i32.const 0))".into());
    body += r#"(global (export "last") i64 (i64.const 7)) (memory 1)"#;
    body += &repeated(100_000, |i| format!(r#"(data (i32.const {}) "x")"#, i % 65_536));
    body += "(func (export \"locals\") (result i64)";
    body += &repeated(50_000, |_| "(local i64)".into());
    body += "(local.set 49999 (i64.const 3)) (local.get 49999))";
    let wasm = wat::parse_str(format!("(module {body})")).unwrap();
    let engine = engine();
    let module = Module::compile(&engine, &wasm).unwrap();
    let mut linker = Linker::<()>::new();
    for i in 0..10_000 {
        linker.func("m", &format!("f{i}"), |_: &mut lunatic_jit::Caller<'_, ()>| ());
    }
    let mut store = Store::new(&engine, (), StoreLimits::default());
    let instance = store.instantiate(&linker.link(&module).unwrap()).unwrap();
    let last = store.export(instance, "last").unwrap();
    assert_eq!(store.global(last), Some(Value::I64(7)));
    let locals = module.exported_function("locals").unwrap();
    assert_eq!(store.call(instance, locals, &[]).unwrap(), [Value::I64(3)]);
}

/// HOSTILE 13: two hundred thousand targets.
#[test]
fn a_large_br_table_works_with_and_without_values() {
    let targets = "0 1 ".repeat(100_000);
    let wat = format!(
        r#"(module
        (func (export "plain") (param i32) (result i32)
            (block (block (br_table {targets} 1 (local.get 0))) (return (i32.const 10))) (i32.const 20))
        (func (export "valued") (param i32) (result i32) (local $got i32)
            (block (result i32)
                (i32.add (i32.const 1)
                    (block (result i32) (br_table {targets} 1 (i32.const 5) (local.get 0)))))))"#
    );
    let engine = engine();
    let module = Module::compile(&engine, &wat::parse_str(&wat).unwrap()).unwrap();
    let mut store = Store::new(&engine, (), StoreLimits::default());
    let instance = store.instantiate(&Linker::new().link(&module).unwrap()).unwrap();
    for (index, plain, valued) in
        [(0, 10, 6), (1, 20, 5), (199_998, 10, 6), (199_999, 20, 5), (200_000, 20, 5), (-1, 20, 5)]
    {
        for (name, expected) in [("plain", plain), ("valued", valued)] {
            let function = module.exported_function(name).unwrap();
            let found = store.call(instance, function, &[Value::I32(index)]).unwrap();
            assert_eq!(found, [Value::I32(expected)], "{name} {index}");
        }
    }
}

/// HOSTILE 15: in size.
#[test]
fn a_small_module_cannot_become_a_huge_one() {
    let types = "i32 ".repeat(1000);
    let many = |what: &str| what.repeat(100_000);
    // Each is a few hundred kilobytes.
    for body in [
        format!("{} unreachable", many("(call $wide)")),
        format!("(call $wide) {} unreachable", many("(br_if 0 (i32.const 0))")),
        format!("{} unreachable", many("(block (type $wide) (call $wide))")),
    ] {
        let wat = format!(
            "(module (type $wide (func (result {types}))) (func $wide (type $wide) unreachable)
                (func (type $wide) {body}))"
        );
        assert_eq!(refusal(&wat), "code as large as that of function 1");
    }
}

/// HOSTILE 14.
#[test]
fn deep_nesting_compiles() {
    let depth = 20_000;
    let wat = format!(
        r#"(module (func (export "deep") (result i32) {} (i32.const 1) {}))"#,
        "block (result i32) ".repeat(depth),
        "end ".repeat(depth)
    );
    let engine = engine();
    let module = Module::compile(&engine, &wat::parse_str(&wat).unwrap()).unwrap();
    let mut store = Store::new(&engine, (), StoreLimits::default());
    let instance = store.instantiate(&Linker::new().link(&module).unwrap()).unwrap();
    let deep = module.exported_function("deep").unwrap();
    assert_eq!(store.call(instance, deep, &[]).unwrap(), [Value::I32(1)]);
}
