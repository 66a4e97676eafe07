//! Converts and compares values of scripts.

use lunatic_jit::Value;
use wast::core::{NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};
use wast::{WastArg, WastRet};

/// An argument of a call.
pub(super) fn argument(arg: &WastArg<'_>) -> Result<Value, String> {
    match arg {
        WastArg::Core(WastArgCore::I32(value)) => Ok(Value::I32(*value)),
        WastArg::Core(WastArgCore::I64(value)) => Ok(Value::I64(*value)),
        WastArg::Core(WastArgCore::F32(value)) => Ok(Value::F32(value.bits)),
        WastArg::Core(WastArgCore::F64(value)) => Ok(Value::F64(value.bits)),
        WastArg::Core(WastArgCore::V128(value)) => Ok(Value::V128(u128::from_le_bytes(value.to_le_bytes()))),
        WastArg::Core(WastArgCore::RefExtern(number)) => Ok(Value::ExternRef(Some(*number))),
        WastArg::Core(WastArgCore::RefNull(wast::core::HeapType::Abstract { ty, .. })) => match ty {
            wast::core::AbstractHeapType::Func => Ok(Value::FuncRef(None)),
            wast::core::AbstractHeapType::Extern => Ok(Value::ExternRef(None)),
            other => Err(format!("a null of type {other:?}")),
        },
        other => Err(format!("an argument {other:?}")),
    }
}

/// Compares results with the expected ones. Returns the difference.
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
        (Value::F32(bits), WastRetCore::F32(expected)) => matches_f32(*bits, expected),
        (Value::F64(bits), WastRetCore::F64(expected)) => matches_f64(*bits, expected),
        (Value::V128(bits), WastRetCore::V128(expected)) => matches_vector(bits.to_le_bytes(), expected),
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

fn matches_f32(bits: u32, expected: &NanPattern<F32>) -> bool {
    match expected {
        NanPattern::CanonicalNan => bits & 0x7fff_ffff == 0x7fc0_0000,
        NanPattern::ArithmeticNan => bits & 0x7fc0_0000 == 0x7fc0_0000,
        NanPattern::Value(expected) => bits == expected.bits,
    }
}

fn matches_f64(bits: u64, expected: &NanPattern<F64>) -> bool {
    match expected {
        NanPattern::CanonicalNan => bits & !(1 << 63) == 0x7ff8_0000_0000_0000,
        NanPattern::ArithmeticNan => bits & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
        NanPattern::Value(expected) => bits == expected.bits,
    }
}

/// Integer lanes are compared by their bits, float lanes with the pattern of each.
fn matches_vector(bytes: [u8; 16], expected: &V128Pattern) -> bool {
    fn lanes<const SIZE: usize>(bytes: &[u8; 16]) -> impl Iterator<Item = [u8; SIZE]> {
        bytes.as_chunks::<SIZE>().0.iter().copied()
    }
    match expected {
        V128Pattern::I8x16(expected) => lanes(&bytes).map(i8::from_le_bytes).eq(*expected),
        V128Pattern::I16x8(expected) => lanes(&bytes).map(i16::from_le_bytes).eq(*expected),
        V128Pattern::I32x4(expected) => lanes(&bytes).map(i32::from_le_bytes).eq(*expected),
        V128Pattern::I64x2(expected) => lanes(&bytes).map(i64::from_le_bytes).eq(*expected),
        V128Pattern::F32x4(expected) => lanes(&bytes)
            .map(u32::from_le_bytes)
            .zip(expected)
            .all(|(bits, pattern)| matches_f32(bits, pattern)),
        V128Pattern::F64x2(expected) => lanes(&bytes)
            .map(u64::from_le_bytes)
            .zip(expected)
            .all(|(bits, pattern)| matches_f64(bits, pattern)),
    }
}
