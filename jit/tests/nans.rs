//! The bits of NaNs: with canonical NaNs they are the same for every operation, whatever the processor would
//! produce.

use lunatic_jit::{Engine, EngineConfig, Linker, Module, Store, StoreLimits, Value};

const CANONICAL_32: u32 = 0x7fc0_0000;
const CANONICAL_64: u64 = 0x7ff8_0000_0000_0000;

/// Bits that no processor produces by itself: a signalling NaN with a payload, and a quiet one with the sign
/// set.
const ODD_32: [u32; 2] = [0x7fa0_1234, 0xffc0_4321];
const ODD_64: [u64; 2] = [0x7ff4_0000_0000_1234, 0xfff8_0000_0000_4321];

/// Returns the bits of the result of an operation on two arguments, of which it may ignore the second.
fn call(canonical_nans: bool, code: &str, args: &[Value; 2]) -> Value {
    let engine = EngineConfig { canonical_nans, ..EngineConfig::default() };
    let engine = Engine::new(engine).expect("this machine is supported");
    let (argument, result) = match args[0] {
        Value::F32(_) => ("f32", if code.contains("f64.promote") { "f64" } else { "f32" }),
        _ => ("f64", if code.contains("f32.demote") { "f32" } else { "f64" }),
    };
    let text =
        format!(r#"(module (func (export "f") (param {argument} {argument}) (result {result}) {code}))"#);
    let module = Module::compile(&engine, &wat::parse_str(text).unwrap()).unwrap();
    let linked = Linker::<()>::new().link(&module).unwrap();
    let mut store = Store::new(&engine, (), StoreLimits::default());
    let instance = store.instantiate(&linked).unwrap();
    store.call(instance, module.exported_function("f").unwrap(), args).unwrap()[0]
}

#[test]
fn arithmetic_produces_the_canonical_nan() {
    for operator in ["add", "sub", "mul", "div", "min", "max"] {
        for odd in ODD_32 {
            let code = format!("(f32.{operator} (local.get 0) (local.get 1))");
            let args = [Value::F32(odd), Value::F32(1f32.to_bits())];
            assert_eq!(call(true, &code, &args), Value::F32(CANONICAL_32), "{code} {odd:x}");
        }
        for odd in ODD_64 {
            let code = format!("(f64.{operator} (local.get 0) (local.get 1))");
            let args = [Value::F64(odd), Value::F64(1f64.to_bits())];
            assert_eq!(call(true, &code, &args), Value::F64(CANONICAL_64), "{code} {odd:x}");
        }
    }
    for operator in ["sqrt", "ceil", "floor", "trunc", "nearest"] {
        let code = format!("(f64.{operator} (local.get 0))");
        let args = [Value::F64(ODD_64[0]), Value::F64(0)];
        assert_eq!(call(true, &code, &args), Value::F64(CANONICAL_64), "{code}");
    }
    let (promote, demote) = ("(f64.promote_f32 (local.get 0))", "(f32.demote_f64 (local.get 0))");
    assert_eq!(call(true, promote, &ODD_32.map(Value::F32)), Value::F64(CANONICAL_64));
    assert_eq!(call(true, demote, &ODD_64.map(Value::F64)), Value::F32(CANONICAL_32));
}

#[test]
fn operators_other_than_arithmetic_preserve_nan_bits() {
    // The specification defines the bits of a value that is moved, or whose sign is changed.
    let args = ODD_64.map(Value::F64);
    assert_eq!(call(true, "(local.get 0)", &args), args[0]);
    assert_eq!(call(true, "(f64.neg (local.get 0))", &args), Value::F64(ODD_64[0] | 1 << 63));
}

/// Without the option, the processor decides. If it produced the same NaN, the tests above would test
/// nothing.
#[test]
#[cfg(target_arch = "x86_64")]
fn without_canonical_nans_the_bits_are_the_processors() {
    let code = "(f64.div (local.get 0) (local.get 1))";
    let zeros = [Value::F64(0), Value::F64(0)];
    assert_ne!(call(false, code, &zeros), Value::F64(CANONICAL_64));
    assert_eq!(call(true, code, &zeros), Value::F64(CANONICAL_64));
}
