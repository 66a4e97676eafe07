//! WebAssembly to Cranelift IR.
//!
//! `function` drives one function body operator by operator, with the operand and control stack of `stack`;
//! `operators` holds one file per family; `environment` knows how native code reaches the vm context, and
//! `bounds` is the one place that guards a memory access: a mistake there is a hole in the sandbox; `counter` is what a
//! charge is made of.
//! `trampoline` builds the code at the borders: Rust to guest, guest to host function, guest to yield.

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

/// The convention of guest functions: as many results in registers as there are, and tail calls.
pub(crate) const GUEST_CONVENTION: CallConv = CallConv::Tail;

/// The Cranelift type that carries a WebAssembly value. References are pointers or numbers, 0 is null. A vector is
/// always carried as sixteen bytes; operators on other lanes cast it (`operators::simd`).
pub(crate) fn clif_type(ty: ValType) -> Type {
    match ty {
        ValType::I32 => types::I32,
        ValType::I64 | ValType::FuncRef | ValType::ExternRef => types::I64,
        ValType::F32 => types::F32,
        ValType::F64 => types::F64,
        ValType::V128 => types::I8X16,
    }
}

/// The signature of a guest function: the vm context comes first. In a metered module the counter of reductions
/// is the next parameter and the first result, so that it stays in a register from function to function. The
/// functions of a metered and of an unmetered module therefore cannot call each other: their types are numbered
/// apart, and the one is no import of the other.
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

/// The signature of a Rust routine that native code calls.
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

/// The trap that a code of Cranelift's stands for.
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
