//! Processes, scheduling, signals and host functions.
