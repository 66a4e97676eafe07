use std::sync::Arc;

use super::*;
use crate::{Engine, EngineConfig, Linker, Module};

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

/// What all shelves have, and how much room they have for it.
fn kept(linked: &Linked<()>) -> (usize, usize) {
    linked.inner.shelves.0.iter().fold((0, 0), |(spares, room), shelf| {
        let content = shelf.lock();
        (spares + content.spares.len(), room + content.room)
    })
}

fn left(engine: &Engine) -> usize {
    engine.room().0.load(Ordering::Relaxed)
}

#[test]
fn who_ends_is_followed_by_the_next() {
    let engine = engine();
    let linked = linked(&engine);
    let first = stores(&linked, 10);
    let seen = addresses(&first);
    drop(first);
    assert_eq!(kept(&linked).0, 10);
    let second = stores(&linked, 10);
    assert_eq!((addresses(&second), kept(&linked).0), (seen, 0));
}

#[test]
fn what_has_grown_out_of_its_slot_is_not_kept_and_the_home_is_free_again() {
    let engine = engine();
    let wasm = wat::parse_str(
        r#"(module (memory 1)
            (func (export "stay") (result i32) (memory.size))
            (func (export "grow") (result i32) (memory.grow (i32.const 1))))"#,
    );
    let linked = Linker::new().link(&Module::compile(&engine, &wasm.unwrap()).unwrap()).unwrap();
    for (function, spares) in [("stay", 1), ("grow", 0)] {
        let (mut store, instance) = Store::with_instance(&linked, (), StoreLimits::default());
        assert!(!store.inner().core.is_home_lent);
        let instance = instance.unwrap();
        let function = linked.module().exported_function(function).unwrap();
        store.call(instance, function, &[]).unwrap();
        // It is dropped while a call has the home.
        store.begin(instance, function, &[]).unwrap();
        assert!(store.inner().core.is_home_lent);
        drop(store);
        assert_eq!(kept(&linked).0, spares);
    }
}

#[test]
fn there_is_room_for_so_many_and_it_goes_to_who_needs_it() {
    let engine = engine();
    let (one, other) = (linked(&engine), linked(&engine));
    drop(stores(&one, MAX_SPARES + 100));
    assert_eq!((kept(&one), left(&engine)), ((MAX_SPARES, MAX_SPARES), 0));
    drop(stores(&other, 10));
    assert_eq!(kept(&other), (0, 0), "there is no room left");
    // What is in use needs none.
    let used = stores(&one, MAX_SPARES);
    assert_eq!(kept(&one), (0, 2 * STEP));
    assert_eq!(left(&engine), MAX_SPARES - 2 * STEP);
    drop(stores(&other, 10));
    assert_eq!(kept(&other), (10, STEP));
    drop(used);
    drop(one);
    assert_eq!(left(&engine), MAX_SPARES - STEP);
    drop(other);
    assert_eq!(left(&engine), MAX_SPARES);
}

#[test]
fn nothing_is_kept_for_a_module_that_is_gone() {
    let engine = engine();
    let linked = linked(&engine);
    let running = stores(&linked, 3);
    let module = linked.module().clone();
    let shelf = Arc::downgrade(linked.inner.shelves.mine());
    drop(stores(&linked, 5));
    drop(linked);
    assert!(shelf.upgrade().is_some(), "those that run refer to it");
    drop(running);
    assert!(shelf.upgrade().is_none());
    assert_eq!((Arc::strong_count(&module.inner), left(&engine)), (1, MAX_SPARES));
}
