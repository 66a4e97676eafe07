//! Code from the cache does what freshly compiled code does, and nothing in the directory can change that.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lunatic_jit::{
    Budget, Cache, CacheError, CacheKey, CompileOptions, Engine, EngineConfig, Linker, Module, Store,
    StoreLimits, TrapKind, Value,
};
use tempfile::TempDir;

/// Direct calls, indirect calls by short and by long types, a host function, memory, data, globals, a start
/// function, and traps.
const EVERYTHING: &str = r#"(module $everything
    (type $short (func (param i32) (result i32)))
    (type $long (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (type $other (func (param i64 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "host" "twice" (func $twice (type $short)))
    (memory (export "memory") 1)
    (data (i32.const 8) "\2a\00\00\00")
    (global $started (mut i32) (i32.const 0))
    (table funcref (elem $double $last $twice))
    (func $double (type $short) (i32.mul (local.get 0) (i32.const 2)))
    (func $last (type $long) (local.get 9))
    (func $start (global.set $started (i32.load (i32.const 8))))
    (start $start)
    (func (export "direct") (result i32) (call $double (call $twice (global.get $started))))
    (func (export "short") (param i32) (result i32)
        (call_indirect (type $short) (i32.const 21) (local.get 0)))
    (func (export "long") (param i32) (result i32)
        (call_indirect (type $long) (i32.const 0) (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4)
            (i32.const 5) (i32.const 6) (i32.const 7) (i32.const 8) (i32.const 9) (local.get 0)))
    (func (export "other") (param i32) (result i32)
        (call_indirect (type $other) (i64.const 0) (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4)
            (i32.const 5) (i32.const 6) (i32.const 7) (i32.const 8) (i32.const 9) (local.get 0)))
    (func (export "ceil") (param f64) (result f64) (f64.ceil (local.get 0))))"#;

struct TestCache {
    directory: TempDir,
    engine: Engine,
}

impl TestCache {
    fn new() -> TestCache {
        TestCache { directory: tempfile::tempdir().unwrap(), engine: engine() }
    }

    fn cache(&self) -> Cache {
        Cache::open(self.directory.path(), Cache::DEFAULT_LIMIT).unwrap()
    }

    fn key(&self, wasm: &[u8]) -> CacheKey {
        CacheKey::new(&self.engine, CompileOptions::default(), &[wasm])
    }

    /// Compiles a module into the cache, and returns its key and its file.
    fn fill(&self, wasm: &[u8]) -> (CacheKey, PathBuf) {
        let key = self.key(wasm);
        self.cache().compile(&self.engine, &key, wasm, &Budget::default()).unwrap();
        (key, self.directory.path().join(format!("{key}.code")))
    }

    fn files(&self) -> usize {
        fs::read_dir(self.directory.path()).unwrap().count()
    }
}

fn engine() -> Engine {
    Engine::new(EngineConfig::default()).unwrap()
}

fn everything() -> Vec<u8> {
    wat::parse_str(EVERYTHING).unwrap()
}

fn tiny(number: i32) -> Vec<u8> {
    wat::parse_str(format!("(module (func (export \"f\") (result i32) (i32.const {number})))")).unwrap()
}

/// Calls all exports of a module of [`EVERYTHING`], and returns the outcomes as text.
fn run(engine: &Engine, module: &Module) -> Vec<String> {
    let mut linker = Linker::<()>::new();
    linker.func("host", "twice", |_: &mut lunatic_jit::Caller<'_, ()>, n: i32| n * 2);
    let linked = linker.link(module).unwrap();
    let mut store = Store::new(engine, (), StoreLimits::default());
    let instance = store.instantiate(&linked).unwrap();
    store.call(instance, module.start_function().unwrap(), &[]).unwrap();
    let mut said = Vec::new();
    for (name, args) in [
        ("direct", vec![]),
        ("short", vec![Value::I32(0)]),
        ("short", vec![Value::I32(1)]),
        ("short", vec![Value::I32(2)]),
        ("long", vec![Value::I32(0)]),
        ("long", vec![Value::I32(1)]),
        ("other", vec![Value::I32(1)]),
        ("other", vec![Value::I32(7)]),
        ("ceil", vec![Value::F64(1.5f64.to_bits())]),
    ] {
        let function = module.exported_function(name).unwrap();
        said.push(match store.call(instance, function, &args) {
            Ok(values) => format!("{values:?}"),
            Err(trap) => format!("{trap} {:?}", trap.backtrace),
        });
    }
    said
}

#[test]
fn code_from_the_cache_does_the_same() {
    let test = TestCache::new();
    let wasm = everything();
    let fresh = Module::compile(&test.engine, &wasm).unwrap();
    let expected = run(&test.engine, &fresh);
    assert_eq!(expected[0], "[I32(168)]");
    assert_eq!((&*expected[1], &*expected[3], &*expected[5]), ("[I32(42)]", "[I32(42)]", "[I32(9)]"));
    assert!(expected[2].starts_with("indirect call type mismatch"), "{expected:?}");
    let (key, _) = test.fill(&wasm);

    // Another engine, in which the long types have other numbers.
    let other = engine();
    let long = "(module (type (func (param f32 f32 f32 f32 f32 f32 f32 f32 f32 f32 f32))))";
    let _occupant = Module::compile(&other, &wat::parse_str(long).unwrap()).unwrap();
    let cached = test.cache().get(&other, &key).expect("it is there");
    assert_eq!(run(&other, &cached), expected);
    assert_eq!(
        format!("{:?}", cached.exports().collect::<Vec<_>>()),
        format!("{:?}", fresh.exports().collect::<Vec<_>>())
    );
    assert_eq!(cached.imports().count(), 1);
    assert_ne!(cached.id(), fresh.id());
}

#[test]
fn long_types_are_distinguished_across_modules_of_one_engine() {
    let test = TestCache::new();
    let wasm = everything();
    let (key, _) = test.fill(&wasm);
    let cached = test.cache().get(&test.engine, &key).unwrap();
    let fresh = Module::compile(&test.engine, &wasm).unwrap();
    assert_eq!(run(&test.engine, &cached), run(&test.engine, &fresh));
}

#[test]
fn a_truncated_entry_is_a_miss_at_every_length_and_is_removed() {
    let test = TestCache::new();
    let (key, file) = test.fill(&tiny(1));
    let whole = fs::read(&file).unwrap();
    for length in 0..whole.len() {
        fs::write(&file, &whole[..length]).unwrap();
        assert!(test.cache().get(&test.engine, &key).is_none(), "{length}");
        assert!(!file.exists(), "{length}");
    }
    fs::write(&file, [&whole[..], b"x"].concat()).unwrap();
    assert!(test.cache().get(&test.engine, &key).is_none(), "too long");
    fs::write(&file, &whole).unwrap();
    assert!(test.cache().get(&test.engine, &key).is_some(), "whole again");
}

#[test]
fn an_entry_damaged_anywhere_is_a_miss() {
    let test = TestCache::new();
    let (key, file) = test.fill(&tiny(1));
    let whole = fs::read(&file).unwrap();
    for at in 0..whole.len() {
        for bit in [1, 0x80] {
            let mut damaged = whole.clone();
            damaged[at] ^= bit;
            fs::write(&file, &damaged).unwrap();
            assert!(test.cache().get(&test.engine, &key).is_none(), "byte {at}");
        }
    }
}

#[test]
fn an_entry_under_another_name_is_a_miss() {
    let test = TestCache::new();
    let (_, file) = test.fill(&tiny(1));
    let key = test.key(&tiny(2));
    fs::copy(file, test.directory.path().join(format!("{key}.code"))).unwrap();
    assert!(test.cache().get(&test.engine, &key).is_none());
}

#[test]
fn writers_of_the_same_entry_do_not_disturb_readers() {
    let test = TestCache::new();
    let wasm = everything();
    let expected = run(&test.engine, &Module::compile(&test.engine, &wasm).unwrap());
    let key = test.key(&wasm);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let cache = test.cache();
                for _ in 0..10 {
                    cache.compile(&test.engine, &key, &wasm, &Budget::default()).unwrap();
                    let module = cache.get(&test.engine, &key).expect("it is there from the first time on");
                    assert_eq!(run(&test.engine, &module), expected);
                }
            });
        }
    });
    assert_eq!(test.files(), 1, "one entry, and nothing unfinished");
}

#[test]
fn the_least_recently_used_entry_is_evicted_first() {
    let test = TestCache::new();
    let filled: Vec<_> = (0..4).map(|number| test.fill(&tiny(number))).collect();
    let day = Duration::from_secs(24 * 3600);
    for (days, (_, file)) in [4, 3, 2, 1].into_iter().zip(&filled) {
        fs::File::open(file).unwrap().set_modified(SystemTime::now() - day * days).unwrap();
    }
    // The oldest entry is used, so it is not the least recently used one any more.
    assert!(test.cache().get(&test.engine, &filled[0].0).is_some());
    let foreign = test.directory.path().join("notes.txt");
    fs::write(&foreign, [0; 100_000]).unwrap();
    let abandoned = test.directory.path().join(".unfinished-x");
    fs::write(&abandoned, "").unwrap();
    fs::File::open(&abandoned).unwrap().set_modified(SystemTime::now() - day).unwrap();

    // The size of three small files of two blocks each.
    let small = Cache::open(test.directory.path(), 3 * 8192).unwrap();
    small.compile(&test.engine, &test.key(&tiny(9)), &tiny(9), &Budget::default()).unwrap();
    let left: Vec<bool> = filled.iter().map(|(_, file)| file.exists()).collect();
    assert_eq!(left, [true, false, false, true]);
    assert!(foreign.exists() && !abandoned.exists());
}

#[test]
fn an_entry_larger_than_the_cache_is_not_kept() {
    let test = TestCache::new();
    let cache = Cache::open(test.directory.path(), 100).unwrap();
    cache.compile(&test.engine, &test.key(&tiny(1)), &tiny(1), &Budget::default()).unwrap();
    assert_eq!(test.files(), 0);
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    let test = TestCache::new();
    for mode in [0o777, 0o720, 0o702] {
        fs::set_permissions(test.directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        let refused = Cache::open(test.directory.path(), 1).unwrap_err();
        assert!(matches!(refused, CacheError::NotPrivate { .. }), "{refused}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(Cache::open(file.path(), 1), Err(CacheError::Io { .. })));
}

/// Only root can create a directory that another user owns.
#[test]
fn a_directory_of_another_user_is_refused() {
    let test = TestCache::new();
    if std::os::unix::fs::chown(test.directory.path(), Some(12345), None).is_ok() {
        let refused = Cache::open(test.directory.path(), 1).unwrap_err();
        assert!(matches!(refused, CacheError::NotPrivate { .. }), "{refused}");
    }
}

#[test]
fn created_files_are_private() {
    let test = TestCache::new();
    let path = test.directory.path().join("deep/cache");
    let cache = Cache::open(&path, Cache::DEFAULT_LIMIT).unwrap();
    cache.compile(&test.engine, &test.key(&tiny(1)), &tiny(1), &Budget::default()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for file in fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[test]
fn an_entry_that_others_could_have_written_is_not_used() {
    let test = TestCache::new();
    let (key, file) = test.fill(&tiny(1));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o620)).unwrap();
    assert!(test.cache().get(&test.engine, &key).is_none());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(test.cache().get(&test.engine, &key).is_some());
    // Nor a symbolic link to an entry, nor a directory.
    let elsewhere = test.directory.path().join("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    assert!(test.cache().get(&test.engine, &key).is_none());
    fs::create_dir(&file).unwrap_or_default();
    assert!(test.cache().get(&test.engine, &key).is_none());
}

#[test]
fn a_removed_cache_only_causes_recompilation() {
    let test = TestCache::new();
    let cache = test.cache();
    fs::remove_dir_all(test.directory.path()).unwrap();
    let key = test.key(&tiny(1));
    assert!(cache.get(&test.engine, &key).is_none());
    cache.compile(&test.engine, &key, &tiny(1), &Budget::default()).unwrap();
}

#[test]
fn a_stack_overflow_in_cached_code_is_a_trap() {
    let test = TestCache::new();
    let wasm = wat::parse_str("(module (func $f (export \"f\") (call $f)))").unwrap();
    let (key, _) = test.fill(&wasm);
    let module = test.cache().get(&test.engine, &key).unwrap();
    let mut store = Store::new(&test.engine, (), StoreLimits::default());
    let instance = store.instantiate(&Linker::new().link(&module).unwrap()).unwrap();
    let trap = store.call(instance, module.exported_function("f").unwrap(), &[]).unwrap_err();
    assert!(matches!(trap.kind, TrapKind::StackOverflow), "{trap}");
    assert_eq!(trap.backtrace[0].function, 0);
}
