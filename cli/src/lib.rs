//! The parts of the commands `lunatic-prep` and `lunatic-exec`. This library is internal to them.
//!
//! A command parses arguments, calls a library once, and reports the result. The parts:
//!
//! * [`fail`] prints an error as one line without control characters;
//! * [`write_whole`] writes a file atomically;
//! * [`Progress`] shows the progress of long work;
//! * [`open_cache`] and [`default_cache`] find the cache of native code;
//! * [`listen_to_signals`] forwards signals to the node, except [`IgnoredSignals`];
//! * [`NetworkOptions`] are the options for what a program may do in the network;
//! * [`options_from_file`] reads options from a file;
//! * [`SimulationOptions`] runs a program on simulated timelines;
//! * [`run_tests`] runs a program's tests as `cargo test` expects.
#![forbid(unsafe_code)]

mod cache;
mod network;
mod options;
mod output;
mod progress;
mod report;
mod signals;
mod simulate;
mod testing;

pub use cache::{default_cache, open_cache};
pub use network::NetworkOptions;
pub use options::options_from_file;
pub use output::{read_input, write_output, write_whole};
pub use progress::Progress;
pub use report::{Failure, escape, fail};
pub use signals::{IgnoredSignals, listen_to_signals};
pub use simulate::SimulationOptions;
pub use testing::{run_tests, runs_tests};
