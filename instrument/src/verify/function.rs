//! One function: validated, its charges recognised, its paths paid for.

use wasmparser::{FuncValidator, FunctionBody, Operator, ValidatorResources};

use super::charge::{ChargeReader, Event};
use super::flow::{Bounds, Broken, Flow};
use super::reserved::Reserved;
use crate::error::{FunctionRef, Region, VerifyError, VerifyErrorKind};

/// What all functions together have.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) loops: usize,
    pub(super) charges: usize,
    pub(super) bounds: Bounds,
}

/// Checks a function and adds it to the totals.
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
    checker.body(validator, body).map_err(|error| VerifyError { function: Some(function), ..error })
}

struct FunctionChecker<'a> {
    charges: ChargeReader,
    flow: Flow,
    /// The region that has just begun, so that a charge must be next.
    due: Option<Region>,
    totals: &'a mut Totals,
}

impl FunctionChecker<'_> {
    fn body(
        &mut self,
        validator: &mut FuncValidator<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<(), VerifyError> {
        let mut locals = body.get_binary_reader();
        validator.read_locals(&mut locals)?;
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            validator.op(offset, &operator)?;
            self.operator(&operator, offset).map_err(|kind| VerifyError::at(offset, kind))?;
        }
        operators.finish()?;
        self.totals.bounds = self.flow.bounds;
        Ok(())
    }

    fn operator(&mut self, operator: &Operator<'_>, offset: u64) -> Result<(), VerifyErrorKind> {
        let event = self.charges.read(operator)?;
        if let Some(region) = self.due.take()
            && event != Event::Begins
        {
            return Err(VerifyErrorKind::Uncharged(region));
        }
        match event {
            Event::Begins | Event::Continues => {}
            Event::Completes(cost) => {
                self.flow.charge(cost, offset);
                self.totals.charges += 1;
            }
            Event::Work => {
                self.flow.work(operator, offset).map_err(|broken| match broken {
                    Broken::Unpaid => VerifyErrorKind::Unpaid,
                    Broken::LongPath => VerifyErrorKind::LongPath,
                    Broken::LongReturn => VerifyErrorKind::LongReturn,
                })?;
                if matches!(operator, Operator::Loop { .. }) {
                    self.due = Some(Region::Loop);
                    self.totals.loops += 1;
                }
            }
        }
        Ok(())
    }
}
