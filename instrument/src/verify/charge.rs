//! Recognises charges in a stream of operators.
//!
//! A charge is a constant immediately followed by a call of the charge function. So a constant is held back
//! until the next operator decides what it was, and the call is an error after anything else, also in
//! unreachable code.

use wasmparser::Operator;

use super::reserved::Reserved;
use crate::abi::MAX_CHARGE;
use crate::error::VerifyErrorKind;

/// What preceded the next operator.
#[derive(Debug)]
pub(super) struct ChargeReader {
    reserved: Reserved,
    /// The constant that is held back, and its offset.
    constant: Option<(i32, u64)>,
}

/// The offset of a constant that was held back and belongs to the module itself.
pub(super) type OwnConstant = u64;

/// The role of an operator in a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A constant, which is held back.
    Constant { before: Option<OwnConstant> },
    /// The call that makes the constant a charge of this cost.
    Charge(u32),
    /// Any other operator.
    Work { before: Option<OwnConstant> },
}

impl ChargeReader {
    pub(super) fn new(reserved: Reserved) -> ChargeReader {
        ChargeReader { reserved, constant: None }
    }

    /// Takes the next operator of the function.
    #[inline(always)]
    pub(super) fn read(&mut self, operator: &Operator<'_>, offset: u64) -> Result<Event, VerifyErrorKind> {
        let held_back = self.constant.take();
        match *operator {
            Operator::I32Const { value } => {
                self.constant = Some((value, offset));
                Ok(Event::Constant { before: held_back.map(|(_, offset)| offset) })
            }
            Operator::Call { function_index } if function_index == self.reserved.charge_function => {
                let (value, _) = held_back.ok_or(VerifyErrorKind::Exposed)?;
                let cost = u32::try_from(value).ok().filter(|cost| (1..=MAX_CHARGE).contains(cost));
                cost.map(Event::Charge).ok_or(VerifyErrorKind::ChargeConstant(value))
            }
            _ if self.reserved.is_named_by(operator) => Err(VerifyErrorKind::Exposed),
            _ => Ok(Event::Work { before: held_back.map(|(_, offset)| offset) }),
        }
    }
}
