//! Connections and statements of a process.

use std::collections::VecDeque;
use std::sync::Arc;

use lunatic_resources::sync::{Mutex, MutexGuard};

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

/// The databases of a process. When the process ends, its running statement is interrupted, and a thread that may
/// block closes everything.
pub(crate) struct Databases {
    pub(super) owner: Arc<Owner>,
    pub(super) connections: ResourceTable<Opened>,
    pub(super) statements: ResourceTable<Statement>,
    /// The group of processes that its statements count for.
    pub(super) tenant: Tenant,
    node: Arc<Node>,
}

/// A connection.
pub(super) struct Opened {
    pub(super) shared: Shared,
    /// The number of rows that the last changing statement changed.
    pub(super) changes: u32,
    /// The error of the last call.
    pub(super) error: Option<SqlError>,
}

/// A statement.
pub(super) struct Statement {
    /// The number of its connection.
    pub(super) connection: u64,
    pub(super) shared: Shared,
    pub(super) id: StatementId,
    pub(super) only_reads: bool,
    /// The number of values that can be bound.
    pub(super) parameters: usize,
    pub(super) columns: Columns,
    /// The current row.
    pub(super) row: Option<Arc<Held>>,
    pub(super) ahead: Ahead,
}

/// Rows of a read-only statement that were fetched before the guest asked for them.
///
/// Fetching a row alone costs two switches between threads, many times what SQLite needs for the row. So a guest that
/// asks for row after row gets more of them each time. The guest cannot notice: it is undefined what a query sees of
/// changes that are made while it runs.
#[derive(Default)]
pub(super) struct Ahead {
    pub(super) rows: VecDeque<Held>,
    /// How the statement ended after these rows, if it has.
    pub(super) end: Option<Result<(), SqlError>>,
    /// The number of rows of the next fetch, less one.
    more: usize,
}

/// The number of rows that are fetched at a time at most.
const MAX_ROWS_AHEAD: usize = 64;

impl Ahead {
    /// Returns whether there is anything that the guest has not seen.
    pub(super) fn has_any(&self) -> bool {
        !self.rows.is_empty() || self.end.is_some()
    }

    /// Returns how many rows to fetch: one at first, then twice as many each time.
    pub(super) fn rows_to_fetch(&mut self) -> usize {
        let rows = self.more + 1;
        self.more = (2 * rows).min(MAX_ROWS_AHEAD) - 1;
        rows
    }

    /// Stores fetched rows.
    pub(super) fn fetched(&mut self, steps: Steps) {
        self.rows = steps.rows.into();
        self.end = steps.end;
    }
}

/// The columns of a statement after a number of compilations.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    pub(super) names: Arc<[String]>,
    pub(super) compilations: u32,
}

/// A connection that a job may use while its process ends. A process has one job at a time and uses the connection
/// itself only when it has none, so the lock is never contended.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Connection>>);

impl Shared {
    pub(super) fn new(connection: Connection) -> Shared {
        Shared(Arc::new(Mutex::new(connection)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        // After a panic of the runtime, SQLite is in a state between two calls.
        self.0.lock()
    }
}

impl HostState for Databases {}

/// The time and the randomness of a node.
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
    /// Returns the databases of a process. They are created when the process first opens one.
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

    /// Returns the connection with this number.
    pub(super) fn connection(data: &mut ProcessData, id: u64) -> Result<&mut Opened, Fault> {
        Databases::of(data).connections.get_mut(CONNECTION, id)
    }

    /// Returns the statement with this number.
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
