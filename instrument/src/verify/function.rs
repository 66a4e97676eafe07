//! One function: validated, its charges recognised, its paths paid for.

use wasmparser::{FuncValidator, FunctionBody, Operator, ValidatorResources};

use super::charge::{ChargeReader, Event};
use super::flow::Flow;
use super::reserved::Reserved;
use crate::abi::{MAX_CHARGE, MAX_RETURN};
use crate::error::{FunctionRef, Region, VerifyError, VerifyErrorKind};

/// What all functions together have.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) loops: usize,
    pub(super) charges: usize,
    pub(super) since_charge: Most,
    pub(super) since_return: Most,
}

/// The most work on some path, and where it ends.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Most {
    pub(super) work: u32,
    pub(super) offset: u64,
}

impl Most {
    fn add(&mut self, work: u32, offset: u64) {
        if work > self.work {
            *self = Most { work, offset };
        }
    }
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
        flow: Flow::new(reserved.imported_functions),
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
                self.flow.charge(cost);
                self.totals.charges += 1;
            }
            Event::Work => {
                self.flow.work(operator).map_err(|_| VerifyErrorKind::Unpaid)?;
                self.check_bounds(offset)?;
                if matches!(operator, Operator::Loop { .. }) {
                    self.due = Some(Region::Loop);
                    self.totals.loops += 1;
                }
            }
        }
        Ok(())
    }

    fn check_bounds(&mut self, offset: u64) -> Result<(), VerifyErrorKind> {
        let Some(state) = self.flow.paid else { return Ok(()) };
        self.totals.since_charge.add(state.since_charge, offset);
        if state.since_charge > MAX_CHARGE {
            return Err(VerifyErrorKind::LongPath);
        }
        let since_return = state.since_return.unwrap_or(0);
        self.totals.since_return.add(since_return, offset);
        if since_return > MAX_RETURN {
            return Err(VerifyErrorKind::LongReturn);
        }
        Ok(())
    }
}
