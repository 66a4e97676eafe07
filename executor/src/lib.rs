//! Processes, scheduling, signals and host functions.
mod clock;
mod entropy;
#[allow(dead_code)]
mod scheduler;
