//! Backtraces with lines: those of a Rust guest with DWARF are correct, however the guest was prepared and loaded.

use std::path::Path;

use lunatic_instrument::{Options, prepare};
use lunatic_jit::{
    Budget, Cache, CacheKey, CompileOptions, Engine, EngineConfig, Frame, Linker, Module, Store, StoreLimits,
    Value,
};
use lunatic_tests::guests::build;

const SOURCE: &str = include_str!("../guests/lines/src/lib.rs");

fn guest() -> Vec<u8> {
    std::fs::read(build("tests/guests/lines", "test_lines")).expect("it was built")
}

fn engine() -> Engine {
    Engine::new(EngineConfig::default()).expect("the engine works here")
}

/// The number of the line that ends in this comment.
fn line(comment: &str) -> u32 {
    let end = format!("// {comment}");
    let index = SOURCE.lines().position(|line| line.ends_with(&end));
    index.unwrap_or_else(|| panic!("the guest has a line {comment:?}")) as u32 + 1
}

/// The backtrace of this kind of trap.
fn backtrace(engine: &Engine, module: &Module, kind: i32) -> Vec<Frame> {
    let mut store = Store::new(engine, (), StoreLimits::default());
    let linked = Linker::new().link(module).expect("it imports nothing");
    let instance = store.instantiate(&linked).expect("it fits");
    let function = module.exported_function("trap").expect("it is exported");
    // With a small slice, so that the guest is suspended at charges before the trap.
    let trap = store.call_in_slices(instance, function, &[Value::I32(kind)], 1).expect_err("it traps");
    trap.backtrace
}

/// Functions and lines of the guest's own file, frame by frame, without functions inlined from other files.
fn own_lines(frames: &[Frame]) -> Vec<(String, u32)> {
    let sources = frames.iter().flat_map(|frame| frame.sources().to_vec());
    let own = sources.filter(|source| source.file.as_ref().is_some_and(|file| file.ends_with("src/lib.rs")));
    let own = own.filter(|source| source.function.as_ref().is_some_and(|name| !name.contains("wasm32")));
    own.map(|source| {
        let function = source.function.expect("it has one");
        (function.rsplit("::").next().expect("a part").to_owned(), source.line.expect("a line"))
    })
    .collect()
}

fn expected(kind: i32) -> Vec<(String, u32)> {
    let here = ("innermost", format!("kind {kind}"));
    let innermost = match kind {
        0 => vec![here],
        1 => vec![("load", "load".into()), here],
        2 => vec![("load", "load".into()), ("called", "called".into()), here],
        _ => unreachable!("there are three"),
    };
    let outer = [("middle", "middle".into()), ("outer", "outer".into()), ("trap", "trap".into())];
    let chain = innermost.into_iter().chain(outer);
    chain.map(|(function, comment): (&str, String)| (function.to_owned(), line(&comment))).collect()
}

#[test]
fn a_backtrace_has_the_lines_of_the_trap_and_the_calls() {
    let (plain, engine) = (guest(), engine());
    let prepared = prepare(&plain, &Options::default()).expect("acceptable").bytes;
    for wasm in [&plain, &prepared] {
        let module = Module::compile(&engine, wasm).expect("valid");
        for kind in 0..3 {
            let frames = backtrace(&engine, &module, kind);
            assert_eq!(own_lines(&frames), expected(kind), "{frames:#?}");
            let shown: Vec<String> = frames.iter().flat_map(Frame::lines).collect();
            let inlined = format!("src/lib.rs:{}:", line("middle"));
            assert!(
                shown.iter().any(|line| line.contains(&inlined) && line.ends_with(" (inlined)")),
                "{shown:#?}"
            );
            let outer = format!("src/lib.rs:{}:", line("outer"));
            assert!(shown.iter().any(|line| line.contains(&outer) && line.contains(" (0x")), "{shown:#?}");
        }
    }
    // Both frames completely, with columns, including functions inlined from the library.
    let modules = [&plain, &prepared].map(|wasm| Module::compile(&engine, wasm).expect("valid"));
    for kind in 0..3 {
        let [plain, prepared] = modules.each_ref().map(|module| {
            let frames = backtrace(&engine, module, kind);
            frames.iter().map(|frame| frame.sources().to_vec()).collect::<Vec<_>>()
        });
        assert_eq!(plain, prepared);
    }
}

#[test]
fn code_from_the_cache_has_the_same_lines() {
    let (plain, engine) = (guest(), engine());
    let directory = tempfile::tempdir().expect("a directory");
    for wasm in [&plain, &prepare(&plain, &Options::default()).expect("acceptable").bytes] {
        let cache = Cache::open(directory.path(), Cache::DEFAULT_LIMIT).expect("it is private");
        let key = CacheKey::new(&engine, CompileOptions::default(), &[wasm]);
        let fresh = cache.compile(&engine, &key, wasm, &Budget::default()).expect("valid");
        let found = cache.get(&engine, &key).expect("it was put there");
        let again = cache.get(&engine, &key).expect("it was put there");
        assert_eq!(own_lines(&backtrace(&engine, &fresh, 1)), expected(1));
        assert_eq!(own_lines(&backtrace(&engine, &found, 1)), expected(1));
        // The entry file is removed, but its sections stay readable.
        let file = directory.path().join(format!("{key}.code"));
        std::fs::remove_file(&file).expect("it is there");
        assert_eq!(own_lines(&backtrace(&engine, &again, 0)), expected(0));
    }
}

#[test]
fn damaged_debug_sections_in_the_cache_cost_only_the_lines() {
    let (wasm, engine) = (guest(), engine());
    let directory = tempfile::tempdir().expect("a directory");
    let cache = Cache::open(directory.path(), Cache::DEFAULT_LIMIT).expect("it is private");
    let key = CacheKey::new(&engine, CompileOptions::default(), &[&wasm]);
    let fresh = cache.compile(&engine, &key, &wasm, &Budget::default()).expect("valid");
    // The sections are at the end of the file.
    let file = directory.path().join(format!("{key}.code"));
    let mut bytes = std::fs::read(&file).expect("it is there");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::remove_file(&file).expect("it is there");
    write_private(&file, &bytes);
    let found = cache.get(&engine, &key).expect("the code is whole");
    let frames = backtrace(&engine, &found, 1);
    assert_eq!(frames, backtrace(&engine, &fresh, 1));
    assert!(frames.iter().all(|frame| frame.sources().is_empty() && frame.lines().len() == 1), "{frames:?}");
    // A truncated file is not a valid entry.
    write_private(&file, &bytes[..last]);
    assert!(cache.get(&engine, &key).is_none());
}

fn write_private(file: &Path, bytes: &[u8]) {
    std::fs::write(file, bytes).expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    }
}

#[test]
fn a_module_without_dwarf_has_a_backtrace_without_lines() {
    // Cranelift turns a branch to a trap into a conditional trap, at the place of the branch.
    let wasm = wat::parse_str(
        "(module (memory 1) (func $_ZN3app4main17h0123456789abcdefE (export \"trap\") (param i32)
            (i32.store (i32.const 0) (i32.const 1)) unreachable))",
    )
    .expect("text");
    let engine = engine();
    // The offset is that in the original module, whatever was inserted into it.
    let trap = 0x2e;
    assert_eq!(
        wasm[trap - 1..=trap + 1],
        [0, 0, 0x0b],
        "an `unreachable` behind a store, and the function's end"
    );
    for compiled in [&wasm, &prepare(&wasm, &Options::default()).expect("acceptable").bytes] {
        let module = Module::compile(&engine, compiled).expect("valid");
        let frames = backtrace(&engine, &module, 0);
        assert_eq!(frames.len(), 1);
        assert!(frames[0].sources().is_empty());
        let offset = frames[0].offset.expect("it has one");
        assert_eq!(compiled[offset as usize], 0, "an `unreachable`");
        assert_eq!(frames[0].to_string(), format!("app::main (0x{trap:x})"));
    }
}
