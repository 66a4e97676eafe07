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
//! [`Runtime`] runs one program, [`embed`] calls guest code from a Rust program, [`Simulator`] runs programs on a
//! timeline that a seed decides, and [`TestBinary`] runs the tests of a module. Processes are in `lunatic-core`,
//! scheduling in `lunatic-scheduler`, host functions in `lunatic-host` and `lunatic-wasi`. The repository's
//! ARCHITECTURE.md describes how they fit together.

#![forbid(unsafe_code)]

mod config;
pub mod embed;
mod error;
mod inspect;
#[cfg(feature = "jail")]
mod jail;
mod metrics;
mod perf_map;
mod program;
mod runtime;
#[cfg(feature = "simulation")]
mod simulator;
mod testing;

#[cfg(test)]
mod runtime_tests;

pub use config::{MAX_WORKERS, PreopenedDir, RuntimeConfig};
pub use error::{LoadError, RuntimeError};
pub use inspect::Inspector;
#[cfg(feature = "jail")]
pub use jail::{JailError, enter_jail};
pub use lunatic_core::code::Memories;
pub use lunatic_core::config::{MAX_STACK, MIN_STACK};
pub use lunatic_core::node::ExitStatus;
pub use lunatic_host::capabilities::forbidden::fits;
pub use lunatic_host::{func, overload};
pub use lunatic_jit::{Cache, CacheError};
pub use lunatic_net::{AddressRule, NameRule, NetworkRules, RuleError};
pub use lunatic_scheduler::{Clock, Entropy, SeededEntropy, SimulatedClock, SystemClock, SystemEntropy};
#[cfg(feature = "simulation")]
pub use lunatic_simulation::{
    BlockedProcess, Ended, Faults, FaultsError, Outcome, Probability, Simulation, Streams, WaitsFor,
};
pub use lunatic_stdio::Script;
pub use metrics::MetricsServer;
pub use program::Program;
pub use runtime::{GRACE, Parts, Runtime, ShutdownHandle};
#[cfg(feature = "simulation")]
pub use simulator::Simulator;
pub use testing::{
    Ignored, Selection, Test, TestBinary, TestError, TestEvent, TestOptions, TestResult, Verdict,
    without_crate,
};
