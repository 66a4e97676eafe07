//! Values as scripts write them.

use lunatic_jit::Value;
use wast::core::{NanPattern, WastArgCore, WastRetCore};
use wast::{WastArg, WastRet};

/// An argument of a call.
pub(super) fn argument(arg: &WastArg<'_>) -> Result<Value, String> {
    match arg {
        WastArg::Core(WastArgCore::I32(value)) => Ok(Value::I32(*value)),
        WastArg::Core(WastArgCore::I64(value)) => Ok(Value::I64(*value)),
        WastArg::Core(WastArgCore::F32(value)) => Ok(Value::F32(value.bits)),
        WastArg::Core(WastArgCore::F64(value)) => Ok(Value::F64(value.bits)),
        WastArg::Core(WastArgCore::RefExtern(number)) => Ok(Value::ExternRef(Some(*number))),
        WastArg::Core(WastArgCore::RefNull(wast::core::HeapType::Abstract { ty, .. })) => match ty {
            wast::core::AbstractHeapType::Func => Ok(Value::FuncRef(None)),
            wast::core::AbstractHeapType::Extern => Ok(Value::ExternRef(None)),
            other => Err(format!("a null of type {other:?}")),
        },
        other => Err(format!("an argument {other:?}")),
    }
}

/// Whether results are as expected; if not, says how they differ.
pub(super) fn check(results: &[Value], expected: &[WastRet<'_>]) -> Result<(), String> {
    let same = results.len() == expected.len()
        && results.iter().zip(expected).all(|(value, expected)| match expected {
            WastRet::Core(expected) => matches(value, expected),
            _ => false,
        });
    if same { Ok(()) } else { Err(format!("returned {results:x?}, expected {expected:x?}")) }
}

fn matches(value: &Value, expected: &WastRetCore<'_>) -> bool {
    match (value, expected) {
        (Value::I32(value), WastRetCore::I32(expected)) => value == expected,
        (Value::I64(value), WastRetCore::I64(expected)) => value == expected,
        (Value::F32(bits), WastRetCore::F32(expected)) => match expected {
            NanPattern::CanonicalNan => bits & 0x7fff_ffff == 0x7fc0_0000,
            NanPattern::ArithmeticNan => bits & 0x7fc0_0000 == 0x7fc0_0000,
            NanPattern::Value(expected) => *bits == expected.bits,
        },
        (Value::F64(bits), WastRetCore::F64(expected)) => match expected {
            NanPattern::CanonicalNan => bits & !(1 << 63) == 0x7ff8_0000_0000_0000,
            NanPattern::ArithmeticNan => bits & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
            NanPattern::Value(expected) => *bits == expected.bits,
        },
        (Value::ExternRef(value), WastRetCore::RefExtern(expected)) => match expected {
            Some(expected) => *value == Some(*expected),
            None => value.is_some(),
        },
        (Value::FuncRef(None) | Value::ExternRef(None), WastRetCore::RefNull(_)) => true,
        (Value::FuncRef(Some(_)), WastRetCore::RefFunc(None)) => true,
        (_, WastRetCore::Either(cases)) => cases.iter().any(|case| matches(value, case)),
        _ => false,
    }
}
