//! Recognises charges in a stream of operators.
//!
//! A charge begins with the only operator that may read the counter outside of one, so one operator of lookahead
//! is enough: having seen `global.get $reductions`, the rest must follow to the letter. Anything else that names
//! the counter or the yield function is an error wherever it stands, in code that can never run too.

use wasmparser::{BlockType, Operator};

use super::reserved::Reserved;
use crate::abi::MAX_CHARGE;
use crate::error::{self, VerifyErrorKind};

/// Where in a charge the stream is.
#[derive(Debug)]
pub(super) struct ChargeReader {
    reserved: Reserved,
    state: State,
}

/// How far a charge has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not in a charge.
    Outside,
    /// Behind the first `global.get`.
    Constant,
    /// Behind the constant: the operator with this number of [`Reserved::expects`] is next.
    Rest { cost: u32, next: usize },
}

/// What an operator is to the charges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// It is not part of a charge: the module's own work.
    Work,
    /// The first operator of a charge.
    Begins,
    /// An inner operator of a charge.
    Continues,
    /// The last operator of a charge of this cost.
    Completes(u32),
}

impl ChargeReader {
    pub(super) fn new(reserved: Reserved) -> ChargeReader {
        ChargeReader { reserved, state: State::Outside }
    }

    /// Takes the next operator of the function.
    pub(super) fn read(&mut self, operator: &Operator<'_>) -> Result<Event, VerifyErrorKind> {
        match self.state {
            State::Outside => self.outside(operator),
            State::Constant => {
                let Operator::I64Const { value } = *operator else {
                    return Err(VerifyErrorKind::BrokenCharge);
                };
                let cost = u32::try_from(value).ok().filter(|cost| (1..=MAX_CHARGE).contains(cost));
                let cost = cost.ok_or(VerifyErrorKind::ChargeConstant(value))?;
                self.state = State::Rest { cost, next: 0 };
                Ok(Event::Continues)
            }
            State::Rest { cost, next } => {
                if !self.reserved.expects(next, operator) {
                    return Err(VerifyErrorKind::BrokenCharge);
                }
                if next == LAST {
                    self.state = State::Outside;
                    return Ok(Event::Completes(cost));
                }
                self.state = State::Rest { cost, next: next + 1 };
                Ok(Event::Continues)
            }
        }
    }

    fn outside(&mut self, operator: &Operator<'_>) -> Result<Event, VerifyErrorKind> {
        match (operator, self.reserved.named_by(operator)) {
            (_, None) => Ok(Event::Work),
            (Operator::GlobalGet { .. }, Some(error::Reserved::Counter)) => {
                self.state = State::Constant;
                Ok(Event::Begins)
            }
            (_, Some(exposed)) => Err(VerifyErrorKind::Exposed(exposed)),
        }
    }
}

/// The number of the last operator after the constant.
const LAST: usize = 7;

impl Reserved {
    /// Whether an operator is the one with the given number after the constant. See [`crate::abi`].
    fn expects(self, number: usize, operator: &Operator<'_>) -> bool {
        match (number, operator) {
            (0, Operator::I64Sub) => true,
            (1, Operator::GlobalSet { global_index }) => *global_index == self.reductions,
            (2, Operator::GlobalGet { global_index }) => *global_index == self.reductions,
            (3, Operator::I64Const { value: 0 }) => true,
            (4, Operator::I64LtS) => true,
            (5, Operator::If { blockty: BlockType::Empty }) => true,
            (6, Operator::Call { function_index }) => *function_index == self.yield_function,
            (LAST, Operator::End) => true,
            _ => false,
        }
    }
}
