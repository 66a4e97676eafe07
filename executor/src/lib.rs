//! Processes, scheduling, signals and host functions over the `lunatic-jit` engine.
//!
//! ```no_run
//! use lunatic_executor::{Runtime, RuntimeConfig};
//!
//! let runtime = Runtime::new(RuntimeConfig::default())?;
//! let program = runtime.load(&std::fs::read("app.lwasm")?)?;
//! let status = runtime.run(&program);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The rooms: [`Runtime`] is the way in; `node` is what processes share; `process` is one process, its signals
//! and its life; `scheduler` runs tasks on workers and knows no process; `host` is what guests call;
//! [`Simulator`] runs the same programs on a timeline that a seed decides; [`TestBinary`] runs a module's tests. The repository's ARCHITECTURE.md tells
//! how they fit together.

mod account;
mod clock;
mod code;
mod config;
mod entropy;
mod error;
mod forbidden;
mod host;
mod inspect;
mod jail;
mod metrics;
mod net;
mod node;
mod perf_map;
mod process;
mod program;
mod quota;
mod redirect;
mod registry;
mod report;
mod runtime;
mod scheduler;
mod simulation;
mod sqlite;
mod stdio;
mod sys;
mod testing;

pub use clock::{Clock, SimulatedClock, SystemClock};
pub use code::Memories;
pub use config::{MAX_STACK, MAX_WORKERS, MIN_STACK, PreopenedDir, RuntimeConfig};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use error::{LoadError, RuntimeError};
pub use forbidden::fits;
pub use inspect::Inspector;
pub use jail::{JailError, enter_jail};
pub use lunatic_jit::{Cache, CacheError};
pub use metrics::MetricsServer;
pub use net::{AddressRule, NameRule, NetworkRules, RuleError};
pub use program::Program;
pub use runtime::{ExitStatus, GRACE, Parts, Runtime, Stopper};
pub use simulation::{
    Ended, Faults, FaultsError, Outcome, Probability, Simulation, Simulator, Streams, Stuck, WaitsFor,
};
pub use stdio::Script;
pub use testing::{
    Ignored, Selection, Test, TestBinary, TestError, TestEvent, TestOptions, TestResult, Verdict,
    without_crate,
};
