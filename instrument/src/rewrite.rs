//! Puts the charges into a module, with walrus.
//!
//! Only valid modules that [`crate::screen`] has let through come here. The rewriter adds the two reserved imports
//! and, in every function, the charges that [`crate::plan`] asks for; before that, [`crate::unroll`] writes small loops
//! out. Nothing else is added, moved or collected.
//! walrus itself drops code that can never run, unused locals and `nop`s, orders functions by size, and writes
//! custom sections behind all others (`dylink.0` excepted).
//!
//! Sections that speak of positions in the old code would be wrong now and are dropped; see [`is_positional`]. Debug
//! sections are kept by [`crate::origin`], for which the rewriter notes what is where now.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use walrus::ir::{
    BinaryOp, Binop, Call, Const, GlobalGet, GlobalSet, IfElse, Instr, InstrLocId, InstrSeqId, Value,
};
use walrus::{
    CodeTransform, CustomSection, FunctionId, GlobalId, IdsToIndices, LocalFunction, Module, ModuleConfig,
    ValType,
};

use crate::abi::{KEPT_DEBUG_PREFIX, METERING_MODULE, OFFSETS_SECTION, REDUCTIONS_GLOBAL, YIELD_FUNCTION};
use crate::origin::kept_name;
use crate::plan::{Charge, Plan, plan};
use crate::unroll::{Copies, unroll};

/// A module with its charges, as walrus writes it.
#[derive(Debug)]
pub(crate) struct Rewritten {
    pub(crate) bytes: Vec<u8>,
    /// Where each operator is in `bytes` and where it was, if that was asked for; in the order of the former.
    pub(crate) operators: Vec<Moved>,
    pub(crate) functions: usize,
    pub(crate) loops: usize,
    pub(crate) charges: usize,
    /// The largest charge, 0 if there is none.
    pub(crate) bound: u32,
    /// The names of the custom sections left out, in the order of the file.
    pub(crate) dropped_sections: Vec<String>,
}

/// An operator's offsets, both from the beginning of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moved {
    pub(crate) to: u32,
    pub(crate) from: u32,
}

/// Rewrites a screened module. Loops are written out if `unrolled`, and what is where is noted if `with_offsets`, which
/// takes its time.
pub(crate) fn rewrite(
    wasm: &[u8],
    max_charge: u32,
    unrolled: bool,
    with_offsets: bool,
) -> walrus::Result<Rewritten> {
    let mut config = ModuleConfig::new();
    config.generate_dwarf(false).legacy_exceptions(false).preserve_code_transform(with_offsets);
    let mut module = config.parse(wasm)?;
    let dropped_sections = drop_positional_sections(&mut module, wasm);
    let reserved = Reserved::import_into(&mut module);
    let mut rewritten = Rewritten {
        bytes: Vec::new(),
        operators: Vec::new(),
        functions: 0,
        loops: 0,
        charges: 0,
        bound: 0,
        dropped_sections,
    };
    let mut copies = Copies::new(wasm.len());
    for (_, function) in module.funcs.iter_local_mut() {
        if unrolled {
            unroll(function, &mut copies);
        }
        let plan = plan(function, max_charge);
        rewritten.count(&plan);
        insert(function, plan.charges, reserved);
    }
    let listener = Listener::default();
    if with_offsets {
        module.customs.add(listener.clone());
    }
    rewritten.bytes = module.emit_wasm();
    rewritten.operators = listener.take();
    rewritten.operators.iter_mut().for_each(|operator| operator.from = copies.original(operator.from));
    Ok(rewritten)
}

impl Rewritten {
    fn count(&mut self, plan: &Plan) {
        self.functions += 1;
        self.loops += plan.loops;
        self.charges += plan.charges.len();
        let largest = plan.charges.iter().map(|charge| charge.cost).max();
        self.bound = self.bound.max(largest.unwrap_or(0));
    }
}

/// The two imports that every charge uses.
#[derive(Clone, Copy)]
struct Reserved {
    reductions: GlobalId,
    yield_function: FunctionId,
}

impl Reserved {
    fn import_into(module: &mut Module) -> Reserved {
        let (reductions, _) =
            module.add_import_global(METERING_MODULE, REDUCTIONS_GLOBAL, ValType::I64, true, false);
        let signature = module.types.add(&[], &[]);
        let (yield_function, _) = module.add_import_func(METERING_MODULE, YIELD_FUNCTION, signature);
        Reserved { reductions, yield_function }
    }
}

/// Whether a custom section holds offsets or indices of the old code: DWARF and source maps, relocations, and
/// branch hints and the like; and what only a prepared module has. (`name` holds indices too, and walrus writes it
/// anew.)
fn is_positional(name: &str) -> bool {
    const PREFIXES: [&str; 3] = [".debug_", "reloc.", "metadata.code."];
    const NAMES: [&str; 4] = ["linking", "sourceMappingURL", "external_debug_info", OFFSETS_SECTION];
    let is_kept =
        |name: &str| name.strip_prefix(KEPT_DEBUG_PREFIX).is_some_and(|name| name.starts_with("debug_"));
    NAMES.contains(&name) || is_kept(name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Hears from walrus where it has put each operator. Only custom sections are told, so it is one, an empty one, which
/// is left out in the end.
#[derive(Debug, Clone, Default)]
struct Listener(Arc<Mutex<Vec<Moved>>>);

impl CustomSection for Listener {
    fn name(&self) -> &str {
        OFFSETS_SECTION
    }

    fn data(&self, _: &IdsToIndices) -> Cow<'_, [u8]> {
        Cow::Borrowed(&[])
    }

    fn apply_code_transform(&mut self, transform: &CodeTransform) {
        let operators = transform.instruction_map.iter();
        // What it writes is smaller than 4 GiB, as what it reads is.
        let mut operators: Vec<_> =
            operators.map(|&(from, to)| Moved { to: to as u32, from: from.data() }).collect();
        operators.sort_unstable_by_key(|operator| operator.to);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = operators;
    }
}

impl Listener {
    fn take(&self) -> Vec<Moved> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn drop_positional_sections(module: &mut Module, wasm: &[u8]) -> Vec<String> {
    let positional = module.customs.iter().filter(|(_, section)| is_positional(section.name()));
    for id in positional.map(|(id, _)| id).collect::<Vec<_>>() {
        module.customs.delete(id);
    }
    // walrus has set the debug sections aside, so the list for the report is taken from the file.
    let payloads = wasmparser::Parser::new(0).parse_all(wasm);
    let names = payloads.filter_map(|payload| match payload {
        Ok(wasmparser::Payload::CustomSection(section)) => Some(section.name()),
        _ => None,
    });
    names.filter(|name| is_positional(name) && kept_name(name).is_none()).map(str::to_owned).collect()
}

/// Inserts charges into a function, in time linear in its size.
fn insert(function: &mut LocalFunction, mut charges: Vec<Charge>, reserved: Reserved) {
    charges.sort_by_key(|charge| (charge.seq, charge.position));
    for group in charges.chunk_by(|a, b| a.seq == b.seq) {
        let seq = group[0].seq; // chunk_by never yields an empty group
        let old = std::mem::take(&mut function.block_mut(seq).instrs);
        let mut new = Vec::with_capacity(old.len() + group.len() * CHARGE_LEN);
        let mut group = group.iter().peekable();
        for (position, instr) in old.into_iter().enumerate() {
            while let Some(charge) = group.next_if(|charge| charge.position == position) {
                push_charge(&mut new, function, charge.cost, reserved);
            }
            new.push(instr);
        }
        for charge in group {
            push_charge(&mut new, function, charge.cost, reserved);
        }
        function.block_mut(seq).instrs = new;
    }
}

/// How many instructions a charge adds to the sequence it stands in.
const CHARGE_LEN: usize = 8;

/// Appends a charge, as it is drawn in [`crate::abi`].
fn push_charge(
    instrs: &mut Vec<(Instr, InstrLocId)>,
    function: &mut LocalFunction,
    cost: u32,
    Reserved { reductions: global, yield_function }: Reserved,
) {
    let (consequent, alternative) = (call_of(function, yield_function), empty(function));
    let charge: [Instr; CHARGE_LEN] = [
        GlobalGet { global }.into(),
        Const { value: Value::I64(i64::from(cost)) }.into(),
        Binop { op: BinaryOp::I64Sub }.into(),
        GlobalSet { global }.into(),
        GlobalGet { global }.into(),
        Const { value: Value::I64(0) }.into(),
        Binop { op: BinaryOp::I64LtS }.into(),
        IfElse { consequent, alternative }.into(),
    ];
    instrs.extend(charge.map(|instr| (instr, InstrLocId::default())));
}

fn call_of(function: &mut LocalFunction, callee: FunctionId) -> InstrSeqId {
    let mut body = function.builder_mut().dangling_instr_seq(None);
    body.instr(Call { func: callee });
    body.id()
}

fn empty(function: &mut LocalFunction) -> InstrSeqId {
    function.builder_mut().dangling_instr_seq(None).id()
}
