//! What the two commands share: how they report errors, and how they write files.
//!
//! A command is a thin shell: arguments in, one call of a library, an error out. What is here is the part of that
//! shell which both need, and which must be right for every input:
//!
//! * [`fail`] prints one line to stderr, with nothing in it that could write to a terminal in another way;
//! * [`write_whole`] makes an output appear whole or not at all, under its name;
//! * [`Progress`] shows how far long work is;
//! * [`open_cache`] and [`default_cache`] find the cache of native code;
//! * [`listen_to_signals`] turns requests to terminate, and to show what is going on, into those of the node, but for
//!   [`IgnoredSignals`];
//! * [`NetworkOptions`] say what a program may do in the network;
//! * [`options_from_file`] reads options from a file;
//! * [`SimulationOptions`] runs a program on simulated timelines;
//! * [`run_tests`] runs a program's tests, as `cargo test` wants it.
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
