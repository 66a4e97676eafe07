//! Takes modules apart as far as the tests need it: the bodies of functions as lists of operators, everything
//! else as the original bytes.
//!
//! Nothing is normalised, so that a module that is put together again differs only where it was meant to.
//! That is why no library that rewrites modules is used here.

use std::ops::Range;

use wasm_encoder::{CodeSection, RawSection};
use wasmparser::{FunctionBody, Operator, Parser, Payload, TypeRef};

use lunatic_instrument::abi::{CHARGE_FUNCTION, METERING_MODULE};

/// The operators of a charge.
pub(crate) const CHARGE_LENGTH: usize = 2;

const CODE_SECTION: u8 = 10;

/// A module as a list of sections, and of functions.
pub(crate) struct Listing<'a> {
    /// The ids and the contents.
    sections: Vec<(u8, &'a [u8])>,
    pub(crate) bodies: Vec<Body<'a>>,
    /// The index of the charge function. Without meaning in a module that was not prepared.
    pub(crate) charge_function: u32,
    /// The number of functions, including imported ones.
    pub(crate) functions: u32,
}

/// The body of a function.
pub(crate) struct Body<'a> {
    /// The whole body.
    whole: &'a [u8],
    /// The declarations of its locals.
    pub(crate) locals: &'a [u8],
    pub(crate) operators: Vec<Operator<'a>>,
    /// The bytes of each operator.
    pub(crate) bytes: Vec<&'a [u8]>,
}

impl<'a> Listing<'a> {
    /// Takes a valid module apart.
    pub(crate) fn of(wasm: &'a [u8]) -> Listing<'a> {
        let mut listing =
            Listing { sections: Vec::new(), bodies: Vec::new(), charge_function: 0, functions: 0 };
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
                Payload::CodeSectionEntry(body) => listing.bodies.push(Body::of(wasm, &body)),
                _ => {}
            }
        }
        listing
    }

    fn import(&mut self, module: &str, name: &str, ty: TypeRef) {
        match ty {
            TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                if (module, name) == (METERING_MODULE, CHARGE_FUNCTION) {
                    self.charge_function = self.functions;
                }
                self.functions += 1;
            }
            TypeRef::Global(_) | TypeRef::Table(_) | TypeRef::Memory(_) | TypeRef::Tag(_) => {}
        }
    }

    /// Returns the module with these operators as the body of one function.
    pub(crate) fn with_body(&self, function: usize, operators: &[&[u8]]) -> Vec<u8> {
        let bodies = self.bodies.iter().enumerate().map(|(index, body)| {
            if index == function { [body.locals, &operators.concat()].concat() } else { body.whole.to_vec() }
        });
        self.with_bodies(bodies)
    }

    /// Returns the module with these bodies.
    pub(crate) fn with_bodies(&self, bodies: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
        let mut code = CodeSection::new();
        bodies.for_each(|body| {
            code.raw(&body);
        });
        let mut module = wasm_encoder::Module::new();
        for (id, data) in &self.sections {
            if *id == CODE_SECTION {
                module.section(&code);
            } else {
                module.section(&RawSection { id: *id, data });
            }
        }
        module.finish()
    }

    /// Whether the operators from this one on are a charge, with any constant.
    pub(crate) fn charge_at(&self, operators: &[Operator<'_>], at: usize) -> bool {
        matches!(
            operators.get(at..at + CHARGE_LENGTH),
            Some([Operator::I32Const { .. }, Operator::Call { function_index }])
                if *function_index == self.charge_function
        )
    }

    /// Returns the charges in a function's body, by the index of their first operator.
    pub(crate) fn charges(&self, function: usize) -> Vec<usize> {
        let operators = &self.bodies[function].operators;
        (0..operators.len()).filter(|at| self.charge_at(operators, *at)).collect()
    }
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
