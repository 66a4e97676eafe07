//! The opinion of an execution: runs a module, counts what it does, operator by operator, and says whether what the
//! verifier claims of it is true of this run.
//!
//! Made for modules that somebody has tampered with, so nothing is believed: neither that charges stand where they
//! should, nor that the run ends. The module is run as a *counted copy*, in which every operator that costs something
//! is announced to the host just before it runs, and every return of a call just after it:
//!
//! ```wat
//! i32.const 1      ;; or 2 behind a call
//! global.set $event
//! call $yield      ;; the one function of the host that is there anyway, so that no index changes
//! ```
//!
//! The operators of a complete charge are free, and are not announced; those of an incomplete one are ordinary work.
//! The counter begins at zero and is never refilled: what was charged is minus the counter, and every charge has to
//! yield, which is watched as well. The costs are written down here once more, the fourth time (see `cost.rs`).

use wasm_encoder::{Encode, Instruction};
use wasmi::{AsContext, Caller, Engine, Error, Func, Global, Linker, Module, Mutability, Store, Val};
use wasmparser::Operator;

use lunatic_instrument::Report;
use lunatic_instrument::abi::{METERING_MODULE, REDUCTIONS_GLOBAL, YIELD_FUNCTION};

use super::listing::{Body, CHARGE_LENGTH, Listing};

/// A run that does more than this is given up: it may be one that never ends.
const MAX_WORK: u64 = 3_000;

/// The name under which a counted copy exports the global that says why it calls the host.
const EVENT_GLOBAL: &str = "oracle.event";

/// How much work the verifier says there is between two charges.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    /// The most work if no call returns in between.
    pub(crate) at_once: u64,
    /// How much more with every return in between.
    pub(crate) after_a_return: u64,
}

impl Claim {
    /// What is claimed of a module that was accepted with this report.
    pub(crate) fn of(report: &Report) -> Claim {
        Claim { at_once: report.bound.into(), after_a_return: report.return_bound.into() }
    }
}

/// What was seen of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) ending: Ending,
    /// How much work was done.
    pub(crate) work: u64,
    /// How much was charged.
    pub(crate) charged: i64,
    /// At some moment, more work had been done than charged.
    pub(crate) unpaid: bool,
    /// Some charge did not yield, although the counter was below zero.
    pub(crate) missed_yield: bool,
    /// The stretch between two charges that came nearest to what the claim allows, or passed it most.
    pub(crate) longest: Stretch,
    /// By how much that passed the claim. Zero or less if none did.
    pub(crate) overrun: i64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With these results, as text: floats are compared by what is shown of them.
    Results(String),
    Trap(String),
    /// It was given up.
    Endless,
}

/// What happened between two charges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) work: u64,
    /// How many calls returned.
    pub(crate) returns: u64,
}

impl Observation {
    /// What of the claim was not true of this run, if anything.
    pub(crate) fn objection(&self) -> Option<String> {
        let what = if self.unpaid {
            "work was done before it was charged"
        } else if self.missed_yield {
            "a charge did not yield"
        } else if self.overrun > 0 {
            "more work was done between two charges than claimed"
        } else {
            return None;
        };
        Some(format!("{what}: {self:?}"))
    }
}

/// Runs modules. What they share is here.
pub(crate) struct Oracle {
    engine: Engine,
}

/// One call of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) export: String,
    pub(crate) arguments: Vec<i32>,
}

/// A module that is ready to be run and watched.
pub(crate) struct Counted {
    module: Module,
    claim: Claim,
}

impl Oracle {
    pub(crate) fn new() -> Oracle {
        Oracle { engine: Engine::default() }
    }

    /// Makes the counted copy of a valid module that was prepared, or looks as if.
    pub(crate) fn counted(&self, listing: &Listing<'_>, claim: Claim) -> Counted {
        let copy = counted_copy(listing);
        let module = Module::new(&self.engine, &copy[..]).expect("a counted copy of a valid module is valid");
        Counted { module, claim }
    }

    /// Calls an export of an instance of its own, and watches.
    pub(crate) fn run(&self, counted: &Counted, invocation: &Invocation) -> Observation {
        let (ending, watch) = self.call(&counted.module, counted.claim, invocation);
        Observation { ending, ..watch.observed }
    }

    /// Calls an export of a module as it is. It must be one that ends.
    pub(crate) fn run_unwatched(&self, wasm: &[u8], invocation: &Invocation) -> Ending {
        let module = Module::new(&self.engine, wasm).expect("the module is valid");
        self.call(&module, Claim { at_once: 0, after_a_return: 0 }, invocation).0
    }

    /// Every export that is a function, with each of these as its arguments, as many as it takes, which are `i32`s.
    pub(crate) fn invocations(&self, wasm: &[u8], arguments: &[[i32; 2]]) -> Vec<Invocation> {
        let module = Module::new(&self.engine, wasm).expect("the module is valid");
        let functions = module
            .exports()
            .filter_map(|export| export.ty().func().map(|ty| (export.name().to_owned(), ty.params().len())));
        let calls = functions.flat_map(|(export, parameters)| {
            let mut calls: Vec<_> = arguments
                .iter()
                .map(|arguments| Invocation {
                    export: export.clone(),
                    arguments: arguments[..parameters].to_vec(),
                })
                .collect();
            calls.dedup();
            calls
        });
        calls.collect()
    }

    fn call(&self, module: &Module, claim: Claim, invocation: &Invocation) -> (Ending, Watch) {
        let mut store = Store::new(&self.engine, Watch::new(claim));
        let counter = Global::new(&mut store, Val::I64(0), Mutability::Var);
        let watch = Func::wrap(&mut store, move |mut caller: Caller<'_, Watch>| {
            let event = take_event(&mut caller);
            let left = counter.get(&caller).i64().expect("the counter is an i64");
            caller.data_mut().event(event, left)
        });
        let mut linker = Linker::new(&self.engine);
        linker.define(METERING_MODULE, REDUCTIONS_GLOBAL, counter).expect("the first of this name");
        linker.define(METERING_MODULE, YIELD_FUNCTION, watch).expect("the first of this name");
        let instance = linker.instantiate_and_start(&mut store, module).expect("all imports are there");
        let function = instance.get_func(&store, &invocation.export).expect("the export exists");
        let arguments: Vec<_> = invocation.arguments.iter().map(|value| Val::I32(*value)).collect();
        let mut results = vec![Val::I32(0); function.ty(&store).results().len()];
        let outcome = function.call(&mut store, &arguments, &mut results);
        let left = counter.get(&store).i64().expect("the counter is an i64");
        let mut watch = store.into_data();
        watch.observed.charged = left.wrapping_neg();
        watch.observed.missed_yield |= left < watch.left_at_yield;
        let ending = match outcome {
            Ok(()) => Ending::Results(format!("{results:?}")),
            Err(_) if watch.observed.work > MAX_WORK => Ending::Endless,
            Err(error) => Ending::Trap(error.to_string()),
        };
        (ending, watch)
    }
}

/// Why the host was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// By a charge.
    Yield = 0,
    /// An operator that costs one is next.
    Work = 1,
    /// A call has returned.
    Return = 2,
}

/// The module with everything announced. See above.
pub(crate) fn counted_copy(listing: &Listing<'_>) -> Vec<u8> {
    let announcement = |event: Event| {
        let mut bytes = Vec::new();
        Instruction::I32Const(event as i32).encode(&mut bytes);
        Instruction::GlobalSet(listing.globals).encode(&mut bytes);
        Instruction::Call(listing.reserved.yield_function).encode(&mut bytes);
        bytes
    };
    let (work, returned) = (announcement(Event::Work), announcement(Event::Return));
    let body = |body: &Body<'_>| {
        let mut copy = body.locals.to_vec();
        let mut at = 0;
        while at < body.operators.len() {
            if listing.reserved.charge_at(&body.operators, at) {
                copy.extend(body.bytes[at..at + CHARGE_LENGTH].concat());
                at += CHARGE_LENGTH;
                continue;
            }
            if costs(&body.operators[at]) {
                copy.extend(&work);
            }
            copy.extend(body.bytes[at]);
            if comes_back(&body.operators[at]) {
                copy.extend(&returned);
            }
            at += 1;
        }
        copy
    };
    listing.with_global(EVENT_GLOBAL, listing.bodies.iter().map(body))
}

/// Whether an operator costs one. All others are free.
fn costs(operator: &Operator<'_>) -> bool {
    !matches!(
        operator,
        Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::TryTable { .. }
            | Operator::Try { .. }
            | Operator::Catch { .. }
            | Operator::CatchAll
            | Operator::Delegate { .. }
            | Operator::Else
            | Operator::End
            | Operator::Nop
            | Operator::Drop
    )
}

/// Whether what follows an operator runs after a return.
fn comes_back(operator: &Operator<'_>) -> bool {
    matches!(operator, Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::CallRef { .. })
}

/// What an instance that is running says, once.
fn take_event(caller: &mut Caller<'_, Watch>) -> Event {
    // A module that is not a counted copy has no such global, and only yields.
    let Some(global) = caller
        .data()
        .event_global
        .or_else(|| caller.get_export(EVENT_GLOBAL).and_then(wasmi::Extern::into_global))
    else {
        return Event::Yield;
    };
    caller.data_mut().event_global = Some(global);
    let event = global.get(caller.as_context()).i32();
    global.set(caller, Val::I32(Event::Yield as i32)).expect("the global is mutable");
    match event {
        Some(1) => Event::Work,
        Some(2) => Event::Return,
        _ => Event::Yield,
    }
}

/// What is known at a moment of a run.
struct Watch {
    claim: Claim,
    /// The global that says why the host is called, once it was looked up.
    event_global: Option<Global>,
    /// The counter when it was last looked at.
    left: i64,
    /// The counter at the last yield.
    left_at_yield: i64,
    /// What happened since the last charge.
    stretch: Stretch,
    observed: Observation,
}

impl Watch {
    fn new(claim: Claim) -> Watch {
        let observed = Observation {
            ending: Ending::Endless,
            work: 0,
            charged: 0,
            unpaid: false,
            missed_yield: false,
            longest: Stretch::default(),
            overrun: i64::MIN,
        };
        Watch { claim, event_global: None, left: 0, left_at_yield: 0, stretch: Stretch::default(), observed }
    }

    /// Takes what happened, and what is left on the counter.
    fn event(&mut self, event: Event, left: i64) -> Result<(), Error> {
        if left < self.left {
            self.stretch = Stretch::default();
        }
        self.left = left;
        match event {
            Event::Yield => self.left_at_yield = left,
            Event::Return => self.stretch.returns += 1,
            Event::Work => self.work(),
        }
        if self.observed.work > MAX_WORK { Err(Error::new("given up")) } else { Ok(()) }
    }

    fn work(&mut self) {
        self.stretch.work += 1;
        self.observed.work += 1;
        self.observed.unpaid |= i128::from(self.observed.work) > -i128::from(self.left);
        self.observed.missed_yield |= self.left < self.left_at_yield;
        let allowed = self.claim.at_once + self.claim.after_a_return * self.stretch.returns;
        let overrun = self.stretch.work as i64 - allowed as i64;
        if overrun > self.observed.overrun {
            self.observed.overrun = overrun;
            self.observed.longest = self.stretch;
        }
    }
}
