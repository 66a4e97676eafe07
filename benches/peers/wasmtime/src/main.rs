//! Runs exported functions of a module on Wasmtime, one for each line on standard input, and says how long each
//! took: so whoever compares engines can let them take turns.
//!
//! `peer-wasmtime MODULE guarded|checked|epoch|fuel`. Prints the nanoseconds of compilation first. A line
//! `FUNCTION NUMBER` calls a function of type `(i32) -> i64` and prints nanoseconds and the result.

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use wasmtime::{Config, Engine, Instance, Module, Store, UpdateDeadline};

/// How often the epoch advances and the guest yields, although nothing else runs.
const TICK: Duration = Duration::from_millis(10);

/// The fuel between two yields, although nothing else runs: about as much as the guest uses in a tick.
const FUEL: u64 = 100_000;

fn main() -> wasmtime::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(path), Some(variant)) = (args.next(), args.next()) else {
        return Err(wasmtime::Error::msg("usage: peer-wasmtime MODULE guarded|checked|epoch|fuel"));
    };
    let mut config = Config::new();
    config.epoch_interruption(variant == "epoch").consume_fuel(variant == "fuel");
    if variant == "checked" {
        config.memory_reservation(0).memory_guard_size(0).memory_reservation_for_growth(1 << 20);
    }
    let engine = Engine::new(&config)?;
    let wasm = std::fs::read(path)?;
    let start = Instant::now();
    let module = Module::new(&engine, &wasm)?;
    println!("{}", start.elapsed().as_nanos());
    let mut store = Store::new(&engine, ());
    match &*variant {
        "epoch" => {
            store.set_epoch_deadline(1);
            store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(1)));
            let engine = engine.clone();
            std::thread::spawn(move || {
                loop {
                    std::thread::sleep(TICK);
                    engine.increment_epoch();
                }
            });
        }
        // Without an asynchronous store fuel does not yield: what is measured is the counting alone.
        "fuel" => store.set_fuel(u64::MAX - FUEL)?,
        _ => {}
    }
    let instance = Instance::new(&mut store, &module, &[])?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (name, size) = line.split_once(' ').unwrap_or((&line, "0"));
        let function = instance.get_typed_func::<i32, i64>(&mut store, name)?;
        let size = size.parse().map_err(|_| wasmtime::Error::msg("the size is a number"))?;
        let start = Instant::now();
        let result = function.call(&mut store, size)?;
        println!("{} {result}", start.elapsed().as_nanos());
        std::io::stdout().flush()?;
    }
    Ok(())
}
