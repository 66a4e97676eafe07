//! A process's connections and statements.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lunatic_core::Fault;
use lunatic_core::process::ResourceTable;
use lunatic_core::{HostState, Node, ProcessData};
use lunatic_sqlite::{
    Connection, Environment, Held, Owner, OwnerLimits, SqlError, StatementId, Steps, Tenant,
};

use crate::{Capable, Services};

pub(super) const CONNECTIONS: &str = "connections";
pub(super) const CONNECTION: &str = "connection";
pub(super) const STATEMENTS: &str = "statements";
pub(super) const STATEMENT: &str = "statement";

/// What a process has of SQLite. When the process ends, what runs for it is interrupted, and all of it is closed where
/// closing may take its time.
pub(crate) struct Databases {
    pub(super) owner: Arc<Owner>,
    pub(super) connections: ResourceTable<Opened>,
    pub(super) statements: ResourceTable<Statement>,
    /// For whom its statements run.
    pub(super) tenant: Tenant,
    node: Arc<Node>,
}

/// A connection.
pub(super) struct Opened {
    pub(super) shared: Shared,
    /// Rows changed, by the last that changed any.
    pub(super) changes: u32,
    /// What went wrong in the last call.
    pub(super) error: Option<SqlError>,
}

/// A statement.
pub(super) struct Statement {
    /// Whose it is.
    pub(super) connection: u64,
    pub(super) shared: Shared,
    pub(super) id: StatementId,
    pub(super) only_reads: bool,
    /// How many values can be bound.
    pub(super) parameters: usize,
    pub(super) columns: Columns,
    /// Where it is.
    pub(super) row: Option<Arc<Held>>,
    pub(super) ahead: Ahead,
}

/// What a statement that only reads has come to already, though its guest has not.
///
/// A row that is fetched alone costs two ways between threads, many times what SQLite needs for it. So a guest that asks
/// for row after row gets more of them each time. It cannot tell: what a query sees of changes that are made while it
/// runs is not defined.
#[derive(Default)]
pub(super) struct Ahead {
    pub(super) rows: VecDeque<Held>,
    /// How it ended behind them.
    pub(super) end: Option<Result<(), SqlError>>,
    /// Rows that the next fetch is for, less one.
    more: usize,
}

/// Rows that are fetched at a time, at most.
const MAX_ROWS_AHEAD: usize = 64;

impl Ahead {
    /// Whether there is something that the guest has not come to.
    pub(super) fn has_any(&self) -> bool {
        !self.rows.is_empty() || self.end.is_some()
    }

    /// How many rows to fetch: one at first, then twice as many each time.
    pub(super) fn rows_to_fetch(&mut self) -> usize {
        let rows = self.more + 1;
        self.more = (2 * rows).min(MAX_ROWS_AHEAD) - 1;
        rows
    }

    /// Keeps what was fetched.
    pub(super) fn fetched(&mut self, steps: Steps) {
        self.rows = steps.rows.into();
        self.end = steps.end;
    }
}

/// The columns of a statement, as it was compiled for the so manieth time.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    pub(super) names: Arc<[String]>,
    pub(super) compilations: u32,
}

/// A connection that a job may have while its process ends. The process has one job at a time, and looks itself only
/// when it has none: so nobody ever waits for the lock.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Connection>>);

impl Shared {
    pub(super) fn new(connection: Connection) -> Shared {
        Shared(Arc::new(Mutex::new(connection)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        // After a panic of ours SQLite is as it was between two of its calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostState for Databases {}

/// A node's time and randomness.
struct OfNode(Arc<Node>);

impl Environment for OfNode {
    fn wall(&self) -> u64 {
        self.0.clock.wall()
    }

    fn fill(&self, bytes: &mut [u8]) -> bool {
        self.0.entropy.fill(bytes)
    }
}

impl Databases {
    /// Those of a process; made when it first opens one.
    pub(super) fn of(data: &mut ProcessData) -> &mut Databases {
        let process = &data.process;
        data.extensions.get_or_insert_with(|| {
            let node = process.node().clone();
            let limits = OwnerLimits {
                max_memory: process.config().max_memory,
                dirs: process.config().caps().dirs.clone(),
            };
            let owner = Owner::new(limits, node.accounts_total().clone(), Arc::new(OfNode(node.clone())));
            let (connections, statements) = (ResourceTable::new(), ResourceTable::new());
            let tenant = process.config().quota.as_ref().map_or_else(Vec::new, |quota| quota.path()).into();
            Databases { owner, connections, statements, tenant, node }
        })
    }

    /// The connection of this number.
    pub(super) fn connection(data: &mut ProcessData, id: u64) -> Result<&mut Opened, Fault> {
        Databases::of(data).connections.get_mut(CONNECTION, id)
    }

    /// The statement of this number.
    pub(super) fn statement(data: &mut ProcessData, id: u64) -> Result<&mut Statement, Fault> {
        Databases::of(data).statements.get_mut(STATEMENT, id)
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        self.owner.leave();
        let connections = std::mem::take(&mut self.connections);
        let statements = std::mem::take(&mut self.statements);
        let job = Box::new(move || drop((statements, connections)));
        self.node.submit_to(|job| Services::of(&self.node).databases.submit_closing(job), job);
    }
}
