//! Translates WebAssembly to Cranelift's IR.
//!
//! * `function` translates a function body, operator by operator, with the operand and control stacks of
//!   `stack`.
//! * `operators` has a file for each family of operators.
//! * `environment` knows how native code accesses the vm context.
//! * `bounds` is the only place that checks memory accesses: a mistake there is a hole in the sandbox.
//! * `counter` holds the counter of reductions.
//! * `trampoline` builds the code at the borders: from Rust to a guest, from a guest to a host function, from
//!   a guest to a yield.
//! * `type_number` compares function types.

mod bounds;
mod counter;
mod environment;
mod function;
mod operators;
mod stack;
mod trampoline;
mod type_number;

use cranelift_codegen::ir::{AbiParam, Signature, Type, types};
use cranelift_codegen::isa::{CallConv, TargetIsa};

use crate::environ::trap_code::TrapCode;
use crate::environ::value::{FuncType, ValType};

pub(crate) use environment::ModuleEnvironment;
pub(crate) use function::{BodyTranslator, FunctionInput};
pub(crate) use trampoline::{entry_trampoline, host_trampoline, yield_stub};

/// The calling convention of guest functions: it allows tail calls, and returns as many results in registers
/// as possible.
pub(crate) const GUEST_CONVENTION: CallConv = CallConv::Tail;

/// Returns the Cranelift type of a WebAssembly value. References are pointers or numbers, and 0 is null. A
/// vector is always sixteen bytes; operators on other lanes cast it (`operators::simd`).
pub(crate) fn clif_type(ty: ValType) -> Type {
    match ty {
        ValType::I32 => types::I32,
        ValType::I64 | ValType::FuncRef | ValType::ExternRef => types::I64,
        ValType::F32 => types::F32,
        ValType::F64 => types::F64,
        ValType::V128 => types::I8X16,
    }
}

/// Returns the signature of a guest function. The vm context is the first parameter. In a metered module, the
/// counter of reductions is the next parameter and the first result, so that it stays in a register from
/// function to function. So functions of a metered and of an unmetered module cannot call each other: their
/// types have different numbers, and neither can import the other.
pub(crate) fn guest_signature(ty: &FuncType, metered: bool) -> Signature {
    let mut signature = Signature::new(GUEST_CONVENTION);
    signature.params.push(AbiParam::special(types::I64, cranelift_codegen::ir::ArgumentPurpose::VMContext));
    if metered {
        signature.params.push(AbiParam::new(types::I64));
        signature.returns.push(AbiParam::new(types::I64));
    }
    signature.params.extend(ty.params.iter().map(|&ty| AbiParam::new(clif_type(ty))));
    signature.returns.extend(ty.results.iter().map(|&ty| AbiParam::new(clif_type(ty))));
    signature
}

/// Returns the signature of a Rust routine that native code calls.
pub(crate) fn native_signature(isa: &dyn TargetIsa, params: &[Type], result: Option<Type>) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params.extend(params.iter().map(|&ty| AbiParam::new(ty)));
    signature.returns.extend(result.map(AbiParam::new));
    signature
}

/// The traps of WebAssembly that Cranelift has no code for, numbered as in compiled code.
pub(crate) mod trap {
    use cranelift_codegen::ir::TrapCode as Clif;

    use crate::environ::trap_code::TrapCode;

    pub(crate) const UNREACHABLE: Clif = Clif::unwrap_user(TrapCode::Unreachable as u8);
    pub(crate) const TABLE_OUT_OF_BOUNDS: Clif = Clif::unwrap_user(TrapCode::TableOutOfBounds as u8);
    pub(crate) const UNDEFINED_ELEMENT: Clif = Clif::unwrap_user(TrapCode::UndefinedElement as u8);
    pub(crate) const UNINITIALIZED_ELEMENT: Clif = Clif::unwrap_user(TrapCode::UninitializedElement as u8);
    pub(crate) const TYPE_MISMATCH: Clif = Clif::unwrap_user(TrapCode::TypeMismatch as u8);
}

/// Returns the trap for a trap code of Cranelift.
pub(crate) fn trap_code(code: cranelift_codegen::ir::TrapCode) -> TrapCode {
    use cranelift_codegen::ir::TrapCode as Clif;
    match code {
        Clif::STACK_OVERFLOW => TrapCode::StackOverflow,
        Clif::HEAP_OUT_OF_BOUNDS => TrapCode::MemoryOutOfBounds,
        Clif::INTEGER_OVERFLOW => TrapCode::IntegerOverflow,
        Clif::INTEGER_DIVISION_BY_ZERO => TrapCode::IntegerDivisionByZero,
        Clif::BAD_CONVERSION_TO_INTEGER => TrapCode::BadConversionToInteger,
        trap::TABLE_OUT_OF_BOUNDS => TrapCode::TableOutOfBounds,
        trap::UNDEFINED_ELEMENT => TrapCode::UndefinedElement,
        trap::UNINITIALIZED_ELEMENT => TrapCode::UninitializedElement,
        trap::TYPE_MISMATCH => TrapCode::TypeMismatch,
        _ => TrapCode::Unreachable,
    }
}
