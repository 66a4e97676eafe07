//! The import and the charge of an instrumented module, by hand: what the instrumenter would insert.

pub(crate) const METERING: &str = r#"(import "lunatic::metering" "charge" (func $charge (param i32)))"#;

pub(crate) const CHARGE: &str = "i32.const 10 call $charge";
