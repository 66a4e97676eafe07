//! The import and the charge of a prepared module, written by hand as the instrumenter inserts them.

pub(crate) const METERING: &str = r#"(import "lunatic::metering" "charge" (func $charge (param i32)))"#;

pub(crate) const CHARGE: &str = "i32.const 10 call $charge";
