//! The independent check that a module is prepared correctly.
//!
//! [`verify`] trusts no file and shares no code with the rewriter except the reading of operators
//! (`crate::read`). From the bytes alone, it proves of a module that:
//!
//! 1. It is valid, and uses only proposals whose control flow this check knows ([`crate::FEATURES`]).
//! 2. It imports the charge function once, with the right type, and nothing else from the reserved namespace.
//! 3. Only charges name the charge function: no export, element, start function or constant expression does,
//!    and no instruction except a call behind a constant ([`charge`]). No branch can enter a charge in the
//!    middle, because it contains no label.
//! 4. Every function and every loop begins with a charge, and no path does more work than the last charge of
//!    its region has paid for ([`flow`]).
//! 5. No path is longer than [`MAX_CHARGE`] without a charge, or than [`MAX_RETURN`] after the return of a
//!    call; nor longer than the manifest declares.
//!
//! It is one pass, in time linear in the size of the module. No input makes it panic.

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

/// The result of [`verify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The most work, in reductions, that one activation of a function does between two of its own charges,
    /// whatever functions it calls in between; 0 if the module has no code. At most [`MAX_CHARGE`].
    pub bound: u32,
    /// The most work that one activation does after the return of a call (of a function that is not imported)
    /// before its next charge, call or return. At most [`MAX_RETURN`].
    pub return_bound: u32,
    /// The functions that the module defines.
    pub functions: usize,
    /// Their loops.
    pub loops: usize,
    /// Their charges.
    pub charges: usize,
    /// The content of the custom section.
    pub manifest: Manifest,
}

/// Verifies that a module is prepared: that all its work is charged before it is done.
///
/// Takes time linear in the size of the module.
///
/// # Errors
///
/// Returns what is wrong, and where. For a module that was never prepared, that is
/// [`ManifestError::Missing`].
pub fn verify(wasm: &[u8]) -> Result<Report, VerifyError> {
    verify_with_progress(wasm, &mut |_| true)
}

/// Verifies a module as [`verify`] does. `progress` gets the number of bytes that are done, and returns
/// whether to continue.
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

/// What the pass has found so far.
#[derive(Default)]
struct ModuleChecker {
    imports: ReservedImports,
    /// Set once the imports are complete: the sections that follow cannot come before them.
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

    /// Reads the manifest first: a file from another version may have other charges, and should get only that
    /// error.
    fn manifest(&mut self, wasm: &[u8]) -> Result<(), VerifyError> {
        for payload in Parser::new(0).parse_all(wasm) {
            // The main pass reports what does not parse, with the reason.
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

/// Adds the name of the function. It is looked up only for an error.
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
