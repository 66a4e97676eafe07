//! Several memories in a module: each has its own bytes, bulk operations work between them, and one may be
//! imported twice.

use lunatic_jit::{
    CompileOptions, Engine, EngineConfig, Instance, Linker, MemoryLayout, Module, Store, StoreLimits, Trap,
    TrapKind, Value,
};

struct Guest {
    module: Module,
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    fn call(&mut self, name: &str, args: &[i32]) -> Result<Vec<Value>, Box<Trap>> {
        let function = self.module.exported_function(name).unwrap();
        let args: Vec<Value> = args.iter().map(|&arg| Value::I32(arg)).collect();
        self.store.call(self.instance, function, &args)
    }
}

fn engine() -> Engine {
    Engine::new(EngineConfig::default()).unwrap()
}

fn guest(options: CompileOptions) -> Guest {
    let engine = engine();
    let wasm = wat::parse_str(
        r#"(module
        (memory $a 1 4) (memory $b 2 3) (memory $c 0)
        (data (memory $a) (i32.const 0) "aaaaaaaa") (data (memory $b) (i32.const 0) "bbbbbbbb")
        (data $passive "pppp")
        (func (export "a") (param i32) (result i32) (i32.load8_u $a (local.get 0)))
        (func (export "b") (param i32) (result i32) (i32.load8_u $b (local.get 0)))
        (func (export "c") (param i32) (result i32) (i32.load8_u $c (local.get 0)))
        (func (export "put_a") (param i32 i32) (i32.store8 $a (local.get 0) (local.get 1)))
        (func (export "put_b") (param i32 i32) (i32.store8 $b (local.get 0) (local.get 1)))
        (func (export "a_to_b") (param i32 i32 i32) (memory.copy $b $a (local.get 0) (local.get 1) (local.get 2)))
        (func (export "b_to_a") (param i32 i32 i32) (memory.copy $a $b (local.get 0) (local.get 1) (local.get 2)))
        (func (export "fill_b") (param i32 i32 i32) (memory.fill $b (local.get 0) (local.get 1) (local.get 2)))
        (func (export "init_c") (param i32) (memory.init $c $passive (local.get 0) (i32.const 0) (i32.const 4)))
        (func (export "grow_a") (param i32) (result i32) (memory.grow $a (local.get 0)))
        (func (export "grow_c") (param i32) (result i32) (memory.grow $c (local.get 0)))
        (func (export "sizes") (result i32 i32 i32) (memory.size $a) (memory.size $b) (memory.size $c)))"#,
    );
    let module = Module::compile_with(&engine, &wasm.unwrap(), options).unwrap();
    let mut store = Store::new(&engine, (), StoreLimits::default());
    let instance = store.instantiate(&Linker::new().link(&module).unwrap()).unwrap();
    Guest { module, store, instance }
}

fn all_options() -> impl Iterator<Item = CompileOptions> {
    let layouts = [MemoryLayout::Pooled, MemoryLayout::Reserved];
    layouts.into_iter().flat_map(|memory| [false, true].map(|untrusted| CompileOptions { memory, untrusted }))
}

#[test]
fn each_memory_has_its_own_bytes_length_and_limit() {
    for options in all_options() {
        let mut guest = guest(options);
        let mut get = |name, at| guest.call(name, &[at]).ok().map(|values| values[0]);
        assert_eq!((get("a", 0), get("b", 0)), (Some(Value::I32(0x61)), Some(Value::I32(0x62))));
        assert_eq!(
            (get("a", 65_536), get("b", 65_536), get("b", 131_072)),
            (None, Some(Value::I32(0)), None)
        );
        assert_eq!(get("c", 0), None);
        guest.call("put_b", &[100_000, 7]).unwrap();
        // The base of either may change with the length.
        assert_eq!(guest.call("grow_a", &[1]).unwrap(), [Value::I32(1)]);
        assert_eq!(guest.call("grow_a", &[3]).unwrap(), [Value::I32(-1)]);
        assert_eq!(guest.call("grow_c", &[1]).unwrap(), [Value::I32(0)]);
        assert_eq!(guest.call("sizes", &[]).unwrap(), [2, 2, 1].map(Value::I32));
        assert_eq!(guest.call("a", &[100_000]).unwrap(), [Value::I32(0)]);
        assert_eq!(guest.call("b", &[100_000]).unwrap(), [Value::I32(7)]);
        guest.call("init_c", &[65_532]).unwrap();
        assert_eq!(guest.call("c", &[65_535]).unwrap(), [Value::I32(0x70)]);
        assert!(guest.call("init_c", &[65_533]).is_err());
    }
}

#[test]
fn bulk_operations_check_each_memory_against_its_own_length() {
    for options in all_options() {
        let mut guest = guest(options);
        // More than a chunk, with ranges that overlap only as numbers.
        guest.call("fill_b", &[0, 9, 131_072]).unwrap();
        guest.call("b_to_a", &[1, 65_000, 65_535]).unwrap();
        assert_eq!(guest.call("a", &[0]).unwrap(), [Value::I32(0x61)]);
        assert_eq!(guest.call("a", &[65_535]).unwrap(), [Value::I32(9)]);
        guest.call("put_a", &[3, 5]).unwrap();
        guest.call("a_to_b", &[131_068, 0, 4]).unwrap();
        assert_eq!(guest.call("b", &[131_071]).unwrap(), [Value::I32(5)]);
        for (name, args) in [
            ("a_to_b", [0, 65_536, 1]),
            ("a_to_b", [131_072, 0, 1]),
            ("b_to_a", [65_536, 65_536, 1]),
            ("b_to_a", [0, 0, 65_537]),
            ("fill_b", [131_072, 0, 1]),
        ] {
            let trap = guest.call(name, &args).unwrap_err();
            assert!(matches!(trap.kind, TrapKind::MemoryOutOfBounds), "{name}: {trap}");
        }
    }
}

#[test]
fn a_memory_imported_twice_is_one_memory() {
    let engine = engine();
    let compile = |wat: &str| Module::compile(&engine, &wat::parse_str(wat).unwrap()).unwrap();
    let owner = compile(r#"(module (memory (export "m") 1))"#);
    let user = compile(
        r#"(module (import "o" "m" (memory $x 1)) (import "o" "m" (memory $y 1))
        (func (export "run") (result i32 i32)
            (i32.store $x (i32.const 0) (i32.const 1234))
            (drop (memory.grow $y (i32.const 1)))
            ;; Grown through the other name, seen through this one, wherever the memory has moved.
            (i32.store $x (i32.const 65536) (i32.load $y (i32.const 0)))
            ;; Overlapping.
            (memory.copy $x $y (i32.const 65538) (i32.const 65536) (i32.const 4))
            (i32.load $y (i32.const 65538)) (memory.size $x)))"#,
    );
    let mut store = Store::new(&engine, (), StoreLimits::default());
    let owner = store.instantiate_with(&owner, &[]).unwrap();
    let memory = store.export(owner, "m").unwrap();
    let instance = store.instantiate_with(&user, &[memory, memory]).unwrap();
    let run = user.exported_function("run").unwrap();
    assert_eq!(store.call(instance, run, &[]).unwrap(), [Value::I32(1234), Value::I32(2)]);
}
