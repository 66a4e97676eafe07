//! Reads a body once for two consumers: the validator, and a sink for its operators.
//!
//! Reading takes longer than anything that this crate does with the result. So operators are not turned into
//! values to be matched, which wasmparser offers: there is a method for each operator, in which the sink's
//! code for other operators is removed at compile time. The [`Operator`] that the sink gets exists only in
//! the source.
//!
//! The rewriter and the verifier both read by this module, and share no other code. It knows wasmparser, and
//! nothing of charges.

use wasmparser::{
    FrameKind, FrameStack, FuncValidator, FunctionBody, ModuleArity, Operator, ValidatorResources,
    VisitOperator, VisitSimdOperator,
};

/// Receives the operators of a body.
pub(crate) trait Sink {
    /// What it keeps of an operator until its end is known.
    type Seen: 'static;
    type Error: From<wasmparser::Error> + 'static;

    /// Receives a valid operator, which begins at an offset. Should be inlined: there is an instance for each
    /// operator.
    fn operator(&mut self, operator: &Operator<'_>, offset: u64) -> Result<Self::Seen, Self::Error>;

    /// Receives the range of the operator.
    fn end(&mut self, seen: Self::Seen, from: u64, to: u64);
}

/// Reads a body to its end. If it is invalid, the sink has received the operators before.
pub(crate) fn read<S: Sink>(
    body: &FunctionBody<'_>,
    validator: &mut FuncValidator<ValidatorResources>,
    sink: &mut S,
) -> Result<(), S::Error> {
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader)?;
    while !reader.eof() {
        let from = reader.original_position();
        let visitor = &mut Visitor { validator: validator.visitor(from), sink, offset: from };
        let seen = reader.visit_operator(visitor)??;
        sink.end(seen, from, reader.original_position());
    }
    Ok(reader.finish_expression(&validator.visitor(reader.original_position()))?)
}

struct Visitor<'s, V, S> {
    validator: V,
    sink: &'s mut S,
    offset: u64,
}

impl<V: FrameStack, S> FrameStack for Visitor<'_, V, S> {
    fn current_frame(&self) -> Option<FrameKind> {
        self.validator.current_frame()
    }
}

macro_rules! visit {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        $(
            fn $visit(&mut self $($(, $arg: $argty)*)?) -> Self::Output {
                self.validator.$visit($($($arg.clone()),*)?)?;
                self.sink.operator(&Operator::$op $({ $($arg),* })?, self.offset)
            }
        )*
    };
}

macro_rules! visit_simd {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        $(
            fn $visit(&mut self $($(, $arg: $argty)*)?) -> Self::Output {
                // Validate first: a sink never receives an invalid operator.
                let validator = self.validator.simd_visitor().expect("wasmparser is built with vectors");
                validator.$visit($($($arg),*)?)?;
                self.sink.operator(&Operator::$op $({ $($arg),* })?, self.offset)
            }
        )*
    };
}

#[allow(clippy::clone_on_copy, reason = "some are Copy, some are not")]
impl<'a, V, S: Sink> VisitOperator<'a> for Visitor<'_, V, S>
where
    V: VisitOperator<'a, Output = wasmparser::Result<()>> + FrameStack + ModuleArity,
{
    type Output = Result<S::Seen, S::Error>;

    fn simd_visitor(&mut self) -> Option<&mut dyn VisitSimdOperator<'a, Output = Self::Output>> {
        Some(self)
    }

    wasmparser::for_each_visit_operator!(visit);
}

impl<'a, V, S: Sink> VisitSimdOperator<'a> for Visitor<'_, V, S>
where
    V: VisitOperator<'a, Output = wasmparser::Result<()>> + FrameStack + ModuleArity,
{
    wasmparser::for_each_visit_simd_operator!(visit_simd);
}
