//! The part of a process that runs: its store, and the calls it makes one after the other.
//!
//! A process that has not had its first turn has no store: spawning costs its spawner little, a million queued
//! children take no memory of instances, and what an instance lacks is reported where it is known whose fault
//! it is.

use lunatic_jit::{
    FuncIndex, FuncType, Instance, InstantiateError, Progress, Resume, Store, StoreLimits, Value,
};

use super::data::ProcessData;
use super::exit::{ExitReason, Limit};

/// The function that a process is for.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) function: FuncIndex,
    pub(crate) args: Box<[Value]>,
}

/// The export that a module without a main function initialises itself by, per WASI.
const INITIALIZE: &str = "_initialize";

/// See the module.
pub(super) struct Body {
    stage: Option<Stage>,
    entry: Entry,
}

enum Stage {
    /// Boxed: it moves into the store, and the process outlives it.
    Starting(Box<ProcessData>),
    Running(Running),
    /// There is no instance; the data is kept to be taken apart.
    Failed(Store<ProcessData>),
}

struct Running {
    store: Store<ProcessData>,
    instance: Instance,
    phase: Phase,
}

/// Which call is running. A start function and an initialiser come before the entry, where there are any.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Start,
    Initialize,
    Entry,
}

impl Body {
    pub(super) fn starting(data: ProcessData, entry: Entry) -> Body {
        Body { stage: Some(Stage::Starting(Box::new(data))), entry }
    }

    pub(super) fn entry(&self) -> FuncIndex {
        self.entry.function
    }

    pub(super) fn data_mut(&mut self) -> &mut ProcessData {
        match self.stage.as_mut().expect("the stage is only away inside `start`") {
            Stage::Starting(data) => data,
            Stage::Running(running) => running.store.data_mut(),
            Stage::Failed(store) => store.data_mut(),
        }
    }

    /// How the activation goes on, or `None` when it has to wait.
    pub(super) fn resolve(&mut self) -> Option<Resume> {
        match self.stage.as_mut().expect("the stage is only away inside `start`") {
            Stage::Starting(_) | Stage::Failed(_) => Some(Resume::Continue),
            Stage::Running(running) => match running.store.memory_and_data(running.instance) {
                Some((memory, data)) => data.resolve(memory),
                None => running.store.data_mut().resolve(&mut []),
            },
        }
    }

    /// Runs the activation for a slice. Returns what it did and the reductions it used.
    pub(super) fn advance(&mut self, how: Resume, slice: u64) -> Result<(Progress, u64), ExitReason> {
        if let Some(Stage::Starting(_)) = self.stage {
            self.start()?;
        }
        let Some(Stage::Running(running)) = &mut self.stage else {
            unreachable!("a body that failed to start has ended")
        };
        let before = running.store.reductions();
        let mut progress = running.store.resume(how, slice);
        if matches!(progress, Progress::Returned) && running.begin_next(&self.entry)? {
            progress = Progress::Yielded;
        }
        Ok((progress, running.store.reductions() - before))
    }

    /// The reductions used so far.
    pub(super) fn reductions(&self) -> u64 {
        match &self.stage {
            Some(Stage::Running(running)) => running.store.reductions(),
            _ => 0,
        }
    }

    fn start(&mut self) -> Result<(), ExitReason> {
        let Some(Stage::Starting(data)) = self.stage.take() else {
            unreachable!("only a body that has not started is started")
        };
        let (code, config) = (data.code.clone(), data.config.clone());
        let limits = StoreLimits { max_memory: data.config.max_memory, ..StoreLimits::default() };
        let engine = data.node().loader.engine.clone();
        let mut store = Store::new(&engine, *data, limits);
        match code.instantiate(&mut store, &config) {
            Ok(instance) => {
                let mut running = Running { store, instance, phase: Phase::Start };
                let begun = running.begin(Phase::Start, &self.entry);
                self.stage = Some(Stage::Running(running));
                begun
            }
            Err(error) => {
                self.stage = Some(Stage::Failed(store));
                Err(reason(error))
            }
        }
    }
}

impl Running {
    /// Begins the call after the one that returned. Returns whether there is one.
    fn begin_next(&mut self, entry: &Entry) -> Result<bool, ExitReason> {
        match self.phase {
            Phase::Start => self.begin(Phase::Initialize, entry)?,
            Phase::Initialize => self.begin(Phase::Entry, entry)?,
            Phase::Entry => return Ok(false),
        }
        Ok(true)
    }

    /// Begins the call of a phase, or of the first one after it that the module has.
    fn begin(&mut self, phase: Phase, entry: &Entry) -> Result<(), ExitReason> {
        let module = self.store.data().code.module().clone();
        let start = module.start_function().filter(|_| phase == Phase::Start);
        let initialize = module
            .exported_function(INITIALIZE)
            .filter(|function| is_plain(&module.function_type(*function)))
            .filter(|_| phase != Phase::Entry);
        let (phase, function, args) = match (start, initialize) {
            (Some(start), _) => (Phase::Start, start, &[][..]),
            (None, Some(initialize)) => (Phase::Initialize, initialize, &[][..]),
            (None, None) => (Phase::Entry, entry.function, &entry.args[..]),
        };
        self.phase = phase;
        self.store.begin(self.instance, function, args).map_err(reason)
    }
}

fn is_plain(ty: &FuncType) -> bool {
    ty.params.is_empty() && ty.results.is_empty()
}

fn reason(error: InstantiateError) -> ExitReason {
    match error {
        InstantiateError::Link(_) | InstantiateError::Metering | InstantiateError::MemoryLayout => {
            unreachable!("a linked module imports host functions only")
        }
        InstantiateError::Limit(what) | InstantiateError::Exhausted(what) => {
            ExitReason::LimitExceeded(Limit::Memory(what))
        }
        InstantiateError::Trap(trap) => ExitReason::Trap(trap),
    }
}
