//! Constant expressions: initialisers of globals, tables and segments.

use crate::environ::error::{CompileError, unsupported};
use crate::environ::value::RawValue;

/// A validated constant expression, in postfix order.
#[derive(Clone, Debug)]
pub(crate) struct ConstExpr {
    ops: Vec<ConstOp>,
}

#[derive(Clone, Copy, Debug)]
enum ConstOp {
    Push(u64),
    /// In two halves: a single 128-bit number would double the size of every operation.
    PushVector {
        low: u64,
        high: u64,
    },
    Global(u32),
    Function(u32),
    I32Add,
    I32Sub,
    I32Mul,
    I64Add,
    I64Sub,
    I64Mul,
}

/// The constant expression of an item of an element segment. A module may have millions of items in as many
/// bytes, so the type is small. No other expressions are references.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RefExpr {
    Null,
    Function(u32),
    Global(u32),
}

impl RefExpr {
    pub(crate) fn read(expr: &wasmparser::ConstExpr<'_>) -> Result<RefExpr, CompileError> {
        use wasmparser::Operator;
        let mut operators = expr.get_operators_reader();
        let offset = operators.original_position();
        Ok(match operators.read()? {
            Operator::RefNull { .. } => RefExpr::Null,
            Operator::RefFunc { function_index } => RefExpr::Function(function_index),
            Operator::GlobalGet { global_index } => RefExpr::Global(global_index),
            other => return Err(unsupported(&format!("{other:?} in a constant expression"), offset)),
        })
    }

    /// Returns the reference as a table holds it.
    pub(crate) fn evaluate(self, scope: &dyn ConstScope) -> u64 {
        match self {
            RefExpr::Null => 0,
            RefExpr::Function(index) => scope.function(index),
            RefExpr::Global(index) => scope.global(index).low,
        }
    }
}

/// The items that a constant expression may refer to.
pub(crate) trait ConstScope {
    /// Returns the value of a global.
    fn global(&self, index: u32) -> RawValue;
    /// Returns the reference to a function, as a table holds it.
    fn function(&self, index: u32) -> u64;
}

impl ConstExpr {
    pub(crate) fn read(expr: &wasmparser::ConstExpr<'_>) -> Result<ConstExpr, CompileError> {
        use wasmparser::Operator;
        let mut ops = Vec::with_capacity(1);
        for operator in expr.get_operators_reader().into_iter_with_offsets() {
            let (operator, offset) = operator?;
            ops.push(match operator {
                Operator::I32Const { value } => ConstOp::Push(u64::from(value as u32)),
                Operator::I64Const { value } => ConstOp::Push(value as u64),
                Operator::F32Const { value } => ConstOp::Push(u64::from(value.bits())),
                Operator::F64Const { value } => ConstOp::Push(value.bits()),
                Operator::V128Const { value } => {
                    let RawValue { low, high } = RawValue::wide(value.i128() as u128);
                    ConstOp::PushVector { low, high }
                }
                Operator::RefNull { .. } => ConstOp::Push(0),
                Operator::RefFunc { function_index } => ConstOp::Function(function_index),
                Operator::GlobalGet { global_index } => ConstOp::Global(global_index),
                Operator::I32Add => ConstOp::I32Add,
                Operator::I32Sub => ConstOp::I32Sub,
                Operator::I32Mul => ConstOp::I32Mul,
                Operator::I64Add => ConstOp::I64Add,
                Operator::I64Sub => ConstOp::I64Sub,
                Operator::I64Mul => ConstOp::I64Mul,
                Operator::End => break,
                other => return Err(unsupported(&format!("{other:?} in a constant expression"), offset)),
            });
        }
        Ok(ConstExpr { ops })
    }

    /// Returns the value of the expression.
    pub(crate) fn evaluate(&self, scope: &dyn ConstScope) -> RawValue {
        let mut stack: Vec<RawValue> = Vec::with_capacity(2);
        for op in &self.ops {
            let value = match *op {
                ConstOp::Push(bits) => RawValue::from(bits),
                ConstOp::PushVector { low, high } => RawValue { low, high },
                ConstOp::Global(index) => scope.global(index),
                ConstOp::Function(index) => RawValue::from(scope.function(index)),
                ConstOp::I32Add => binary32(&mut stack, u32::wrapping_add),
                ConstOp::I32Sub => binary32(&mut stack, u32::wrapping_sub),
                ConstOp::I32Mul => binary32(&mut stack, u32::wrapping_mul),
                ConstOp::I64Add => binary64(&mut stack, u64::wrapping_add),
                ConstOp::I64Sub => binary64(&mut stack, u64::wrapping_sub),
                ConstOp::I64Mul => binary64(&mut stack, u64::wrapping_mul),
            };
            stack.push(value);
        }
        pop(&mut stack)
    }
}

fn pop(stack: &mut Vec<RawValue>) -> RawValue {
    stack.pop().expect("the expression is validated")
}

fn binary32(stack: &mut Vec<RawValue>, op: fn(u32, u32) -> u32) -> RawValue {
    let (right, left) = (pop(stack).low as u32, pop(stack).low as u32);
    RawValue::from(u64::from(op(left, right)))
}

fn binary64(stack: &mut Vec<RawValue>, op: fn(u64, u64) -> u64) -> RawValue {
    let (right, left) = (pop(stack).low, pop(stack).low);
    RawValue::from(op(left, right))
}
