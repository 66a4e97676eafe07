//! The independent check that a module is prepared as it should be.
//!
//! [`verify`] trusts no file and shares no code with the rewriter but the reading of operators (`crate::read`): from the bytes alone, it
//! proves of a module that
//!
//! 1. it is valid, and uses only the proposals whose control flow this check understands ([`crate::FEATURES`]);
//! 2. it imports the function that charges, once and with the right type, and nothing else from the reserved namespace;
//! 3. nothing but charges names it: no export, element, start function or constant expression, and no instruction but
//!    a call behind a constant ([`charge`]); no branch can enter a charge in the middle, since it contains no label;
//! 4. every function and every loop begins with a charge, and no path does more work than the last charge of its
//!    region paid for ([`flow`]);
//! 5. no path goes on for more than [`MAX_CHARGE`] without a charge, and after the return of a call for more than
//!    [`MAX_RETURN`]; nor for more than the manifest declares.
//!
//! One pass, in time linear in the size of the module; no input makes it panic.

mod charge;
mod flow;
mod function;
mod reserved;

use wasmparser::{FuncValidatorAllocations, Parser, Payload, ValidPayload, Validator};

use crate::abi::SECTION;
#[cfg(doc)]
use crate::abi::{MAX_CHARGE, MAX_RETURN};
use crate::container::Manifest;
use crate::error::{FunctionRef, ManifestError, VerifyError, VerifyErrorKind};
use crate::features::FEATURES;
use reserved::{Reserved, ReservedImports};

/// What [`verify`] found out about a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The most work that one activation of a function does between two charges of its own, in reductions, whatever
    /// functions it calls in between; 0 if the module has no code. At most [`MAX_CHARGE`].
    pub bound: u32,
    /// The most work that one activation does after the return of a call (of a function that is not imported) before
    /// its next charge, call or return. At most [`MAX_RETURN`].
    pub return_bound: u32,
    /// How many functions the module defines.
    pub functions: usize,
    /// How many loops they have.
    pub loops: usize,
    /// How many charges they have.
    pub charges: usize,
    /// What the custom section says.
    pub manifest: Manifest,
}

/// Checks that a module is prepared: that all its work is charged before it is done.
///
/// Time is linear in the size of the module.
///
/// # Errors
///
/// What is wrong, and where. A module that was never prepared gives [`ManifestError::Missing`].
pub fn verify(wasm: &[u8]) -> Result<Report, VerifyError> {
    verify_with_progress(wasm, &mut |_| true)
}

/// As [`verify`]; `progress` is told how many bytes are behind it, and says whether to go on.
pub fn verify_with_progress(
    wasm: &[u8],
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<Report, VerifyError> {
    if Parser::is_component(wasm) {
        return Err(VerifyError::at(0, VerifyErrorKind::Component));
    }
    if !wasm.starts_with(b"\0asm") {
        return Err(VerifyError::at(0, VerifyErrorKind::NotWasm));
    }
    let mut checker = ModuleChecker::default();
    checker.module(wasm, progress).map_err(|error| with_function_name(error, wasm))?;
    checker.report(wasm.len() as u64)
}

impl VerifyError {
    fn at(offset: u64, kind: VerifyErrorKind) -> VerifyError {
        VerifyError { kind, offset, function: None }
    }
}

impl From<wasmparser::Error> for VerifyError {
    fn from(error: wasmparser::Error) -> VerifyError {
        VerifyError::at(error.offset(), VerifyErrorKind::Invalid(error))
    }
}

/// What the pass has met so far.
#[derive(Default)]
struct ModuleChecker {
    imports: ReservedImports,
    /// Set where the imports are complete: a module's later sections cannot come before them.
    reserved: Option<Reserved>,
    manifest: Option<Manifest>,
    totals: function::Totals,
    functions: usize,
    allocations: FuncValidatorAllocations,
}

impl ModuleChecker {
    fn module(&mut self, wasm: &[u8], progress: &mut dyn FnMut(usize) -> bool) -> Result<(), VerifyError> {
        self.manifest(wasm)?;
        let mut validator = Validator::new_with_features(FEATURES);
        let mut parser = Parser::new(0);
        parser.set_features(FEATURES);
        let mut end = 0;
        for payload in parser.parse_all(wasm) {
            let payload = payload?;
            match validator.payload(&payload)? {
                ValidPayload::Func(to_validate, body) => {
                    let reserved = self.reserved(body.range().start)?;
                    let mut validator = to_validate.into_validator(std::mem::take(&mut self.allocations));
                    function::check(&mut validator, &body, reserved, &mut self.totals)?;
                    self.functions += 1;
                    self.allocations = validator.into_allocations();
                    end = body.range().end;
                }
                _ => {
                    end = payload.as_section().map_or(end, |(_, range)| range.end);
                    self.section(payload)?;
                }
            }
            if !progress(end as usize) {
                return Err(VerifyError::at(end, VerifyErrorKind::Stopped));
            }
        }
        Ok(())
    }

    /// Looks for the manifest before anything else, so that a file from another version, whose charges may look
    /// different, is told just that.
    fn manifest(&mut self, wasm: &[u8]) -> Result<(), VerifyError> {
        for payload in Parser::new(0).parse_all(wasm) {
            // What does not parse is reported, with the reason, by the pass over everything.
            let Ok(payload) = payload else { return Ok(()) };
            let Payload::CustomSection(section) = payload else { continue };
            if section.name() != SECTION {
                continue;
            }
            let offset = section.data_offset();
            if self.manifest.is_some() {
                return Err(VerifyError::at(offset, VerifyErrorKind::SecondManifest));
            }
            let manifest = Manifest::decode(section.data());
            self.manifest = Some(manifest.map_err(|error| VerifyError::at(offset, error.into()))?);
        }
        match self.manifest {
            Some(_) => Ok(()),
            None => {
                Err(VerifyError::at(wasm.len() as u64, VerifyErrorKind::Manifest(ManifestError::Missing)))
            }
        }
    }

    fn section(&mut self, payload: Payload<'_>) -> Result<(), VerifyError> {
        match payload {
            Payload::TypeSection(types) => self.imports.types(types),
            Payload::ImportSection(imports) => self.imports.imports(imports),
            Payload::TableSection(tables) => {
                let reserved = self.reserved(tables.range().start)?;
                reserved.check_tables(tables)
            }
            Payload::GlobalSection(globals) => self.reserved(globals.range().start)?.check_globals(globals),
            Payload::ExportSection(exports) => self.reserved(exports.range().start)?.check_exports(exports),
            Payload::ElementSection(elements) => {
                self.reserved(elements.range().start)?.check_elements(elements)
            }
            Payload::StartSection { func, range } => {
                self.reserved(range.start)?.check_start(func, range.start)
            }
            _ => Ok(()),
        }
    }

    fn reserved(&mut self, offset: u64) -> Result<Reserved, VerifyError> {
        match self.reserved {
            Some(reserved) => Ok(reserved),
            None => Ok(*self.reserved.insert(self.imports.complete(offset)?)),
        }
    }

    fn report(mut self, end: u64) -> Result<Report, VerifyError> {
        let manifest = self
            .manifest
            .ok_or_else(|| VerifyError::at(end, VerifyErrorKind::Manifest(ManifestError::Missing)))?;
        self.reserved(end)?;
        let function::Totals { loops, charges, bounds: flow::Bounds { since_charge, since_return } } =
            self.totals;
        for (found, declared) in [(since_charge, manifest.bound), (since_return, manifest.return_bound)] {
            if found.work > declared {
                let kind = VerifyErrorKind::AboveBound { found: found.work, declared };
                return Err(VerifyError::at(found.offset, kind));
            }
        }
        Ok(Report {
            bound: since_charge.work,
            return_bound: since_return.work,
            functions: self.functions,
            loops,
            charges,
            manifest,
        })
    }
}

/// Looks the name of the function up, which only an error pays for.
fn with_function_name(mut error: VerifyError, wasm: &[u8]) -> VerifyError {
    if let Some(function) = &mut error.function {
        function.name = function_name(wasm, function.index);
    }
    error
}

fn function_name(wasm: &[u8], index: u32) -> Option<String> {
    let custom = Parser::new(0).parse_all(wasm).find_map(|payload| match payload {
        Ok(Payload::CustomSection(section)) if section.name() == "name" => Some(section),
        _ => None,
    })?;
    let wasmparser::KnownCustom::Name(names) = custom.as_known() else { return None };
    let mut functions = names.into_iter().find_map(|names| match names {
        Ok(wasmparser::Name::Function(functions)) => Some(functions.into_iter()),
        _ => None,
    })?;
    functions
        .find_map(|naming| naming.ok().filter(|naming| naming.index == index))
        .map(|naming| naming.name.to_owned())
}

impl FunctionRef {
    fn at(index: u32) -> FunctionRef {
        FunctionRef { index, name: None }
    }
}

#[cfg(test)]
mod tests;
