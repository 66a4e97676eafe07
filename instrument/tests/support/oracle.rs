//! The execution oracle: runs a module, counts what it does, operator by operator, and decides whether the
//! verifier's claims are true of this run.
//!
//! It is made for modules that were tampered with, so it assumes nothing: neither that charges are where they
//! should be, nor that the run ends. The module is run as a *counted copy*, in which every operator that
//! costs something is announced to the host just before it runs, and every return of a call just after it:
//!
//! ```wat
//! i32.const 0x80000000   ;; or 0x80000001 behind a call
//! call $charge           ;; the host's function that exists anyway, so that no index changes
//! ```
//!
//! The operators of a complete charge are free, and are not announced. Those of an incomplete one are
//! ordinary work, and charge whatever their constant is. The costs are written down here once more, for the
//! fourth time (see `cost.rs`).

use wasm_encoder::{Encode, Instruction};
use wasmi::{Caller, Engine, Error, Func, Linker, Module, Store, Val};
use wasmparser::Operator;

use lunatic_instrument::Report;
use lunatic_instrument::abi::{CHARGE_FUNCTION, METERING_MODULE};

use super::listing::{Body, CHARGE_LENGTH, Listing};

/// A run that does more work is stopped: it may never end.
const MAX_WORK: u64 = 3_000;

/// The work between two charges that the verifier claims.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    /// The most work if no call returns in between.
    pub(crate) at_once: u64,
    /// The additional work for each return in between.
    pub(crate) after_a_return: u64,
}

impl Claim {
    /// Returns the claim about a module that was accepted with this report.
    pub(crate) fn of(report: &Report) -> Claim {
        Claim { at_once: report.bound.into(), after_a_return: report.return_bound.into() }
    }
}

/// The observations of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) ending: Ending,
    /// The work that was done.
    pub(crate) work: u64,
    /// The reductions that were charged.
    pub(crate) charged: i64,
    /// Whether at some moment more work had been done than charged.
    pub(crate) unpaid: bool,
    /// The stretch between two charges that came nearest to the claim, or exceeded it most.
    pub(crate) longest: Stretch,
    /// The amount by which it exceeded the claim. Zero or less if none did.
    pub(crate) overrun: i64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With these results, as text: floats are compared as they are shown.
    Results(String),
    Trap(String),
    /// It was stopped.
    Endless,
}

/// What happened between two charges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) work: u64,
    /// The number of calls that returned.
    pub(crate) returns: u64,
}

impl Observation {
    /// Returns what is not true of the claim for this run, if anything.
    pub(crate) fn objection(&self) -> Option<String> {
        let what = if self.unpaid {
            "work was done before it was charged"
        } else if self.overrun > 0 {
            "more work was done between two charges than claimed"
        } else {
            return None;
        };
        Some(format!("{what}: {self:?}"))
    }
}

/// Runs modules, and holds what they share.
pub(crate) struct Oracle {
    engine: Engine,
}

/// A call of an export.
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

    /// Makes the counted copy of a valid module that was prepared, or looks as if it was.
    pub(crate) fn counted(&self, listing: &Listing<'_>, claim: Claim) -> Counted {
        let copy = counted_copy(listing);
        let module = Module::new(&self.engine, &copy[..]).expect("a counted copy of a valid module is valid");
        Counted { module, claim }
    }

    /// Calls an export in a new instance, and watches.
    pub(crate) fn run(&self, counted: &Counted, invocation: &Invocation) -> Observation {
        let (ending, watch) = self.call(&counted.module, counted.claim, invocation);
        Observation { ending, ..watch.observed }
    }

    /// Calls an export of a module as it is. The call must end.
    pub(crate) fn run_unwatched(&self, wasm: &[u8], invocation: &Invocation) -> Ending {
        let module = Module::new(&self.engine, wasm).expect("the module is valid");
        self.call(&module, Claim { at_once: 0, after_a_return: 0 }, invocation).0
    }

    /// Returns calls of every exported function, with each of these arguments, as many as it takes, which are
    /// `i32`s.
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
        let watch = Func::wrap(&mut store, |mut caller: Caller<'_, Watch>, value: i32| {
            if caller.data_mut().event(Event::of(value)) { Ok(()) } else { Err(Error::new("given up")) }
        });
        let mut linker = Linker::new(&self.engine);
        linker.define(METERING_MODULE, CHARGE_FUNCTION, watch).expect("the first of this name");
        let instance = linker.instantiate_and_start(&mut store, module).expect("all imports are there");
        let function = instance.get_func(&store, &invocation.export).expect("the export exists");
        let arguments: Vec<_> = invocation.arguments.iter().map(|value| Val::I32(*value)).collect();
        let mut results = vec![Val::I32(0); function.ty(&store).results().len()];
        let outcome = function.call(&mut store, &arguments, &mut results);
        let watch = store.into_data();
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
pub(crate) enum Event {
    /// By a charge of this amount.
    Charge(i32),
    /// An operator that costs one follows.
    Work,
    /// A call has returned.
    Return,
}

impl Event {
    /// The constants of announcements, which no charge has.
    const WORK: i32 = i32::MIN;
    const RETURN: i32 = i32::MIN + 1;

    pub(crate) fn of(value: i32) -> Event {
        match value {
            Event::WORK => Event::Work,
            Event::RETURN => Event::Return,
            cost => Event::Charge(cost),
        }
    }
}

/// Returns the module with everything announced: see above.
pub(crate) fn counted_copy(listing: &Listing<'_>) -> Vec<u8> {
    let announcement = |event: i32| {
        let mut bytes = Vec::new();
        Instruction::I32Const(event).encode(&mut bytes);
        Instruction::Call(listing.charge_function).encode(&mut bytes);
        bytes
    };
    let (work, returned) = (announcement(Event::WORK), announcement(Event::RETURN));
    let body = |body: &Body<'_>| {
        let mut copy = body.locals.to_vec();
        let mut at = 0;
        while at < body.operators.len() {
            if listing.charge_at(&body.operators, at) {
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
    listing.with_bodies(listing.bodies.iter().map(body))
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

/// What is known at a moment of a run.
#[derive(Debug)]
pub(crate) struct Watch {
    claim: Claim,
    /// What happened since the last charge.
    stretch: Stretch,
    pub(crate) observed: Observation,
}

impl Watch {
    pub(crate) fn new(claim: Claim) -> Watch {
        let observed = Observation {
            ending: Ending::Endless,
            work: 0,
            charged: 0,
            unpaid: false,
            longest: Stretch::default(),
            overrun: i64::MIN,
        };
        Watch { claim, stretch: Stretch::default(), observed }
    }

    /// Takes an event, and returns whether to continue.
    pub(crate) fn event(&mut self, event: Event) -> bool {
        match event {
            Event::Charge(cost) => {
                self.observed.charged += i64::from(cost);
                // A charge of nothing does not end the stretch.
                if cost > 0 {
                    self.stretch = Stretch::default();
                }
            }
            Event::Return => self.stretch.returns += 1,
            Event::Work => self.work(),
        }
        self.observed.work <= MAX_WORK
    }

    fn work(&mut self) {
        self.stretch.work += 1;
        self.observed.work += 1;
        self.observed.unpaid |= i128::from(self.observed.work) > i128::from(self.observed.charged);
        let allowed = self.claim.at_once + self.claim.after_a_return * self.stretch.returns;
        let overrun = self.stretch.work as i64 - allowed as i64;
        if overrun > self.observed.overrun {
            self.observed.overrun = overrun;
            self.observed.longest = self.stretch;
        }
    }
}
