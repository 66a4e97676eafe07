//! A process in a jail tries what the jail should prevent, as native code that has escaped from a guest would.
//!
//! A jail cannot be left and applies to a whole process, which enters it before it has other threads. So this file is a program of
//! its own, without the test harness. It runs itself for each case, once in the jail and once outside: what fails inside has to
//! succeed outside, or the case would prove nothing.

#[path = "../../tests/src/skip.rs"]
mod skipping;

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod jailed {
    pub(crate) mod cases;
    pub(crate) mod run;
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn main() {
    jailed::run::main();
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn main() {
    skipping::skip("there is no jail on this system");
}
