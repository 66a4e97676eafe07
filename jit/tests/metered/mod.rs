//! The imports and the charge of an instrumented module, by hand: what the instrumenter would insert.

pub(crate) const METERING: &str = r#"
    (import "lunatic::metering" "reductions" (global $reductions (mut i64)))
    (import "lunatic::metering" "yield" (func $yield))
"#;

pub(crate) const CHARGE: &str = r#"
    global.get $reductions i64.const 10 i64.sub global.set $reductions
    global.get $reductions i64.const 0 i64.lt_s
    if call $yield end
"#;
