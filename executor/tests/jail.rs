//! That a jail is one: a process that is in it tries what it should not be able to do, as native code that has got out of a
//! guest would.
//!
//! A jail is for good and for a whole process, which enters it before it has threads. So this file is a program of its
//! own, without the test harness: it runs itself for each case, once in the jail and once outside, for whatever fails in there
//! has to be possible out here; otherwise the case would prove nothing.

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
