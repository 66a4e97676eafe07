//! A function's body as the rewriter sees it: a list of items, each a range of the original bytes.
//!
//! Code is taken apart only as far as necessary. A run of operators that continue to the next one is one
//! item, whatever they do, and is copied as it is. So a proposal that adds such operators needs nothing here;
//! a proposal that adds control flow does. The added import moves the indices of the functions that the
//! module defines; places that name one are listed beside the items.

use wasmparser::{
    BlockType, Catch, FuncValidator, FunctionBody, Operator, Result, TryTable, ValidatorResources,
};

use crate::cost;
use crate::read::{self, Sink};

/// A body, in order.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) items: Vec<Item>,
    /// The numbers that change, in the order of the original.
    pub(crate) patches: Vec<Patch>,
    /// The depths that the tables branch to, the default one last.
    pub(crate) depths: Vec<u32>,
}

/// One operator that matters to control flow, or several others in a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    pub(crate) kind: Kind,
    /// The range of the file that contains its operators. Empty if it was inserted.
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Where the last operator begins.
    pub(crate) last: u32,
    /// The number of its operators, without those that only mark an end.
    pub(crate) operators: u32,
    /// Their total cost.
    pub(crate) cost: u32,
    pub(crate) moved: Moved,
}

/// How a branch's depth changes when the branch is copied into another nesting.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moved {
    /// Depths up to this one do not change.
    pub(crate) inside: u32,
    /// Added to larger depths.
    pub(crate) by: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Operators that continue to the next one.
    Run,
    Call(Callee),
    Block,
    /// `try_table`, `try`.
    Try,
    Loop {
        /// Whether it takes no values, and its type is encoded in place.
        is_simple: bool,
    },
    If,
    Else,
    /// The beginning of a handler of a `try`.
    Catch,
    /// `end`, or the `delegate` that stands for one.
    End {
        /// The item that it ends; without meaning for the end of the function. See [`Body::link`].
        begins: u32,
        /// Whether a `catch` clause names its label.
        is_caught: bool,
    },
    Br(u32),
    BrIf(u32),
    /// A conditional branch that tests a reference.
    BrOn(u32),
    BrTable {
        /// The first of its [`Body::depths`].
        first: u32,
        count: u32,
    },
    /// Leaves the function, or throws.
    Exit,
    /// Inserted: a block with the type of the loop that `from` and `to` belong to.
    Around,
    /// Inserted: a block without a type.
    Round,
    /// Inserted: a branch.
    Leave(u32),
}

/// The callee of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callee {
    /// A function of the module, which begins with a charge.
    Defined,
    /// An imported function.
    Imported,
    /// Either.
    Unknown,
}

/// A number in the code that changes, or becomes shorter: linkers leave numbers that they fill in five bytes
/// long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patch {
    /// Its range in the file.
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// The new number.
    pub(crate) number: Number,
}

/// A number as it is encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Unsigned(u32),
    Signed(i32),
}

/// The number of functions that are imported before the added one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Imported(pub(crate) u32);

impl Imported {
    pub(crate) fn new_index(self, index: u32) -> u32 {
        index + u32::from(index >= self.0)
    }
}

impl Body {
    /// Reads and validates a body of a module. No run costs more than `longest_run`, so that charges can be
    /// placed between any two.
    pub(crate) fn read(
        wasm: &[u8],
        body: &FunctionBody<'_>,
        validator: &mut FuncValidator<ValidatorResources>,
        imported: Imported,
        longest_run: u32,
    ) -> Result<Body> {
        let mut reader = Reader { wasm, read: Body::default(), imported, longest_run, labels: vec![false] };
        read::read(body, validator, &mut reader)?;
        reader.read.link();
        Ok(reader.read)
    }

    /// Returns the depths that a table branches to, after the move.
    pub(crate) fn table(&self, first: u32, count: u32, moved: Moved) -> impl Iterator<Item = u32> {
        let depths = &self.depths[first as usize..][..count as usize];
        depths.iter().map(move |&depth| moved.depth(depth))
    }

    /// Sets for every `end` the item that it ends.
    pub(crate) fn link(&mut self) {
        let mut open = Vec::new();
        for (index, item) in self.items.iter_mut().enumerate() {
            match &mut item.kind {
                kind if kind.begins_block() => open.push(index as u32),
                Kind::End { begins, .. } => *begins = open.pop().unwrap_or(u32::MAX),
                _ => {}
            }
        }
    }
}

impl Kind {
    pub(crate) fn begins_block(self) -> bool {
        matches!(self, Kind::Block | Kind::Try | Kind::Loop { .. } | Kind::If | Kind::Around | Kind::Round)
    }

    /// Whether control never continues behind it.
    pub(crate) fn is_jump(self) -> bool {
        matches!(self, Kind::Br(_) | Kind::BrTable { .. } | Kind::Exit | Kind::Leave(_))
    }
}

impl Moved {
    pub(crate) fn depth(self, depth: u32) -> u32 {
        if depth > self.inside { depth + self.by } else { depth }
    }
}

/// The bytes that linkers leave for a 32-bit number.
const PADDED: u32 = 5;

/// Returns the offset of a memory access that linkers fill in.
#[inline(always)]
fn offset_of_access(operator: &Operator<'_>) -> Option<u64> {
    match operator {
        Operator::I32Load { memarg }
        | Operator::I64Load { memarg }
        | Operator::F32Load { memarg }
        | Operator::F64Load { memarg }
        | Operator::I32Load8S { memarg }
        | Operator::I32Load8U { memarg }
        | Operator::I32Load16S { memarg }
        | Operator::I32Load16U { memarg }
        | Operator::I64Load8S { memarg }
        | Operator::I64Load8U { memarg }
        | Operator::I64Load16S { memarg }
        | Operator::I64Load16U { memarg }
        | Operator::I64Load32S { memarg }
        | Operator::I64Load32U { memarg }
        | Operator::I32Store { memarg }
        | Operator::I64Store { memarg }
        | Operator::F32Store { memarg }
        | Operator::F64Store { memarg }
        | Operator::I32Store8 { memarg }
        | Operator::I32Store16 { memarg }
        | Operator::I64Store8 { memarg }
        | Operator::I64Store16 { memarg }
        | Operator::I64Store32 { memarg } => Some(memarg.offset),
        _ => None,
    }
}

struct Reader<'a> {
    wasm: &'a [u8],
    read: Body,
    imported: Imported,
    longest_run: u32,
    /// For each surrounding label, whether a `catch` clause names it.
    labels: Vec<bool>,
}

/// What is kept of an operator until its end is known.
struct Seen {
    kind: Kind,
    operators: u32,
    cost: u32,
    change: Change,
}

/// How the number in an operator changes.
enum Change {
    Not,
    /// It is replaced. The opcode before it is one byte long.
    To(u32),
    /// It stays the same, but may be encoded in fewer bytes.
    Shorter(Number),
    /// The same, for the offset of an access.
    ShorterOffset(u64),
}

impl Sink for Reader<'_> {
    type Seen = Seen;
    type Error = wasmparser::Error;

    #[inline(always)]
    fn operator(&mut self, operator: &Operator<'_>, _offset: u64) -> Result<Seen> {
        let is_mark = matches!(operator, Operator::Nop | Operator::Else | Operator::End);
        Ok(Seen {
            kind: self.kind(operator),
            operators: u32::from(!is_mark),
            cost: cost::of_operator(operator),
            change: self.change(operator),
        })
    }

    #[inline]
    fn end(&mut self, seen: Seen, from: u64, to: u64) {
        // Modules are far smaller than 4 GiB: see `MAX_MODULE_BYTES`.
        let (from, to) = (from as u32, to as u32);
        let Seen { kind, operators, cost, change } = seen;
        self.read.patches.extend(self.patch(change, from, to));
        if kind == Kind::Run
            && let Some(run) = self.read.items.last_mut()
            && run.kind == Kind::Run
            && run.cost + cost <= self.longest_run
        {
            *run =
                Item { to, last: from, operators: run.operators + operators, cost: run.cost + cost, ..*run };
        } else {
            let moved = Moved::default();
            self.read.items.push(Item { kind, from, to, last: from, operators, cost, moved });
        }
    }
}

impl Reader<'_> {
    #[inline(always)]
    fn change(&self, operator: &Operator<'_>) -> Change {
        match *operator {
            Operator::Call { function_index: index }
            | Operator::ReturnCall { function_index: index }
            | Operator::RefFunc { function_index: index } => Change::To(self.imported.new_index(index)),
            Operator::GlobalGet { global_index: index } | Operator::GlobalSet { global_index: index } => {
                Change::Shorter(Number::Unsigned(index))
            }
            Operator::I32Const { value } => Change::Shorter(Number::Signed(value)),
            _ => offset_of_access(operator).map_or(Change::Not, Change::ShorterOffset),
        }
    }

    fn patch(&self, change: Change, from: u32, to: u32) -> Option<Patch> {
        let length = to - from;
        let (behind, number) = match change {
            Change::To(index) => (1, Number::Unsigned(index)),
            Change::Shorter(number) if length == 1 + PADDED => (1, number),
            // The alignment, in a byte that does not announce a memory index, then the offset.
            Change::ShorterOffset(offset) if length == 2 + PADDED && self.wasm[from as usize + 1] < 0x40 => {
                (2, Number::Unsigned(u32::try_from(offset).ok()?))
            }
            Change::Not | Change::Shorter(_) | Change::ShorterOffset(_) => return None,
        };
        Some(Patch { from: from + behind, to, number })
    }

    #[inline(always)]
    fn kind(&mut self, operator: &Operator<'_>) -> Kind {
        match operator {
            Operator::Call { function_index } if *function_index < self.imported.0 => {
                Kind::Call(Callee::Imported)
            }
            Operator::Call { .. } => Kind::Call(Callee::Defined),
            Operator::CallIndirect { .. } | Operator::CallRef { .. } => Kind::Call(Callee::Unknown),
            Operator::Block { .. } => self.begin(Kind::Block),
            Operator::Try { .. } => self.begin(Kind::Try),
            Operator::TryTable { try_table } => {
                self.note_handlers(try_table);
                self.begin(Kind::Try)
            }
            Operator::Loop { blockty } => {
                self.begin(Kind::Loop { is_simple: !matches!(blockty, BlockType::FuncType(_)) })
            }
            Operator::If { .. } => self.begin(Kind::If),
            Operator::Else => Kind::Else,
            Operator::Catch { .. } | Operator::CatchAll => Kind::Catch,
            Operator::End | Operator::Delegate { .. } => {
                let is_caught = self.labels.pop().unwrap_or(false);
                Kind::End { begins: 0, is_caught }
            }
            Operator::Br { relative_depth } => Kind::Br(*relative_depth),
            Operator::BrIf { relative_depth } => Kind::BrIf(*relative_depth),
            Operator::BrTable { targets } => {
                let depths = &mut self.read.depths;
                let first = depths.len();
                depths.extend(targets.targets().map_while(Result::ok).chain([targets.default()]));
                Kind::BrTable { first: first as u32, count: (depths.len() - first) as u32 }
            }
            Operator::BrOnNull { relative_depth }
            | Operator::BrOnNonNull { relative_depth }
            | Operator::BrOnCast { relative_depth, .. }
            | Operator::BrOnCastFail { relative_depth, .. } => Kind::BrOn(*relative_depth),
            Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
            | Operator::Throw { .. }
            | Operator::ThrowRef
            | Operator::Rethrow { .. } => Kind::Exit,
            _ => Kind::Run,
        }
    }

    fn begin(&mut self, kind: Kind) -> Kind {
        self.labels.push(false);
        kind
    }

    fn note_handlers(&mut self, try_table: &TryTable) {
        for handler in &try_table.catches {
            let (Catch::One { label, .. }
            | Catch::OneRef { label, .. }
            | Catch::All { label }
            | Catch::AllRef { label }) = *handler;
            let index = self.labels.len().checked_sub(1 + label as usize);
            if let Some(is_caught) = index.and_then(|index| self.labels.get_mut(index)) {
                *is_caught = true;
            }
        }
    }
}
