//! Inserts the charges into a module.
//!
//! The rewriter sees only what [`crate::prevalidation`] has accepted. It adds the reserved import and, in
//! every function, the charges that [`crate::plan`] has placed; before that, [`crate::unroll`] unrolls small
//! loops. The added import follows all others, so the indices of the functions that the module defines
//! increase by one: code has [`Patch`](crate::body::Patch)es for that, and sections that name a function are
//! encoded anew. Everything else is copied byte for byte, in its order.
//!
//! Custom sections with positions in the original code would be wrong. Names and branch hints are updated,
//! debug sections are kept by [`crate::offset_map`], and others are removed; see [`is_positional`].

use std::collections::HashMap;

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    BranchHint, ElementSection, EntityType, ExportSection, GlobalSection, ImportSection, IndirectNameMap,
    NameSection, RawSection, Section, SectionId, StartSection, TableSection, TypeSection, ValType,
};
use wasmparser::{
    CompositeInnerType, CustomSectionReader, FuncValidator, FunctionBody, KnownCustom, Name, NameMap,
    Operator, Parser, Payload, TypeRef, ValidatorResources, WasmFeatures,
};

use crate::abi::{CHARGE_FUNCTION, CODE_START_SECTION, KEPT_DEBUG_PREFIX, METERING_MODULE, OFFSETS_SECTION};
use crate::body::{Body, Imported};
use crate::emit::{Emitter, Origins};
use crate::error::Limit;
use crate::offset_map::{OffsetMap, kept_name};
use crate::plan::{Plan, longest_run, plan};
use crate::prevalidation::{Prevalidator, Refusal, parser};
use crate::unroll::unroll;

/// A module with its charges.
#[derive(Debug, Default)]
pub(crate) struct Rewritten {
    pub(crate) bytes: Vec<u8>,
    /// The offset map, if there is code.
    pub(crate) origins: Option<Origins>,
    pub(crate) totals: Totals,
    /// The names of the custom sections that were removed, in the order of the file.
    pub(crate) dropped_sections: Vec<String>,
}

/// The totals of all functions.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) functions: usize,
    pub(crate) unrolled: usize,
    pub(crate) charges: usize,
    pub(crate) long: usize,
    pub(crate) returns: usize,
    pub(crate) handlers: usize,
    pub(crate) bound: u32,
    pub(crate) return_bound: u32,
}

/// Options of rewriting.
pub(crate) struct How {
    pub(crate) max_charge: u32,
    pub(crate) unroll: bool,
    /// The proposals that the module may use.
    pub(crate) features: WasmFeatures,
}

/// The largest function that validators accept, by the limit that engines have agreed on.
pub(crate) const MAX_FUNCTION_BYTES: usize = 7_654_321;

/// The types, and the functions, that a module may have, by the limits that engines have agreed on. One of
/// each may be added. There is always room for the added import, because the size of their types limits
/// imports to fewer.
pub(crate) const MAX_ITEMS: usize = 1_000_000;

fn at_most(limit: Limit, count: usize, offset: u64) -> Result<(), Error> {
    if count < MAX_ITEMS { Ok(()) } else { Err(Error::Limit(limit, offset)) }
}

/// Why a module is not rewritten.
#[derive(Debug)]
pub(crate) enum Error {
    Refused(Refusal),
    /// The limit is exceeded at this offset.
    Limit(Limit, u64),
    /// The callback for the progress has asked to stop.
    Stopped,
    /// A bug of this crate: what is encoded anew has been validated.
    Fault(Fault),
}

pub(crate) type Fault = reencode::Error;

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::Refused(refusal)
    }
}

impl From<wasmparser::Error> for Error {
    fn from(error: wasmparser::Error) -> Self {
        Error::Refused(error.into())
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Error::Fault(fault)
    }
}

/// Validates and rewrites a module. `progress` gets the number of bytes that are done, and returns whether to
/// continue.
pub(crate) fn rewrite(
    wasm: &[u8],
    how: &How,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<Rewritten, Error> {
    let mut rewriter = Rewriter {
        wasm,
        how,
        rewritten: Rewritten::default(),
        types: 0,
        charge_type: None,
        imported: Imported::default(),
        has_types: false,
        has_imports: false,
        hints: HashMap::new(),
        labels: label_names(wasm),
        new_labels: IndirectNameMap::new(),
        emitter: None,
        bodies_left: 0,
    };
    // About a tenth is added.
    rewriter.rewritten.bytes = Vec::with_capacity(wasm.len() + wasm.len() / 4 + 256);
    let mut prevalidator = Prevalidator::new(how.features);
    let mut end = 0;
    for payload in parser(how.features).parse_all(wasm) {
        let payload = payload?;
        let validator = prevalidator.payload(&payload)?;
        match (payload, validator) {
            (Payload::CodeSectionEntry(body), Some(mut validator)) => {
                rewriter.function(&body, &mut validator)?;
                prevalidator.recycle(validator);
                end = body.range().end;
            }
            (payload, _) => {
                end = payload.as_section().map_or(end, |(_, range)| range.end);
                rewriter.payload(payload)?;
            }
        }
        if !progress(end as usize) {
            return Err(Error::Stopped);
        }
    }
    Ok(rewriter.rewritten)
}

struct Rewriter<'a> {
    wasm: &'a [u8],
    how: &'a How,
    rewritten: Rewritten,
    /// The number of types of the module.
    types: u32,
    /// The index of the type `(i32) -> ()`, if the module has it.
    charge_type: Option<u32>,
    imported: Imported,
    /// Whether the sections that get an addition are written.
    has_types: bool,
    has_imports: bool,
    /// The branch hints of the original, by function.
    hints: HashMap<u32, Vec<BranchHint>>,
    /// The names of labels, by function: of the original, and the new ones.
    labels: HashMap<u32, Vec<(u32, &'a str)>>,
    new_labels: IndirectNameMap,
    emitter: Option<Emitter<'a>>,
    bodies_left: u32,
}

impl<'a> Rewriter<'a> {
    fn payload(&mut self, payload: Payload<'a>) -> Result<(), Error> {
        self.add_missing_sections(&payload);
        match payload {
            Payload::Version { .. } => self.rewritten.bytes.extend_from_slice(&wasm_encoder::Module::HEADER),
            Payload::TypeSection(types) => {
                let mut section = TypeSection::new();
                for group in types.clone() {
                    self.note_types(&group?);
                }
                if self.charge_type.is_none() {
                    at_most(Limit::Types, self.types as usize, types.range().start)?;
                }
                self.reencoder().parse_type_section(&mut section, types)?;
                self.type_section(section);
            }
            Payload::ImportSection(imports) => self.import_section(imports)?,
            Payload::TableSection(tables) => {
                let mut section = TableSection::new();
                self.reencoder().parse_table_section(&mut section, tables)?;
                self.section(&section);
            }
            Payload::GlobalSection(globals) => {
                let mut section = GlobalSection::new();
                self.reencoder().parse_global_section(&mut section, globals)?;
                self.section(&section);
            }
            Payload::ExportSection(exports) => {
                let mut section = ExportSection::new();
                self.reencoder().parse_export_section(&mut section, exports)?;
                self.section(&section);
            }
            Payload::StartSection { func, .. } => {
                let function_index = self.imported.new_index(func);
                self.section(&StartSection { function_index });
            }
            Payload::ElementSection(elements) => {
                let mut section = ElementSection::new();
                self.reencoder().parse_element_section(&mut section, elements)?;
                self.section(&section);
            }
            Payload::FunctionSection(functions) => {
                let all = self.imported.0 as usize + functions.count() as usize;
                at_most(Limit::Functions, all, functions.range().start)?;
                self.copy(&Payload::FunctionSection(functions));
            }
            Payload::CodeSectionStart { count, size, unchecked_range } => {
                self.begin_code(count, size, unchecked_range.start as u32);
            }
            Payload::CustomSection(section) => self.custom_section(&section),
            other => self.copy(&other),
        }
        Ok(())
    }

    /// Writes the sections that get an addition, if the module does not have them, before the first section
    /// that has to follow them.
    fn add_missing_sections(&mut self, next: &Payload<'_>) {
        let next = match (next, next.as_section()) {
            (Payload::End(_), _) => u8::MAX,
            (_, Some((id, _))) => id,
            _ => return,
        };
        let (custom, types, imports) =
            (SectionId::Custom as u8, SectionId::Type as u8, SectionId::Import as u8);
        if ![custom, types].contains(&next) && !self.has_types {
            self.type_section(TypeSection::new());
        }
        if ![custom, types, imports].contains(&next) && !self.has_imports {
            self.write_imports(ImportSection::new());
        }
    }

    fn note_types(&mut self, group: &wasmparser::RecGroup) {
        let types: Vec<_> = group.types().collect();
        if let [ty] = types[..]
            && let (true, true, false) = (ty.is_final, ty.supertype_idxs.is_empty(), ty.composite_type.shared)
            && let CompositeInnerType::Func(function) = &ty.composite_type.inner
            && function.params() == [wasmparser::ValType::I32]
            && function.results().is_empty()
        {
            self.charge_type.get_or_insert(self.types);
        }
        self.types += types.len() as u32;
    }

    /// Writes the types, followed by that of the import if it is missing.
    fn type_section(&mut self, mut section: TypeSection) {
        if self.charge_type.is_none() {
            section.ty().function([ValType::I32], []);
            self.charge_type = Some(self.types);
        }
        self.section(&section);
        self.has_types = true;
    }

    fn import_section(&mut self, imports: wasmparser::ImportSectionReader<'_>) -> Result<(), Error> {
        for import in imports.clone().into_imports() {
            match import?.ty {
                TypeRef::Func(_) | TypeRef::FuncExact(_) => self.imported.0 += 1,
                TypeRef::Global(_) | TypeRef::Table(_) | TypeRef::Memory(_) | TypeRef::Tag(_) => {}
            }
        }
        let mut section = ImportSection::new();
        self.reencoder().parse_import_section(&mut section, imports)?;
        self.write_imports(section);
        Ok(())
    }

    /// Writes the imports, followed by the added one.
    fn write_imports(&mut self, mut section: ImportSection) {
        let charge = EntityType::Function(self.charge_type.unwrap_or(self.types));
        section.import(METERING_MODULE, CHARGE_FUNCTION, charge);
        self.section(&section);
        self.has_imports = true;
    }

    fn begin_code(&mut self, count: u32, size: u32, code_start: u32) {
        // The size is what the section declares; not all of it may exist.
        let size = self.wasm.len().min(size as usize);
        let mut emitter = Emitter::new(self.wasm, count, self.imported.0, size + size / 4);
        emitter.origins = Some(Origins { code_start, map: OffsetMap::default() });
        self.emitter = Some(emitter);
        self.bodies_left = count;
        self.end_code_if_done();
    }

    fn function(
        &mut self,
        original: &FunctionBody<'_>,
        validator: &mut FuncValidator<ValidatorResources>,
    ) -> Result<(), Error> {
        let longest_run = longest_run(self.how.max_charge);
        let mut body = Body::read(self.wasm, original, validator, self.imported, longest_run)?;
        let totals = &mut self.rewritten.totals;
        let index = self.imported.0 + totals.functions as u32;
        if self.how.unroll {
            totals.unrolled += unroll(&mut body);
        }
        let plan = plan(&body, self.how.max_charge);
        totals.add(&plan);
        if let Some(emitter) = &mut self.emitter {
            let hints = self.hints.get(&index).map_or(&[][..], Vec::as_slice);
            let labels = self.labels.get(&index).map_or(&[][..], Vec::as_slice);
            let labels = placed(labels, original)?;
            let index = self.imported.new_index(index);
            let size = emitter.function(index, original, &body, &plan.charges, hints, &labels);
            if size > MAX_FUNCTION_BYTES {
                return Err(Error::Limit(Limit::FunctionBytes, original.range().start));
            }
        }
        self.bodies_left -= 1;
        self.end_code_if_done();
        Ok(())
    }

    fn end_code_if_done(&mut self) {
        if self.bodies_left > 0 {
            return;
        }
        let Some(emitter) = self.emitter.take() else { return };
        if !self.hints.is_empty() {
            self.section(&emitter.hints);
        }
        self.section(&RawSection { id: SectionId::Code as u8, data: &emitter.code });
        self.rewritten.origins = emitter.origins;
        self.new_labels = emitter.labels;
    }

    fn custom_section(&mut self, section: &CustomSectionReader<'a>) {
        let name = section.name();
        match section.as_known() {
            KnownCustom::Name(names) => {
                // A malformed name section is not a reason to refuse the module.
                let labels = std::mem::take(&mut self.new_labels);
                match (Indices { labels, ..self.reencoder() }).custom_name_section(names) {
                    Ok(names) => self.section(&names),
                    Err(_) => self.drop_section(name),
                }
            }
            KnownCustom::BranchHints(functions) => {
                let read = functions.into_iter().try_for_each(|function| {
                    let function = function?;
                    let hints = function.hints.into_iter().map(|hint| {
                        hint.map(|hint| BranchHint {
                            branch_func_offset: hint.func_offset,
                            branch_hint_value: hint.taken.into(),
                        })
                    });
                    self.hints.insert(function.func, hints.collect::<Result<_, _>>()?);
                    Ok::<(), wasmparser::Error>(())
                });
                if read.is_err() {
                    self.hints.clear();
                    self.drop_section(name);
                }
            }
            _ if kept_name(name).is_some() => {}
            _ if is_positional(name) => self.drop_section(name),
            _ => self.copy(&Payload::CustomSection(section.clone())),
        }
    }

    fn drop_section(&mut self, name: &str) {
        self.rewritten.dropped_sections.push(name.to_owned());
    }

    fn reencoder(&self) -> Indices {
        Indices { imported: self.imported, labels: IndirectNameMap::new() }
    }

    fn section(&mut self, section: &impl Section) {
        section.append_to(&mut self.rewritten.bytes);
    }

    fn copy(&mut self, payload: &Payload<'_>) {
        if let Some((id, range)) = payload.as_section() {
            // The parser's ranges are within its input, whose length is a usize.
            let data = &self.wasm[range.start as usize..range.end as usize];
            RawSection { id, data }.append_to(&mut self.rewritten.bytes);
        }
    }
}

impl Totals {
    fn add(&mut self, plan: &Plan) {
        self.functions += 1;
        self.charges += plan.charges.len();
        self.long += plan.long;
        self.returns += plan.returns;
        self.handlers += plan.handlers;
        self.bound = self.bound.max(plan.bound);
        self.return_bound = self.return_bound.max(plan.return_bound);
    }
}

/// Encodes anew what names functions.
struct Indices {
    imported: Imported,
    /// The names of labels, which have new numbers.
    labels: IndirectNameMap,
}

impl Reencode for Indices {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, Fault> {
        Ok(self.imported.new_index(index))
    }

    fn parse_custom_name_subsection(
        &mut self,
        names: &mut NameSection,
        subsection: Name<'_>,
    ) -> Result<(), Fault> {
        if matches!(subsection, Name::Label(_)) {
            names.labels(&self.labels);
            return Ok(());
        }
        reencode::utils::parse_custom_name_subsection(self, names, subsection)
    }
}

/// Returns the names of labels, by function. A malformed section has none.
fn label_names<'a>(wasm: &'a [u8]) -> HashMap<u32, Vec<(u32, &'a str)>> {
    let payloads = Parser::new(0).parse_all(wasm).map_while(Result::ok);
    let names = payloads.filter_map(|payload| match payload {
        Payload::CustomSection(section) => match section.as_known() {
            KnownCustom::Name(names) => Some(names),
            _ => None,
        },
        _ => None,
    });
    let functions = names.flatten().map_while(Result::ok).filter_map(|name| match name {
        Name::Label(functions) => Some(functions.into_iter().map_while(Result::ok)),
        _ => None,
    });
    let names = |names: NameMap<'a>| {
        let names = names.into_iter().map_while(Result::ok);
        names.map(|naming| (naming.index, naming.name)).collect()
    };
    functions.flatten().map(|function| (function.index, names(function.names))).collect()
}

/// Returns names of labels with the position of their construct instead of their number: labels are counted
/// in the order of their constructs.
fn placed<'a>(names: &[(u32, &'a str)], body: &FunctionBody<'_>) -> Result<Vec<(u32, &'a str)>, Error> {
    let (mut placed, mut names, mut labels) = (Vec::new(), names.iter().peekable(), 0);
    let mut operators = body.get_operators_reader()?;
    while names.peek().is_some() && !operators.eof() {
        let (operator, offset) = operators.read_with_offset()?;
        if matches!(
            operator,
            Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::TryTable { .. }
                | Operator::Try { .. }
        ) {
            while let Some((_, name)) = names.next_if(|(label, _)| *label <= labels) {
                placed.push((offset as u32, *name));
            }
            labels += 1;
        }
    }
    Ok(placed)
}

/// Whether a custom section contains offsets or indices of the original code: DWARF, source maps, relocations
/// and others; or is one that only a prepared module has.
fn is_positional(name: &str) -> bool {
    const PREFIXES: [&str; 3] = [".debug_", "reloc.", "metadata.code."];
    const NAMES: [&str; 5] =
        ["linking", "sourceMappingURL", "external_debug_info", OFFSETS_SECTION, CODE_START_SECTION];
    let is_kept =
        |name: &str| name.strip_prefix(KEPT_DEBUG_PREFIX).is_some_and(|name| name.starts_with("debug_"));
    NAMES.contains(&name) || is_kept(name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
