//! Verifies one function: validates it, recognises its charges, and checks that its paths are paid for.

use wasmparser::{FuncValidator, FunctionBody, Operator, ValidatorResources};

use super::charge::{ChargeReader, Event, OwnConstant};
use super::flow::{Bounds, Broken, Flow};
use super::reserved::Reserved;
use crate::error::{FunctionRef, Region, VerifyError, VerifyErrorKind};
use crate::read::{self, Sink};

/// Totals of all functions.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) loops: usize,
    pub(super) charges: usize,
    pub(super) bounds: Bounds,
}

/// Checks a function, and adds it to the totals.
pub(super) fn check(
    validator: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
    reserved: Reserved,
    totals: &mut Totals,
) -> Result<(), VerifyError> {
    let function = FunctionRef::at(validator.index());
    let mut checker = FunctionChecker {
        charges: ChargeReader::new(reserved),
        flow: Flow::new(reserved.imported_functions, totals.bounds),
        due: Some(Region::Function),
        totals,
    };
    let checked = read::read(body, validator, &mut checker);
    checker.totals.bounds = checker.flow.bounds;
    checked.map_err(|error| VerifyError { function: Some(function), ..error })
}

struct FunctionChecker<'a> {
    charges: ChargeReader,
    flow: Flow,
    /// The region that has just begun, so that a charge must follow.
    due: Option<Region>,
    totals: &'a mut Totals,
}

impl Sink for FunctionChecker<'_> {
    type Seen = ();
    type Error = VerifyError;

    #[inline(always)]
    fn operator(&mut self, operator: &Operator<'_>, offset: u64) -> Result<(), VerifyError> {
        let event = self.charges.read(operator, offset).map_err(|kind| VerifyError::at(offset, kind))?;
        match event {
            Event::Charge(cost) => {
                self.due = None;
                self.flow.charge(cost, offset);
                self.totals.charges += 1;
            }
            Event::Constant { before } => self.own_constant(before)?,
            Event::Work { before } => {
                self.own_constant(before)?;
                self.work(operator, offset)?;
                if matches!(operator, Operator::Loop { .. }) {
                    self.due = Some(Region::Loop);
                    self.totals.loops += 1;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, (): (), _from: u64, _to: u64) {}
}

impl FunctionChecker<'_> {
    fn own_constant(&mut self, at: Option<OwnConstant>) -> Result<(), VerifyError> {
        at.map_or(Ok(()), |offset| self.work(&Operator::I32Const { value: 0 }, offset))
    }

    /// Receives an operator that is not part of a charge.
    #[inline(always)]
    fn work(&mut self, operator: &Operator<'_>, offset: u64) -> Result<(), VerifyError> {
        let kind = match self.due {
            Some(region) => VerifyErrorKind::Uncharged(region),
            None => match self.flow.work(operator, offset) {
                Ok(()) => return Ok(()),
                Err(Broken::Unpaid) => VerifyErrorKind::Unpaid,
                Err(Broken::LongPath) => VerifyErrorKind::LongPath,
                Err(Broken::LongReturn) => VerifyErrorKind::LongReturn,
            },
        };
        Err(VerifyError::at(offset, kind))
    }
}
