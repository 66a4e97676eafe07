//! The part of a process that runs: its store, and the calls it makes one after the other.
//!
//! A process that has not had its first turn has no store: spawning costs its spawner little, a million queued
//! children take no memory of instances, and what an instance lacks is reported where it is known whose fault
//! it is.

use lunatic_jit::{
    FuncIndex, HostCall, Instance, InstantiateError, Progress, Resume, Store, StoreLimits, Value, WorkingSet,
};

use crate::report::name_of_entry;

use super::data::{Next, ProcessData};
use super::exit::{ExitReason, Limit};
use super::info::{Doing, Look, Usage};

/// The function that a process is for.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) function: FuncIndex,
    pub(crate) args: Box<[Value]>,
}

/// Bytes of memory limit for which a process may have an element in a table; they are counted apart.
const TABLE_ELEMENT: u64 = 16;

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
    /// Calls that have begun: those that come before the entry, and then the entry.
    begun: usize,
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
        let Some(Stage::Running(running)) = &mut self.stage else { return Some(Resume::Continue) };
        loop {
            let finish = match running.store.data_mut().next() {
                Next::Resume(how) => return Some(how),
                Next::Wait => return None,
                Next::Finish(finish) => finish,
            };
            let finished = match running.store.memory_and_data(running.instance) {
                Some((memory, data)) => finish(memory, data),
                None => finish(&mut [], running.store.data_mut()),
            };
            match finished {
                Ok(HostCall::Return(value)) => return Some(Resume::Return(value)),
                Ok(HostCall::Suspend) => {}
                Err(fault) => return Some(Resume::Fail(Box::new(fault))),
            }
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

    /// Leaves a hint of what it will need.
    pub(super) fn note_working_set(&self, set: &WorkingSet) {
        if let Some(Stage::Running(running)) = &self.stage {
            running.store.note_working_set(set);
        }
    }

    /// The reductions used so far.
    pub(super) fn reductions(&self) -> u64 {
        match &self.stage {
            Some(Stage::Running(running)) => running.store.reductions(),
            _ => 0,
        }
    }

    /// What it is and does, for a person.
    pub(super) fn look(&mut self) -> Look {
        let entry = self.entry.function;
        let frames = match &self.stage {
            Some(Stage::Running(running)) => running.store.backtrace(),
            _ => Vec::new(),
        };
        let data = self.data_mut();
        Look { info: data.info(Doing::Runnable), entry: name_of_entry(data.code.module(), entry), frames }
    }

    /// Leaves what was used so far where others may ask for it.
    pub(super) fn note_usage(&mut self) {
        if let Some(Stage::Running(running)) = &mut self.stage {
            let store = &mut running.store;
            store.data_mut().usage = Usage { reductions: store.reductions(), memory: store.memory_size() };
        }
    }

    fn start(&mut self) -> Result<(), ExitReason> {
        let Some(Stage::Starting(data)) = self.stage.take() else {
            unreachable!("only a body that has not started is started")
        };
        let code = data.code.clone();
        let max_memory = data.config.max_memory;
        let defaults = StoreLimits::default();
        let max_table_elements = defaults.max_table_elements.min(max_memory / TABLE_ELEMENT);
        let total = data.node().total_memory.clone();
        let limits = StoreLimits { max_memory, max_table_elements, total };
        let (store, instance) = code.instantiate(*data, limits);
        match instance {
            Ok(instance) => {
                let mut running = Running { store, instance, begun: 0 };
                let begun = running.begin_next(&self.entry);
                self.stage = Some(Stage::Running(running));
                begun.map(drop)
            }
            Err(error) => {
                self.stage = Some(Stage::Failed(store));
                Err(reason(error))
            }
        }
    }
}

impl Running {
    /// Begins the first call, or the one after that which has returned. Returns whether there is one.
    fn begin_next(&mut self, entry: &Entry) -> Result<bool, ExitReason> {
        let before = self.store.data().code.before();
        let (function, args) = match before.get(self.begun) {
            Some(&function) => (function, &[][..]),
            None if self.begun == before.len() => (entry.function, &entry.args[..]),
            None => return Ok(false),
        };
        self.begun += 1;
        self.store.begin(self.instance, function, args).map_err(reason)?;
        Ok(true)
    }
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
