//! Tests: exported functions that their names mark as tests, each run in its own node.
//!
//! | file | contents |
//! |---|---|
//! | `name` | parses the names of test exports |
//! | `ordinary` | tests of Rust's own harness, behind the module's `_start` |
//! | `selection` | selects the tests to run |
//! | `run` | runs several tests at a time |
//! | `verdict`, `panics` | the result of a test |
//! | `capture` | the output of a test |
//!
//! # What a test is
//!
//! A test is an export `#lunatic_test_…` without parameters and results ([`name`] describes the format). It replaces
//! `_start` as the function of the first process; everything that runs before a process's entry runs before it too.
//! Its node is like any other. Nodes of tests share native code and nothing else: each has its own processes, names,
//! limits and standard streams. Standard input is empty. Processes that a test leaves running live until the last
//! test has ended.
//!
//! # Ordinary tests
//!
//! A module may have tests of both kinds: the harness that the compiler puts behind `_start` runs functions marked
//! `#[test]`. A test run includes all of them, so the executor lists them by name and lets the harness run each one
//! in its own node. A test that panics then ends only itself, which is impossible in the harness's single process. A
//! module without tests of the first kind is an ordinary program, and its harness does all of this itself.
//!
//! # Programs with tests in them
//!
//! A library whose tests are not under `#[cfg(test)]` leaves their exports in every program that uses it; published
//! libraries do this. A module with a `_start` is therefore a test binary only if it contains the harness, which the
//! compiler adds only when it builds tests.

mod capture;
mod name;
mod ordinary;
mod panics;
mod run;
mod selection;
mod verdict;

use lunatic_jit::{ExternType, FuncIndex, FuncType, Module};

use crate::error::RuntimeError;
use crate::program::Program;
use lunatic_core::node::ExitStatus;

use crate::runtime::{NodeTemplate, Runtime};

pub use name::without_crate;
pub use run::{TestEvent, TestOptions};
pub use selection::{Ignored, Selection};
pub use verdict::{TestResult, Verdict};

use name::TestName;

/// A test.
#[derive(Clone, Debug)]
pub struct Test {
    /// The path of the function. It begins with the crate, except for an ordinary test.
    pub name: String,
    /// Whether the test is reported but not run.
    pub is_ignored: bool,
    /// The text that the panic message must contain, if the test must panic. An empty text matches any message.
    pub should_panic: Option<String>,
    entry: TestKind,
}

/// How a test is run.
#[derive(Clone, Copy, Debug)]
enum TestKind {
    /// The export is the first process of a node.
    Export(FuncIndex),
    /// The harness behind `_start` runs the test.
    Ordinary,
}

/// A module with tests, and the template of their nodes.
pub struct TestBinary {
    template: NodeTemplate,
    program: Program,
    tests: Vec<Test>,
}

/// An error that prevents running a module's tests.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The harness behind `_start` cannot list its tests.
    #[error("the ordinary tests cannot be listed: _start --list ends with status {}: {output}", status.0)]
    Listing {
        /// The exit status of the harness.
        status: ExitStatus,
        /// The output of the harness.
        output: String,
    },
    /// A node cannot be built.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// Returns whether the module exports tests.
pub(crate) fn has_tests(module: &Module) -> bool {
    exports_tests(module.exports())
}

/// Returns whether one of these exports is a test.
pub(crate) fn exports_tests<'a>(mut exports: impl Iterator<Item = (&'a str, ExternType)>) -> bool {
    exports.any(|(name, ty)| {
        TestName::of_export(name).is_some() && ty == ExternType::Func(FuncType::new([], []))
    })
}

fn exported(module: &Module) -> impl Iterator<Item = Test> {
    module.exports().filter_map(|(export, ty)| {
        let TestName { name, is_ignored, should_panic } = TestName::of_export(export)?;
        let ExternType::Func(ty) = ty else { return None };
        let function =
            module.exported_function(export).filter(|_| ty.params.is_empty() && ty.results.is_empty())?;
        Some(Test { name, is_ignored, should_panic, entry: TestKind::Export(function) })
    })
}

impl Program {
    /// Returns whether the program exports tests. Ordinary tests do not count.
    pub fn has_tests(&self) -> bool {
        has_tests(self.code.module())
    }

    /// Returns whether the program, loaded from these bytes, is a test binary: it exports tests, and they are not
    /// leftovers in an ordinary program.
    pub fn is_test_binary(&self, bytes: &[u8]) -> bool {
        self.has_tests() && (!self.has_start() || ordinary::has_harness(bytes))
    }

    /// Returns whether the program has a `_start`. Every program that is not a test binary has one.
    pub fn has_start(&self) -> bool {
        self.start.is_some()
    }
}

impl TestBinary {
    /// Collects the tests of a program that this runtime has loaded from these bytes.
    ///
    /// # Errors
    /// Returns an error if the harness cannot list its ordinary tests.
    pub fn new(runtime: Runtime, program: &Program, bytes: &[u8]) -> Result<TestBinary, TestError> {
        let template = runtime.into_template();
        let tests = exported(program.code.module()).collect();
        let mut binary = TestBinary { template, program: program.clone(), tests };
        if program.start.is_some() && ordinary::has_harness(bytes) {
            binary.tests.extend(ordinary::list(&binary)?);
        }
        // Sorted as in libtest.
        binary.tests.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(binary)
    }

    /// Returns all tests, sorted by name.
    pub fn tests(&self) -> &[Test] {
        &self.tests
    }
}
