//! Tests: functions of a module that are tests by their names, each run in a node of its own.
//!
//! | file | what it holds |
//! |---|---|
//! | `name` | what an export's name says of a test |
//! | `ordinary` | tests of the language's own harness, which are behind the module's `_start` |
//! | `selection` | which tests are run |
//! | `run` | running them, several at a time |
//! | `verdict`, `panics` | what became of one |
//! | `capture` | what it wrote meanwhile |
//!
//! # What a test is
//!
//! An export `#lunatic_test_…` without parameters and results ([`name`] says what may be in the name). It is the first
//! process's function, in place of `_start`; what comes before any process's entry comes before it too. The node is like
//! any other, and shares native code with those of the other tests, and nothing else: processes, names, limits and
//! standard streams are its own. Standard input is at its end. What it leaves running lives until the last test has ended.
//!
//! # Ordinary tests
//!
//! A module may have tests of both kinds: functions that are marked `#[test]` are run by the harness that the compiler
//! put behind `_start`. Whoever runs the tests wants all of them, so they are asked for by name, and each is run as the
//! others are: in a node of its own, by the harness, which is told to run this one. One that panics then ends nothing but
//! itself, which it could not do in the harness's one process. A module that has no test of the first kind is a program
//! like any other, and its harness does all of this by itself.
//!
//! # Programs with tests in them
//!
//! A library whose tests are not under `#[cfg(test)]` leaves their exports in every program that uses it; published ones
//! do. So what has a `_start` is a test binary only if the harness is behind it, which the compiler puts there when it
//! builds tests, and at no other time.

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
    /// Where it is: the path of the function, which begins with its crate unless it is an ordinary test.
    pub name: String,
    /// Whether it is named and not run.
    pub is_ignored: bool,
    /// What the message of its panic has to contain, if it has to panic; any does if this is empty.
    pub should_panic: Option<String>,
    entry: TestKind,
}

/// How a test is run.
#[derive(Clone, Copy, Debug)]
enum TestKind {
    /// As the first process of a node.
    Export(FuncIndex),
    /// By the harness behind `_start`.
    Ordinary,
}

/// A module with tests, and what their nodes are built from.
pub struct TestBinary {
    template: NodeTemplate,
    program: Program,
    tests: Vec<Test>,
}

/// Why a module's tests cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The harness behind `_start` does not say which tests it has.
    #[error("the ordinary tests cannot be listed: _start --list ends with status {}: {output}", status.0)]
    Listing {
        /// How it ended.
        status: ExitStatus,
        /// What it wrote.
        output: String,
    },
    /// A node cannot be built.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// Whether there are exports that are tests.
pub(crate) fn has_tests(module: &Module) -> bool {
    exports_tests(module.exports())
}

/// Whether one of these exports is a test.
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
    /// Whether it exports tests, as programs may as well. Ordinary ones do not count.
    pub fn has_tests(&self) -> bool {
        has_tests(self.code.module())
    }

    /// Whether what was loaded from these bytes is a test binary: whether it exports tests, and is no program that they
    /// were left in.
    pub fn is_test_binary(&self, bytes: &[u8]) -> bool {
        self.has_tests() && (!self.has_start() || ordinary::has_harness(bytes))
    }

    /// Whether it has a `_start`, as every program has that is no test binary.
    pub fn has_start(&self) -> bool {
        self.start.is_some()
    }
}

impl TestBinary {
    /// The tests of a program that this runtime has loaded from these bytes.
    ///
    /// # Errors
    /// If there are ordinary tests as well and their harness does not say which.
    pub fn new(runtime: Runtime, program: &Program, bytes: &[u8]) -> Result<TestBinary, TestError> {
        let template = runtime.into_template();
        let tests = exported(program.code.module()).collect();
        let mut binary = TestBinary { template, program: program.clone(), tests };
        if program.start.is_some() && ordinary::has_harness(bytes) {
            binary.tests.extend(ordinary::list(&binary)?);
        }
        // As libtest has them.
        binary.tests.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(binary)
    }

    /// All tests, by name.
    pub fn tests(&self) -> &[Test] {
        &self.tests
    }
}
