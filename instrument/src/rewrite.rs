//! Puts the charges into a module, with walrus.
//!
//! Only valid modules that [`crate::screen`] has let through come here. The rewriter adds the two reserved imports
//! and, in every function, the charges that [`crate::plan`] asks for; before that, [`crate::unroll`] writes small loops
//! out. Nothing else is added, moved or collected.
//! walrus itself drops code that can never run, unused locals and `nop`s, orders functions by size, and writes
//! custom sections behind all others (`dylink.0` excepted).
//!
//! Sections that speak of positions in the old code would be wrong now and are dropped; see [`is_positional`].

use walrus::ir::{
    BinaryOp, Binop, Call, Const, GlobalGet, GlobalSet, IfElse, Instr, InstrLocId, InstrSeqId, Value,
};
use walrus::{FunctionId, GlobalId, LocalFunction, Module, ModuleConfig, ValType};

use crate::abi::{METERING_MODULE, REDUCTIONS_GLOBAL, YIELD_FUNCTION};
use crate::plan::{Charge, Plan, plan};
use crate::unroll::unroll;

/// A module with its charges, as walrus writes it.
#[derive(Debug)]
pub(crate) struct Rewritten {
    pub(crate) bytes: Vec<u8>,
    pub(crate) functions: usize,
    pub(crate) loops: usize,
    pub(crate) charges: usize,
    /// The largest charge, 0 if there is none.
    pub(crate) bound: u32,
    /// The names of the custom sections left out, in the order of the file.
    pub(crate) dropped_sections: Vec<String>,
}

/// Rewrites a screened module.
pub(crate) fn rewrite(wasm: &[u8], max_charge: u32, unrolled: bool) -> walrus::Result<Rewritten> {
    let mut config = ModuleConfig::new();
    config.generate_dwarf(false).legacy_exceptions(false);
    let mut module = config.parse(wasm)?;
    let dropped_sections = drop_positional_sections(&mut module, wasm);
    let reserved = Reserved::import_into(&mut module);
    let mut rewritten =
        Rewritten { bytes: Vec::new(), functions: 0, loops: 0, charges: 0, bound: 0, dropped_sections };
    for (_, function) in module.funcs.iter_local_mut() {
        if unrolled {
            unroll(function);
        }
        let plan = plan(function, max_charge);
        rewritten.count(&plan);
        insert(function, plan.charges, reserved);
    }
    rewritten.bytes = module.emit_wasm();
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
/// branch hints and the like. (`name` holds indices too, and walrus writes it anew.)
fn is_positional(name: &str) -> bool {
    const PREFIXES: [&str; 3] = [".debug_", "reloc.", "metadata.code."];
    const NAMES: [&str; 3] = ["linking", "sourceMappingURL", "external_debug_info"];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
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
    names.filter(|name| is_positional(name)).map(str::to_owned).collect()
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
