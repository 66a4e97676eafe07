use std::sync::Arc;

use super::*;
use crate::runtime::pool_capacity::MAX_POOLED;
use crate::{Engine, EngineConfig, Linker, Module, RawValue, Value};

fn engine() -> Engine {
    Engine::new(EngineConfig { stack_size: 64 << 10, ..EngineConfig::default() }).unwrap()
}

fn linked(engine: &Engine) -> Linked<()> {
    let wasm = wat::parse_str("(module (memory 1))").unwrap();
    Linker::new().link(&Module::compile(engine, &wasm).unwrap()).unwrap()
}

fn stores(linked: &Linked<()>, count: usize) -> Vec<Store<()>> {
    let store = || Store::with_instance(linked, (), StoreLimits::default());
    (0..count)
        .map(|_| {
            let (store, instance) = store();
            instance.unwrap();
            store
        })
        .collect()
}

fn addresses(stores: &[Store<()>]) -> Vec<usize> {
    let mut addresses: Vec<usize> = stores.iter().map(|store| store.inner.addr().get()).collect();
    addresses.sort_unstable();
    addresses
}

/// Returns the instances in all shards, and the capacity of these.
fn kept(linked: &Linked<()>) -> (usize, usize) {
    linked.inner.free_list.0.iter().fold((0, 0), |(instances, capacity), shard| {
        let content = shard.lock();
        (instances + content.len(), capacity + content.capacity)
    })
}

fn left(engine: &Engine) -> usize {
    engine.pool_capacity().left()
}

#[test]
fn the_next_store_takes_the_pooled_instance() {
    let engine = engine();
    let linked = linked(&engine);
    let first = stores(&linked, 3 * BATCH + 1);
    let seen = addresses(&first);
    drop(first);
    assert_eq!(kept(&linked).0, 3 * BATCH + 1);
    // A batch is renewed at a time: the first when the second is complete, or when instances are needed.
    let shard = linked.inner.free_list.of_this_thread();
    let have = |content: MutexGuard<'_, Content<()>>| (content.new.len(), content.used.len());
    assert_eq!(have(shard.lock()), (2 * BATCH, BATCH + 1));
    let mut second = stores(&linked, 2 * BATCH + 1);
    assert_eq!(have(shard.lock()), (BATCH - 1, 1));
    second.extend(stores(&linked, BATCH - 1));
    assert_eq!(kept(&linked).0, 1);
    let again = addresses(&second).into_iter().filter(|address| seen.contains(address)).count();
    assert_eq!(again, 3 * BATCH);
}

#[test]
#[cfg_attr(miri, ignore = "it runs native code")]
#[cfg_attr(feature = "plain", ignore = "no store lies in its stack")]
fn an_instance_that_outgrew_its_slot_is_not_kept_and_its_stack_is_free() {
    let engine = engine();
    let wasm = wat::parse_str(
        r#"(module (memory 1)
            (func (export "stay") (result i32) (memory.size))
            (func (export "grow") (result i32) (memory.grow (i32.const 1))))"#,
    );
    let linked = Linker::new().link(&Module::compile(&engine, &wasm.unwrap()).unwrap()).unwrap();
    for (function, kept_instances) in [("grow", 0), ("stay", 1)] {
        let (mut store, instance) = Store::with_instance(&linked, (), StoreLimits::default());
        let instance = instance.unwrap();
        let function = linked.module().exported_function(function).unwrap();
        store.call(instance, function, &[]).unwrap();
        // The store is dropped while a call runs on its own stack.
        store.begin(instance, function, &[]).unwrap();
        assert!(store.inner().core.is_own_stack_lent);
        drop(store);
        assert_eq!(kept(&linked).0, kept_instances);
        let pooled = linked.inner.free_list.of_this_thread().lock().used.pop();
        if let Some(pooled) = pooled {
            // SAFETY: the pooled instance belongs to the test.
            assert!(unsafe { !(*pooled.store.as_ptr()).core.is_own_stack_lent });
        }
    }
}

#[test]
fn a_large_instance_is_renewed_when_its_store_ends() {
    let engine = engine();
    for (pages, is_new) in [(17, false), (40, true)] {
        let wasm = wat::parse_str(format!("(module (memory {pages}))")).unwrap();
        let linked = Linker::new().link(&Module::compile(&engine, &wasm).unwrap()).unwrap();
        drop(stores(&linked, 1));
        let content = linked.inner.free_list.of_this_thread().lock();
        assert_eq!((content.new.len() == 1, content.used.len() == 1), (is_new, !is_new));
    }
}

#[test]
fn capacity_is_limited_and_moves_to_the_shards_that_use_it() {
    let engine = engine();
    let (one, other) = (linked(&engine), linked(&engine));
    drop(stores(&one, MAX_POOLED + 100));
    assert_eq!((kept(&one), left(&engine)), ((MAX_POOLED, MAX_POOLED), 0));
    drop(stores(&other, 10));
    assert_eq!(kept(&other), (0, 0), "no capacity is left");
    // Stores in use take no capacity.
    let used = stores(&one, MAX_POOLED);
    assert_eq!(kept(&one), (0, 2 * STEP));
    assert_eq!(left(&engine), MAX_POOLED - 2 * STEP);
    drop(stores(&other, BATCH));
    assert_eq!(kept(&other), (BATCH, STEP));
    drop(used);
    drop(one);
    assert_eq!(left(&engine), MAX_POOLED - STEP);
    drop(other);
    assert_eq!(left(&engine), MAX_POOLED);
}

#[test]
fn no_instances_are_kept_for_a_dropped_module() {
    let engine = engine();
    let linked = linked(&engine);
    let running = stores(&linked, 3);
    let module = linked.module().clone();
    let shard = Arc::downgrade(linked.inner.free_list.of_this_thread());
    drop(stores(&linked, 5));
    drop(linked);
    assert!(shard.upgrade().is_some(), "those that run refer to it");
    drop(running);
    assert!(shard.upgrade().is_none());
    assert_eq!((Arc::strong_count(&module.inner), left(&engine)), (1, MAX_POOLED));
}

/// What guests can observe is tested in `tests/instance_pool.rs`. This test needs no native code, so miri can
/// run it.
#[test]
fn the_next_store_has_the_modules_initial_state() {
    const GUEST: &str = r#"(module
        (memory (export "memory") 1) (data (i32.const 100) "data")
        (global (export "number") (mut i64) (i64.const 5))
        (table 4 funcref) (elem (i32.const 1) func $f)
        (func $f))"#;
    let engine = engine();
    let module = Module::compile(&engine, &wat::parse_str(GUEST).unwrap()).unwrap();
    let linked = Linker::<Box<usize>>::new().link(&module).unwrap();
    let mut expected = vec![0; 1 << 16];
    expected[100..104].copy_from_slice(b"data");
    for round in 0..2 {
        let kept = linked.inner.free_list.of_this_thread().lock().len();
        assert_eq!(kept, round * BATCH, "the second ones are the first ones again");
        let mut running = Vec::new();
        for number in 0..BATCH {
            let (mut store, instance) =
                Store::with_instance(&linked, Box::new(number), StoreLimits::default());
            let instance = instance.unwrap();
            let global = store.export(instance, "number").unwrap();
            assert_eq!(store.global(global), Some(Value::I64(5)));
            // SAFETY: nothing runs.
            unsafe { (&(*store.core().as_ptr()).instances)[0].global(0).write(RawValue::from(7)) };
            let (memory, data) = store.memory_and_data(instance).unwrap();
            assert!(*memory == *expected && **data == number);
            memory.fill(7);
            running.push(store);
        }
    }
}
