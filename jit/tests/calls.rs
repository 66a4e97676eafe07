//! Calls into a guest: values, traps and their backtraces, host functions, limits.

use lunatic_jit::{
    Caller, CannotWait, Engine, EngineConfig, FuncIndex, HostCall, HostError, HostPanic, Instance, Linker,
    Module, Progress, RawValue, Resume, Store, StoreLimits, Trap, TrapKind, Value,
};

struct Guest<T: Send + 'static> {
    module: Module,
    store: Store<T>,
    instance: Instance,
}

impl<T: Send + 'static> Guest<T> {
    fn new(wat: &str, linker: &Linker<T>, data: T) -> Guest<T> {
        Guest::limited(wat, linker, data, StoreLimits::default())
    }

    fn limited(wat: &str, linker: &Linker<T>, data: T, limits: StoreLimits) -> Guest<T> {
        let engine = Engine::new(EngineConfig::default()).unwrap();
        let module = Module::compile(&engine, &wat::parse_str(wat).unwrap()).unwrap();
        let linked = linker.link(&module).unwrap();
        let mut store = Store::new(&engine, data, limits);
        let instance = store.instantiate(&linked).unwrap();
        Guest { module, store, instance }
    }

    fn function(&self, name: &str) -> FuncIndex {
        self.module.exported_function(name).unwrap()
    }

    fn call(&mut self, name: &str, args: &[Value]) -> Result<Vec<Value>, Box<Trap>> {
        let function = self.function(name);
        self.store.call(self.instance, function, args)
    }
}

fn guest(wat: &str) -> Guest<()> {
    Guest::new(wat, &Linker::new(), ())
}

#[test]
fn values_of_every_type_are_passed_and_returned() {
    let mut guest = guest(
        r#"(module (func (export "turn") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
            local.get 3 local.get 2 local.get 1 local.get 0))"#,
    );
    let args =
        [Value::I32(-1), Value::I64(i64::MIN), Value::F32(0x7fa0_0001), Value::F64(f64::NAN.to_bits())];
    let results = guest.call("turn", &args).unwrap();
    assert_eq!(results, args.into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn a_trap_has_a_backtrace_with_function_names() {
    let mut guest = guest(
        r#"(module
            (memory 1)
            (func $innermost (param i32) (drop (i32.load (local.get 0))))
            (func $middle (param i32) (call $innermost (local.get 0)) (i32.store (i32.const 0) (i32.const 1)))
            (func $outer (export "run") (param i32) (call $middle (local.get 0)) (nop) (drop (i32.const 1))))"#,
    );
    let trap = guest.call("run", &[Value::I32(65533)]).unwrap_err();
    assert!(matches!(trap.kind, TrapKind::MemoryOutOfBounds), "{trap}");
    let names: Vec<_> = trap.backtrace.iter().map(|frame| frame.name.as_deref().unwrap_or("?")).collect();
    assert_eq!(names, ["innermost", "middle", "outer"]);
    assert!(trap.backtrace.iter().all(|frame| frame.offset.is_some()), "{:?}", trap.backtrace);
    // The store is usable after the traps.
    assert!(guest.call("run", &[Value::I32(65532)]).is_ok());
}

/// HOSTILE 11.
#[test]
fn a_stack_overflow_is_a_trap_and_the_host_continues() {
    let mut guest = guest(
        r#"(module
            (func $deep (export "deep") (param i64) (result i64)
                (i64.add (call $deep (i64.add (local.get 0) (i64.const 1))) (local.get 0))))"#,
    );
    for _ in 0..3 {
        let trap = guest.call("deep", &[Value::I64(0)]).unwrap_err();
        assert!(matches!(trap.kind, TrapKind::StackOverflow), "{trap}");
        assert!(trap.backtrace.len() > 10);
    }
}

/// HOSTILE 12.
#[test]
fn a_host_call_near_the_end_of_the_stack_runs_on_the_workers_stack() {
    let mut linker = Linker::<u64>::new();
    linker.func("host", "use_stack", |caller: &mut Caller<'_, u64>| {
        // More than a whole process stack.
        let large = std::hint::black_box([1u8; 512 << 10]);
        *caller.data_mut() += u64::from(large[large.len() - 1]);
    });
    let wat = r#"(module
        (import "host" "use_stack" (func $use_stack))
        (func $deep (export "deep") (call $use_stack) (call $deep) (call $use_stack)))"#;
    let mut guest = Guest::new(wat, &linker, 0);
    let trap = guest.call("deep", &[]).unwrap_err();
    assert!(matches!(trap.kind, TrapKind::StackOverflow), "{trap}");
    assert!(*guest.store.data() > 1000);
}

#[test]
fn host_functions_take_and_return_values_and_access_memory() {
    let mut linker = Linker::<Vec<String>>::new();
    linker.func("host", "log", |caller: &mut Caller<'_, Vec<String>>, at: u32, length: u32| -> u64 {
        let (memory, data) = caller.memory_and_data().expect("it exports one");
        data.push(String::from_utf8_lossy(&memory[at as usize..][..length as usize]).into_owned());
        data.len() as u64
    });
    let wat = r#"(module
        (import "host" "log" (func $log (param i32 i32) (result i64)))
        (memory (export "memory") 1)
        (data (i32.const 8) "hello")
        (func (export "run") (result i64) (call $log (i32.const 8) (i32.const 5))))"#;
    let mut guest = Guest::new(wat, &linker, Vec::new());
    assert_eq!(guest.call("run", &[]).unwrap(), [Value::I64(1)]);
    assert_eq!(guest.store.data(), &["hello"]);
}

/// HOSTILE 35, the part that concerns the engine.
#[test]
fn errors_and_panics_of_host_functions_end_only_the_call() {
    let mut linker = Linker::<()>::new();
    linker.func("host", "fail", |_: &mut Caller<'_, ()>| -> Result<(), HostError> { Err("no".into()) });
    linker.func("host", "panic", |_: &mut Caller<'_, ()>| -> () { panic!("out of order") });
    let wat = r#"(module
        (import "host" "fail" (func $fail))
        (import "host" "panic" (func $panic))
        (func $caller (export "fail") (call $fail) (unreachable))
        (func (export "panic") (call $panic) (unreachable)))"#;
    let mut guest = Guest::new(wat, &linker, ());
    let trap = guest.call("fail", &[]).unwrap_err();
    assert_eq!(trap.to_string(), "no");
    assert_eq!(trap.backtrace.len(), 1, "{:?}", trap.backtrace);
    assert_eq!(trap.backtrace[0].name.as_deref(), Some("caller"));
    let trap = guest.call("panic", &[]).unwrap_err();
    let TrapKind::Host(error) = &trap.kind else { panic!("{trap}") };
    assert!(error.downcast_ref::<HostPanic>().is_some(), "{error}");
}

#[test]
fn a_suspended_host_function_gets_its_result_later() {
    let mut linker = Linker::<u32>::new();
    linker.func("host", "ask", |caller: &mut Caller<'_, u32>, question: u32| -> HostCall<u32> {
        *caller.data_mut() = question;
        HostCall::Suspend
    });
    let wat = r#"(module
        (import "host" "ask" (func $ask (param i32) (result i32)))
        (func (export "run") (result i32)
            (i32.add (call $ask (i32.const 1)) (call $ask (i32.const 2)))))"#;
    let mut guest = Guest::new(wat, &linker, 0);
    let run = guest.function("run");
    guest.store.begin(guest.instance, run, &[]).unwrap();
    let mut how = Resume::Continue;
    for question in [1, 2] {
        assert!(matches!(guest.store.resume(how, 1000), Progress::Suspended));
        assert_eq!(*guest.store.data(), question);
        assert_eq!(guest.store.backtrace().len(), 1);
        how = Resume::Return(RawValue::from(u64::from(question) * 10));
    }
    assert!(matches!(guest.store.resume(how, 1000), Progress::Returned));
    assert_eq!(guest.store.results(), [Value::I32(30)]);

    let trap = guest.call("run", &[]).unwrap_err();
    let TrapKind::Host(error) = &trap.kind else { panic!("{trap}") };
    assert!(error.downcast_ref::<CannotWait>().is_some());
}

/// HOSTILE 17.
#[test]
fn memory_grows_across_slots_and_stops_at_the_limit() {
    let wat = r#"(module
        (memory (export "memory") 1)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "store") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
        (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))"#;
    let limits = StoreLimits { max_memory: 100 * 65536, ..StoreLimits::default() };
    let mut guest = Guest::limited(wat, &Linker::new(), (), limits);
    guest.call("store", &[Value::I32(4), Value::I32(7)]).unwrap();
    assert_eq!(guest.call("grow", &[Value::I32(30)]).unwrap(), [Value::I32(1)]);
    assert_eq!(guest.call("load", &[Value::I32(4)]).unwrap(), [Value::I32(7)]);
    assert_eq!(guest.call("load", &[Value::I32(31 * 65536 - 4)]).unwrap(), [Value::I32(0)]);
    assert!(guest.call("load", &[Value::I32(31 * 65536 - 3)]).is_err());
    assert_eq!(guest.call("grow", &[Value::I32(70)]).unwrap(), [Value::I32(-1)]);
    assert_eq!(guest.call("grow", &[Value::I32(-1)]).unwrap(), [Value::I32(-1)]);
    assert_eq!(guest.call("grow", &[Value::I32(69)]).unwrap(), [Value::I32(31)]);
    assert_eq!(guest.store.memory_size(), 100 * 65536);
}

/// HOSTILE 43; `hostile.rs` has more tests of it.
#[test]
fn a_recycled_memory_contains_nothing_of_its_previous_owner() {
    let engine = Engine::new(EngineConfig::default()).unwrap();
    let wat = r#"(module
        (memory 4)
        (data (i32.const 100) "data")
        (func (export "fill") (memory.fill (i32.const 0) (i32.const 0xab) (i32.const 262144)))
        (func (export "sum") (result i64) (local $i i32) (local $sum i64)
            (loop $next
                (local.set $sum (i64.add (local.get $sum) (i64.load8_u (local.get $i))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (i32.const 262144))))
            (local.get $sum)))"#;
    let module = Module::compile(&engine, &wat::parse_str(wat).unwrap()).unwrap();
    let linked = Linker::<()>::new().link(&module).unwrap();
    let expected: u32 = b"data".iter().map(|&byte| u32::from(byte)).sum();
    for _ in 0..4 {
        let mut store = Store::new(&engine, (), StoreLimits::default());
        let instance = store.instantiate(&linked).unwrap();
        let sum = store.call(instance, module.exported_function("sum").unwrap(), &[]).unwrap();
        assert_eq!(sum, [Value::I64(i64::from(expected))]);
        store.call(instance, module.exported_function("fill").unwrap(), &[]).unwrap();
    }
}

#[test]
fn a_table_is_shared_until_it_is_written() {
    let wat = r#"(module
        (type $number (func (result i32)))
        (table 4 funcref)
        (elem (i32.const 0) $one $two)
        (elem declare func $two)
        (func $one (result i32) (i32.const 1))
        (func $two (result i32) (i32.const 2))
        (func (export "call") (param i32) (result i32) (call_indirect (type $number) (local.get 0)))
        (func (export "change") (table.set (i32.const 0) (ref.func $two))))"#;
    let engine = Engine::new(EngineConfig::default()).unwrap();
    let module = Module::compile(&engine, &wat::parse_str(wat).unwrap()).unwrap();
    let linked = Linker::<()>::new().link(&module).unwrap();
    let mut stores: Vec<_> = (0..2).map(|_| Store::new(&engine, (), StoreLimits::default())).collect();
    let instances: Vec<_> = stores.iter_mut().map(|store| store.instantiate(&linked).unwrap()).collect();
    let (call, change) =
        (module.exported_function("call").unwrap(), module.exported_function("change").unwrap());
    stores[0].call(instances[0], change, &[]).unwrap();
    assert_eq!(stores[0].call(instances[0], call, &[Value::I32(0)]).unwrap(), [Value::I32(2)]);
    assert_eq!(stores[1].call(instances[1], call, &[Value::I32(0)]).unwrap(), [Value::I32(1)]);
    let trap = stores[1].call(instances[1], call, &[Value::I32(2)]).unwrap_err();
    assert!(matches!(trap.kind, TrapKind::UninitializedElement), "{trap}");
    let trap = stores[1].call(instances[1], call, &[Value::I32(4)]).unwrap_err();
    assert!(matches!(trap.kind, TrapKind::UndefinedElement), "{trap}");
}

#[test]
fn all_missing_imports_are_reported() {
    let mut linker = Linker::<()>::new();
    linker.func("a", "wrong", |_: &mut Caller<'_, ()>, _: u32| {});
    let engine = Engine::new(EngineConfig::default()).unwrap();
    let wat = r#"(module
        (import "a" "wrong" (func (param i64)))
        (import "a" "missing" (func))
        (import "b" "memory" (memory 1)))"#;
    let module = Module::compile(&engine, &wat::parse_str(wat).unwrap()).unwrap();
    let error = linker.link(&module).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a::wrong: expected function (i64) -> (), found function (i32) -> (); \
         a::missing: unknown function () -> (); b::memory: unknown memory of 1 pages"
    );
}

#[test]
fn a_function_returns_more_results_than_there_are_registers() {
    for count in [1, 7, 8, 9, 15, 16, 17, 1000] {
        // Of all types in turn, so that each kind of register runs out, and by a direct and an indirect call.
        let types = ["i32", "f64", "i64", "f32"].into_iter().cycle().take(count).collect::<Vec<_>>();
        let constants: Vec<_> =
            types.iter().enumerate().map(|(i, ty)| format!("({ty}.const {})", i + 1)).collect();
        let (list, constants) = (types.join(" "), constants.join(" "));
        let mut guest = guest(&format!(
            r#"(module (type $many (func (result {list}))) (table funcref (elem $many))
                (func $many (export "many") (type $many) {constants})
                (func (export "direct") (type $many) (call $many))
                (func (export "indirect") (type $many) (call_indirect (type $many) (i32.const 0))))"#
        ));
        let expected: Vec<Value> = (types.iter().zip(1..))
            .map(|(&ty, i)| match ty {
                "i32" => Value::I32(i),
                "i64" => Value::I64(i.into()),
                "f32" => Value::F32((i as f32).to_bits()),
                _ => Value::F64(f64::from(i).to_bits()),
            })
            .collect();
        for name in ["many", "direct", "indirect"] {
            assert_eq!(guest.call(name, &[]).unwrap(), expected, "{name} of {count}");
        }
    }
}
