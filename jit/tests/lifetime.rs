//! A module is unloaded as a whole: code, tables and type numbers, with its last user.

#![cfg(target_os = "linux")]

use std::fs;
use std::sync::{Mutex, PoisonError};

use lunatic_jit::{
    Budget, Cache, CacheKey, CompileOptions, Engine, EngineConfig, Instance, Linked, Linker, Module, Store,
    StoreLimits, Value,
};

/// These tests observe the whole process, so they run one after the other.
static ALONE: Mutex<()> = Mutex::new(());

fn engine() -> Engine {
    Engine::new(EngineConfig::default()).unwrap()
}

/// Returns the number of mappings that are executable and have no file: code of modules.
fn code_mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let is_code = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1].contains('x') && fields.len() == 5
    };
    maps.lines().filter(is_code).count()
}

fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

/// Returns the number of resident pages.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A tiny module with a type that the engine has to number, different for each number.
fn tiny(number: usize) -> Vec<u8> {
    let types = (0..10).map(|bit| if number >> bit & 1 == 0 { "i32 " } else { "i64 " }).collect::<String>();
    wat::parse_str(format!(
        "(module (type $t (func (param {types}))) (table 1 funcref)
            (func (export \"f\") (result i32) (i32.const {number})))"
    ))
    .unwrap()
}

#[test]
fn no_mapping_is_ever_writable_and_executable() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let engine = engine();
    let _module = Module::compile(&engine, &tiny(1)).unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    assert!(code_mappings() > 0);
    for line in maps.lines() {
        let rights = line.split_whitespace().nth(1).unwrap();
        assert!(!(rights.contains('w') && rights.contains('x')), "{line}");
    }
}

#[test]
fn code_is_unmapped_with_its_last_user() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    last_user(|engine, linked| {
        let mut store = Store::new(engine, (), StoreLimits::default());
        let instance = store.instantiate(linked).unwrap();
        (store, instance)
    });
    // With others that have ended and are pooled, and one that ends when its free list is gone.
    last_user(|_, linked| {
        let stores: Vec<_> =
            (0..100).map(|_| Store::with_instance(linked, (), StoreLimits::default())).collect();
        drop(stores);
        let (store, instance) = Store::with_instance(linked, (), StoreLimits::default());
        (store, instance.unwrap())
    });
}

fn last_user(make: impl Fn(&Engine, &Linked<()>) -> (Store<()>, Instance)) {
    let engine = engine();
    let before = code_mappings();
    let module = Module::compile(&engine, &tiny(7)).unwrap();
    assert_eq!(code_mappings(), before + 1);
    let clone = module.clone();
    assert_eq!(clone.id(), module.id());
    let linked = Linker::new().link(&module).unwrap();
    let function = module.exported_function("f").unwrap();
    drop((module, clone));
    let (mut store, instance) = make(&engine, &linked);
    drop(linked);
    // Only the instance keeps it alive, and a call that has begun and does not end.
    store.begin(instance, function, &[]).unwrap();
    assert_eq!(code_mappings(), before + 1);
    drop(store);
    assert_eq!(code_mappings(), before);
}

#[test]
fn module_ids_are_unique() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let engine = engine();
    let ids: Vec<_> = (0..100).map(|_| Module::compile(&engine, &tiny(0)).unwrap().id()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
}

#[test]
fn thousands_of_modules_leak_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    load_and_unload(5_000);
}

/// `cargo test --release -p lunatic-jit --test lifetime -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes"]
fn a_million_modules_leak_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    load_and_unload(1_000_000);
}

/// Half of the modules are compiled, half come from the cache. All are run.
fn load_and_unload(cycles: usize) {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(directory.path(), Cache::DEFAULT_LIMIT).unwrap();
    let engine = engine();
    let modules: Vec<(Vec<u8>, CacheKey)> = (0..64)
        .map(|number| {
            let wasm = tiny(number * 16);
            let key = CacheKey::new(&engine, CompileOptions::default(), &[&wasm]);
            cache.compile(&engine, &key, &wasm, &Budget::default()).unwrap();
            (wasm, key)
        })
        .collect();
    let cycle = |number: usize| {
        let (wasm, key) = &modules[number / 2 % modules.len()];
        let module = match number % 2 {
            0 => Module::compile(&engine, wasm).unwrap(),
            _ => cache.get(&engine, key).unwrap(),
        };
        let linked = Linker::new().link(&module).unwrap();
        let (mut store, instance) = Store::with_instance(&linked, (), StoreLimits::default());
        let results = store.call(instance.unwrap(), module.exported_function("f").unwrap(), &[]).unwrap();
        assert_eq!(results, [Value::I32((number / 2 % modules.len() * 16) as i32)]);
    };
    // What the first modules leave in pools and in the allocator is reused by the others.
    (0..cycles / 10).for_each(cycle);
    let (mappings_before, resident_before) = (mappings(), resident());
    (0..cycles).for_each(cycle);
    let (mappings_after, resident_after) = (mappings(), resident());
    println!("mappings {mappings_before} to {mappings_after}, pages {resident_before} to {resident_after}");
    assert!(mappings_after <= mappings_before + 2, "{mappings_before} to {mappings_after}");
    assert!(resident_after <= resident_before + 512, "{resident_before} to {resident_after} pages");
}
