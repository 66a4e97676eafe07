//! The part of a process that runs: its store, and the calls that it makes one after the other.
//!
//! A process that has not had its first turn has no store and no data. So spawning costs the spawner little, and a
//! million queued children take no memory of instances. If an instance cannot be made, the process itself fails, and
//! the report names it.

use std::sync::Arc;

use lunatic_jit::{
    FuncIndex, HostCall, Instance, InstantiateError, Progress, Resume, Store, StoreLimits, Value, WorkingSet,
};

use crate::config::ProcessConfig;
use crate::extensions::Extensions;
use crate::report::name_of_entry;
use lunatic_resources::Permit;

use super::data::{Backlog, Next, ProcessData};
use super::exit::{ExitReason, Limit};
use super::fault_throttle::FaultThrottle;
use super::info::{Info, RunState, Snapshot, Usage};
use super::port::Port;
use super::wait::Reason;
use super::{Process, ProcessId, ProcessTemplate, Relations, WaitsFor};

/// The function that a process runs, and its arguments.
#[derive(Clone, Debug)]
pub struct EntryPoint {
    /// The function that is called.
    pub function: FuncIndex,
    /// Its arguments.
    pub args: Box<[Value]>,
}

/// Bytes of linear memory that take too long for a worker to free.
const LARGE_MEMORY: u64 = 32 << 20;

/// Bytes of the memory limit for each element that the process may have in tables. Tables are counted apart from
/// memories.
const TABLE_ELEMENT: u64 = 16;

/// The body of a process. See the module documentation.
pub(super) struct Body {
    stage: Option<Stage>,
    entry: EntryPoint,
    /// Shortens the slices of a process that causes many page faults.
    throttle: FaultThrottle,
    /// The links and monitors, while the store is made: whatever goes wrong there, other processes must be notified
    /// of the end.
    relations: Relations,
}

enum Stage {
    Starting(SpawnParams),
    Running(Running),
    /// A port: it runs no code, and the embedder receives its messages.
    Port(Box<Port>),
    /// There is no instance, for this reason. The data is kept to be released in order.
    Failed(Store<ProcessData>, Option<ExitReason>),
}

/// What a process begins with.
pub struct SpawnParams {
    /// The process itself.
    pub process: Arc<Process>,
    /// The spawner, which will most likely receive the first message.
    pub spawner: Option<Arc<Process>>,
    /// Links and monitors from the beginning.
    pub relations: Relations,
    /// The permit from the configuration's quota, if it has one.
    pub place: Option<Permit>,
    /// State that host functions find for the process from the beginning.
    pub extensions: Option<Box<Extensions>>,
}

struct Running {
    store: Store<ProcessData>,
    instance: Instance,
    /// The number of calls that have begun: those that come before the entry, and then the entry.
    begun: usize,
}

impl Body {
    pub(super) fn starting(params: SpawnParams, entry: EntryPoint) -> Body {
        Body {
            stage: Some(Stage::Starting(params)),
            entry,
            throttle: FaultThrottle::default(),
            relations: Relations::default(),
        }
    }

    /// Creates a body that runs no code.
    pub(super) fn of_port(port: Port, entry: EntryPoint) -> Body {
        Body {
            stage: Some(Stage::Port(Box::new(port))),
            entry,
            throttle: FaultThrottle::default(),
            relations: Relations::default(),
        }
    }

    /// Returns the data of a port; `None` if the process runs code.
    pub(super) fn port_mut(&mut self) -> Option<&mut ProcessData> {
        match &mut self.stage {
            Some(Stage::Port(port)) => Some(&mut port.data),
            _ => None,
        }
    }

    /// Returns the results of the entry, once it has returned.
    pub(super) fn results(&self) -> Vec<Value> {
        match &self.stage {
            Some(Stage::Running(running)) => running.store.results().to_vec(),
            _ => Vec::new(),
        }
    }

    pub(super) fn entry(&self) -> FuncIndex {
        self.entry.function
    }

    /// Returns the data. To be called from the first turn on.
    pub(super) fn data_mut(&mut self) -> &mut ProcessData {
        self.data_if_any().expect("who has a turn has been started")
    }

    fn data_if_any(&mut self) -> Option<&mut ProcessData> {
        match self.stage.as_mut()? {
            Stage::Starting(_) => None,
            Stage::Port(port) => Some(&mut port.data),
            Stage::Running(Running { store, .. }) | Stage::Failed(store, _) => Some(store.data_mut()),
        }
    }

    /// Ends the current wait, so that its timer does not fire.
    pub(super) fn end_wait(&mut self) {
        if let Some(data) = self.data_if_any() {
            data.end_wait();
        }
    }

    /// Takes the links and monitors of which other processes must be notified.
    pub(super) fn take_relations(&mut self) -> Relations {
        if let Some(data) = self.data_if_any() {
            return std::mem::take(&mut data.relations);
        }
        match &mut self.stage {
            Some(Stage::Starting(params)) => std::mem::take(&mut params.relations),
            _ => std::mem::take(&mut self.relations),
        }
    }

    /// Returns whether there are no links and monitors of which others must be notified.
    pub(super) fn is_alone(&mut self) -> bool {
        match self.data_if_any() {
            Some(data) => data.relations.is_none(),
            // A process that has not started has them elsewhere.
            None => false,
        }
    }

    /// Takes the signals that were not handled.
    pub(super) fn take_unhandled(&mut self) -> Option<Backlog> {
        self.data_if_any().map(ProcessData::take_unhandled)
    }

    /// Returns whether dropping it may take long, because of many messages or much memory.
    pub(super) fn is_large(&mut self) -> bool {
        let memory = match &self.stage {
            Some(Stage::Running(running)) => running.store.memory_size(),
            _ => 0,
        };
        memory >= LARGE_MEMORY || self.data_if_any().is_some_and(|data| data.is_large())
    }

    /// Returns the reason of the current wait, if there is one.
    pub(super) fn wait_reason(&mut self) -> Option<&Reason> {
        self.data_if_any()?.wait_reason()
    }

    /// Returns whether it waits only for messages that are not there yet.
    pub(super) fn waits_for_messages(&mut self) -> bool {
        self.data_mut().waits_for_messages()
    }

    /// Returns how the activation continues, or `None` if it has to wait.
    pub(super) fn resolve(&mut self) -> Option<Resume> {
        let running = match &mut self.stage {
            Some(Stage::Running(running)) => running,
            Some(Stage::Port(port)) => {
                port.ring();
                return None;
            }
            _ => return Some(Resume::Continue),
        };
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

    /// Runs the activation for a slice. Returns how it stopped and the reductions that it used.
    #[inline(always)] // As `Store::resume` is, and for the same reason.
    pub(super) fn advance(&mut self, how: Resume, slice: u64) -> Result<(Progress, u64), ExitReason> {
        let running = match self.stage.as_mut().expect("the stage is only away inside `start`") {
            Stage::Running(running) => running,
            Stage::Failed(_, reason) => return Err(reason.take().expect("it ends by it, once")),
            Stage::Starting(_) => unreachable!("it is started at the beginning of its first turn"),
            Stage::Port(_) => unreachable!("a port has nothing to go on with"),
        };
        let before = running.store.reductions();
        let mut progress = running.store.resume(how, slice);
        if matches!(progress, Progress::Returned) && running.begin_next(&self.entry)? {
            progress = Progress::Yielded;
        }
        Ok((progress, running.store.reductions() - before))
    }

    /// Notes what the next turn will touch.
    pub(super) fn note_working_set(&self, set: &WorkingSet) {
        if let Some(Stage::Running(running)) = &self.stage {
            running.store.note_working_set(set);
        }
    }

    /// Returns the reductions used so far.
    pub(super) fn reductions(&self) -> u64 {
        match &self.stage {
            Some(Stage::Running(running)) => running.store.reductions(),
            _ => 0,
        }
    }

    /// Returns a snapshot for reports.
    pub(super) fn snapshot(&mut self, process: &Process) -> Snapshot {
        let entry = self.entry.function;
        let frames = match &self.stage {
            Some(Stage::Running(running)) => running.store.backtrace(),
            _ => Vec::new(),
        };
        let info = match self.stage.as_mut().expect("the stage is only away inside `start`") {
            Stage::Starting(params) => Info::at_first(&params.process, &params.relations),
            Stage::Port(port) => port.data.info(RunState::Waits(WaitsFor::Message)),
            Stage::Running(Running { store, .. }) | Stage::Failed(store, _) => {
                store.data().info(RunState::Runnable)
            }
        };
        Snapshot { info, entry: name_of_entry(process.code().module(), entry), frames }
    }

    /// Copies the usage to the data, where other processes can ask for it.
    pub(super) fn note_usage(&mut self) {
        if let Some(Stage::Running(running)) = &mut self.stage {
            let store = &mut running.store;
            let memory = store.memory_size();
            store.data_mut().usage = Usage { reductions: store.reductions(), memory };
            self.throttle.note_memory(memory);
        }
    }

    /// Returns what shortens its slices.
    pub(super) fn throttle(&mut self) -> &mut FaultThrottle {
        &mut self.throttle
    }

    /// Creates the data, the store and the first call, unless they exist. If that fails, [`Body::advance`] returns
    /// the reason; a process that has been killed meanwhile ends because of the kill.
    pub(super) fn start(&mut self) {
        if !matches!(self.stage, Some(Stage::Starting(_))) {
            return;
        }
        let Some(Stage::Starting(mut params)) = self.stage.take() else {
            unreachable!("it was looked at above")
        };
        let template = params.process.template().clone();
        let limits = limits(&template, params.process.id());
        self.relations = std::mem::take(&mut params.relations);
        let (mut store, instance) = template.code.instantiate(ProcessData::new(params), limits);
        store.data_mut().relations = std::mem::take(&mut self.relations);
        self.throttle.note_memory(store.memory_size());
        self.stage = Some(match instance {
            Ok(instance) => {
                let mut running = Running { store, instance, begun: 0 };
                match running.begin_next(&self.entry) {
                    Ok(_) => Stage::Running(running),
                    Err(reason) => Stage::Failed(running.store, Some(reason)),
                }
            }
            Err(error) => Stage::Failed(store, Some(reason(error))),
        });
    }
}

fn limits(template: &ProcessTemplate, process: ProcessId) -> StoreLimits {
    let max_memory = template.config.max_memory;
    let defaults = StoreLimits::default();
    let max_table_elements = defaults.max_table_elements.min(max_memory / TABLE_ELEMENT);
    let ProcessConfig { stack_size, max_stack, .. } = *template.config;
    let stack_size = Some(if template.node.is_first(process) { max_stack } else { stack_size });
    StoreLimits { max_memory, max_table_elements, stack_size, total: template.node.total_memory.clone() }
}

impl Running {
    /// Begins the first call, or the one after the call that has returned. Returns whether there is one.
    fn begin_next(&mut self, entry: &EntryPoint) -> Result<bool, ExitReason> {
        let before = self.store.data().process.code().before();
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
