//! Helpers of this crate's tests: they run modules, and find the charges in them.
#![allow(dead_code, reason = "each test file is a crate of its own and uses only part of this")]

pub(crate) mod corpus;
pub(crate) mod listing;
pub(crate) mod oracle;
pub(crate) mod program;

use std::ops::Range;

use wasmi::{Engine, Func, Linker, Module, Store, Val};
use wasmparser::{Operator, Parser, Payload};

use lunatic_instrument::abi::{CHARGE_FUNCTION, METERING_MODULE};
use lunatic_instrument::{Options, prepare};

/// Prepares a module that is known to be acceptable.
pub(crate) fn prepared(wasm: &[u8], max_charge: u32) -> Vec<u8> {
    prepared_with(wasm, max_charge, true)
}

/// As [`prepared`], with or without unrolled loops.
pub(crate) fn prepared_with(wasm: &[u8], max_charge: u32, unroll: bool) -> Vec<u8> {
    let mut options = Options::default();
    options.max_charge = max_charge;
    options.unroll = unroll;
    prepare(wasm, &options).expect("the module can be prepared").bytes
}

/// The outcome of running a module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The result of `run`; `None` if it trapped.
    pub(crate) result: Option<i32>,
    /// The reductions that were charged; 0 for a module that was not prepared.
    pub(crate) charged: i64,
    /// The number of yields.
    pub(crate) yields: u32,
}

/// Runs `run`, with a slice of this number of reductions at the beginning and at every yield.
pub(crate) fn run(wasm: &[u8], arguments: &[i32], slice: i64) -> Outcome {
    let engine = Engine::default();
    let module = Module::new(&engine, wasm).expect("the module is valid");
    // The rest of the slice, and the yields.
    let mut store = Store::new(&engine, (slice, 0_u32));
    let charge = Func::wrap(&mut store, move |mut caller: wasmi::Caller<'_, (i64, u32)>, cost: i32| {
        let (left, yields) = caller.data_mut();
        *left -= i64::from(cost);
        if *left < 0 {
            *left += slice;
            *yields += 1;
        }
    });
    let mut linker = Linker::new(&engine);
    linker.define(METERING_MODULE, CHARGE_FUNCTION, charge).expect("it is defined once");
    let instance = linker.instantiate_and_start(&mut store, &module).expect("all imports are there");
    let function = instance.get_func(&store, "run").expect("the module exports `run`");
    let arguments: Vec<Val> = arguments.iter().map(|value| Val::I32(*value)).collect();
    let mut results = [Val::I32(0)];
    let outcome = function.call(&mut store, &arguments, &mut results);
    let (left, yields) = *store.data();
    Outcome {
        result: outcome.ok().and_then(|()| results[0].i32()),
        charged: slice * (i64::from(yields) + 1) - left,
        yields,
    }
}

/// A charge in a module's bytes.
#[derive(Debug, Clone)]
pub(crate) struct ChargeAt {
    /// The bytes of its constant, and of its call.
    pub(crate) operators: [Range<usize>; 2],
    pub(crate) cost: i32,
}

impl ChargeAt {
    /// Returns all of its bytes.
    pub(crate) fn range(&self) -> Range<usize> {
        self.operators[0].start..self.operators[1].end
    }
}

/// Returns the charges of a prepared module.
pub(crate) fn charges(wasm: &[u8]) -> Vec<ChargeAt> {
    let mut charges = Vec::new();
    let charge_function = listing::Listing::of(wasm).charge_function;
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::CodeSectionEntry(body) = payload.expect("well-formed") else { continue };
        let mut reader = body.get_operators_reader().expect("well-formed");
        let mut operators = Vec::new();
        while !reader.eof() {
            let (operator, start) = reader.read_with_offset().expect("well-formed");
            operators.push((operator, start as usize..reader.original_position() as usize));
        }
        for pair in operators.windows(2) {
            if let [(Operator::I32Const { value }, constant), (Operator::Call { function_index }, call)] =
                pair
                && *function_index == charge_function
            {
                charges.push(ChargeAt { operators: [constant.clone(), call.clone()], cost: *value });
            }
        }
    }
    charges
}

/// Returns the module with these bytes replaced by `nop`s.
pub(crate) fn without(wasm: &[u8], range: Range<usize>) -> Vec<u8> {
    const NOP: u8 = 0x01;
    let mut mutant = wasm.to_vec();
    mutant[range].fill(NOP);
    mutant
}

/// Returns the module with the constant of a charge replaced by another that is not longer.
pub(crate) fn with_cost(wasm: &[u8], charge: &ChargeAt, cost: u32) -> Vec<u8> {
    let mut mutant = wasm.to_vec();
    // The first byte is the opcode, the rest the constant: a LEB128, padded to its previous length.
    let constant = &mut mutant[charge.operators[0].clone()][1..];
    let last = constant.len() - 1;
    for (index, byte) in constant.iter_mut().enumerate() {
        let more = if index < last { 0x80 } else { 0 };
        *byte = (cost >> (7 * index)) as u8 & 0x7f | more;
    }
    mutant
}

/// Returns pseudo-random bytes: a linear congruential generator is enough to steer a generator of modules.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}
