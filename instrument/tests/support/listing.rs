//! Modules taken apart as far as a test needs it: the bodies of functions as lists of operators, all the rest as the
//! bytes that it was.
//!
//! Nothing is normalised on the way, so that what is put together again differs from the original in nothing but what
//! was meant to differ. That is why no library that rewrites modules is used here.

use std::ops::Range;

use wasm_encoder::{CodeSection, RawSection};
use wasmparser::{BinaryReader, BlockType, FunctionBody, Operator, Parser, Payload, TypeRef};

use lunatic_instrument::abi::{METERING_MODULE, REDUCTIONS_GLOBAL, YIELD_FUNCTION};

/// How many operators a charge has.
pub(crate) const CHARGE_LENGTH: usize = 10;

const CUSTOM_SECTION: u8 = 0;
const GLOBAL_SECTION: u8 = 6;
const EXPORT_SECTION: u8 = 7;
const CODE_SECTION: u8 = 10;
const TAG_SECTION: u8 = 13;

/// A module as a list of sections, and of functions.
pub(crate) struct Listing<'a> {
    /// The ids and the contents.
    sections: Vec<(u8, &'a [u8])>,
    pub(crate) bodies: Vec<Body<'a>>,
    pub(crate) reserved: Reserved,
    /// How many globals there are, imported ones included.
    pub(crate) globals: u32,
    /// How many functions there are, imported ones included.
    pub(crate) functions: u32,
}

/// The indices of the two that only charges may name. Without meaning in a module that was not prepared.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reserved {
    pub(crate) reductions: u32,
    pub(crate) yield_function: u32,
}

/// The body of a function.
pub(crate) struct Body<'a> {
    /// All of it.
    whole: &'a [u8],
    /// The declarations of its locals.
    pub(crate) locals: &'a [u8],
    pub(crate) operators: Vec<Operator<'a>>,
    /// The bytes of each operator.
    pub(crate) bytes: Vec<&'a [u8]>,
}

impl<'a> Listing<'a> {
    /// Takes a module apart that is valid.
    pub(crate) fn of(wasm: &'a [u8]) -> Listing<'a> {
        let mut listing = Listing {
            sections: Vec::new(),
            bodies: Vec::new(),
            reserved: Reserved::default(),
            globals: 0,
            functions: 0,
        };
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.expect("well-formed");
            if let Some((id, range)) = payload.as_section() {
                listing.sections.push((id, &wasm[range.start as usize..range.end as usize]));
            }
            match payload {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import.expect("well-formed");
                        listing.import(import.module, import.name, import.ty);
                    }
                }
                Payload::FunctionSection(functions) => listing.functions += functions.count(),
                Payload::GlobalSection(globals) => listing.globals += globals.count(),
                Payload::CodeSectionEntry(body) => listing.bodies.push(Body::of(wasm, &body)),
                _ => {}
            }
        }
        listing
    }

    fn import(&mut self, module: &str, name: &str, ty: TypeRef) {
        match ty {
            TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                if (module, name) == (METERING_MODULE, YIELD_FUNCTION) {
                    self.reserved.yield_function = self.functions;
                }
                self.functions += 1;
            }
            TypeRef::Global(_) => {
                if (module, name) == (METERING_MODULE, REDUCTIONS_GLOBAL) {
                    self.reserved.reductions = self.globals;
                }
                self.globals += 1;
            }
            TypeRef::Table(_) | TypeRef::Memory(_) | TypeRef::Tag(_) => {}
        }
    }

    /// The module with the body of one function made of these operators instead.
    pub(crate) fn with_body(&self, function: usize, operators: &[&[u8]]) -> Vec<u8> {
        let bodies = self.bodies.iter().enumerate().map(|(index, body)| {
            if index == function { [body.locals, &operators.concat()].concat() } else { body.whole.to_vec() }
        });
        self.encode(bodies, &[])
    }

    /// The module with these bodies, and with these items appended to the sections of these ids, in their order.
    fn encode(&self, bodies: impl Iterator<Item = Vec<u8>>, appended: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut code = CodeSection::new();
        bodies.for_each(|body| {
            code.raw(&body);
        });
        let mut module = wasm_encoder::Module::new();
        let mut to_append = appended.iter().peekable();
        for (id, contents) in &self.sections {
            // A section to append to that is not there belongs before the first one that comes after it.
            while let Some((missing, item)) = to_append.next_if(|(wanted, _)| comes_before(*wanted, *id)) {
                module.section(&RawSection { id: *missing, data: &with_item(&[0], item) });
            }
            if let Some((_, item)) = to_append.next_if(|(wanted, _)| wanted == id) {
                module.section(&RawSection { id: *id, data: &with_item(contents, item) });
            } else if *id == CODE_SECTION {
                module.section(&code);
            } else {
                module.section(&RawSection { id: *id, data: contents });
            }
        }
        module.finish()
    }

    /// The module with these bodies, and an `i32` global after all others that is exported under this name.
    pub(crate) fn with_global(&self, name: &str, bodies: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
        const MUTABLE_I32_OF_ZERO: [u8; 5] = [0x7f, 0x01, 0x41, 0x00, 0x0b];
        const KIND_GLOBAL: u8 = 0x03;
        let mut export = vec![u8::try_from(name.len()).expect("a short name")];
        export.extend(name.as_bytes());
        export.push(KIND_GLOBAL);
        export.extend(leb128(self.globals));
        self.encode(bodies, &[(GLOBAL_SECTION, MUTABLE_I32_OF_ZERO.to_vec()), (EXPORT_SECTION, export)])
    }

    /// The charges in a function's body, each by the index of its first operator.
    pub(crate) fn charges(&self, function: usize) -> Vec<usize> {
        let operators = &self.bodies[function].operators;
        (0..operators.len()).filter(|at| self.reserved.charge_at(operators, *at)).collect()
    }
}

/// Whether the section of globals or of exports stands before another. Custom sections stand anywhere. Of the others,
/// only that of tags has a number that misleads: it stands before both.
fn comes_before(id: u8, other: u8) -> bool {
    ![CUSTOM_SECTION, TAG_SECTION].contains(&other) && id < other
}

/// A section's contents with another item at its end.
fn with_item(contents: &[u8], item: &[u8]) -> Vec<u8> {
    let mut reader = BinaryReader::new(contents, 0);
    let count = reader.read_var_u32().expect("a section of items begins with their number");
    let items = &contents[reader.current_position()..];
    [&leb128(count + 1), items, item].concat()
}

/// An unsigned number as it is encoded.
pub(crate) fn leb128(value: u32) -> Vec<u8> {
    use wasm_encoder::Encode;
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes
}

impl<'a> Body<'a> {
    fn of(wasm: &'a [u8], body: &FunctionBody<'a>) -> Body<'a> {
        let mut reader = body.get_operators_reader().expect("well-formed");
        let bytes = |range: Range<u64>| &wasm[range.start as usize..range.end as usize];
        let whole = bytes(body.range());
        let locals = bytes(body.range().start..reader.original_position());
        let mut body = Body { whole, locals, operators: Vec::new(), bytes: Vec::new() };
        while !reader.eof() {
            let (operator, start) = reader.read_with_offset().expect("well-formed");
            body.operators.push(operator);
            body.bytes.push(bytes(start..reader.original_position()));
        }
        body
    }
}

impl Reserved {
    /// Whether the operators from this one on are a charge, of whatever constant, to the letter.
    pub(crate) fn charge_at(self, operators: &[Operator<'_>], at: usize) -> bool {
        let Some(charge) = operators.get(at..at + CHARGE_LENGTH) else { return false };
        let counter = self.reductions;
        matches!(
            charge,
            [
                Operator::GlobalGet { global_index: first },
                Operator::I64Const { .. },
                Operator::I64Sub,
                Operator::GlobalSet { global_index: second },
                Operator::GlobalGet { global_index: third },
                Operator::I64Const { value: 0 },
                Operator::I64LtS,
                Operator::If { blockty: BlockType::Empty },
                Operator::Call { function_index },
                Operator::End,
            ] if [*first, *second, *third] == [counter; 3] && *function_index == self.yield_function
        )
    }
}
