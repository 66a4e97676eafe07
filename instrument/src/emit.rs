//! Writes bodies: the original bytes, with charges between them and the indices that changed.

use wasm_encoder::{BranchHint, BranchHints, CustomSection, Encode, IndirectNameMap, NameMap, Section};
use wasmparser::FunctionBody;

use crate::abi::CODE_START_SECTION;
use crate::body::{Body, Item, Kind, Number};
use crate::offset_map::OffsetMap;
use crate::plan::Charge;

/// The code section while it is written.
pub(crate) struct Emitter<'a> {
    wasm: &'a [u8],
    /// The imported function that every charge calls.
    charge_function: u32,
    /// The content of the section so far.
    pub(crate) code: Vec<u8>,
    /// The hints of the original, and no others: a charge has no branch.
    pub(crate) hints: BranchHints,
    pub(crate) origins: Option<Origins>,
    /// The names of labels, by function.
    pub(crate) labels: IndirectNameMap,
    body: BodyEmitter,
}

/// The offset map while it is written.
#[derive(Debug)]
pub(crate) struct Origins {
    /// Where the original code section's content began.
    pub(crate) code_start: u32,
    pub(crate) map: OffsetMap,
}

/// The body that is being written. It is written separately, because its length precedes it.
#[derive(Default)]
struct BodyEmitter {
    bytes: Vec<u8>,
    hints: Vec<BranchHint>,
    /// The number of labels so far, and the names of some by their numbers.
    labels: u32,
    label_names: NameMap,
    /// Positions of operators in `bytes`, and in the original file.
    places: Vec<(u32, u32)>,
}

impl Origins {
    /// Appends the sections with the offset map.
    pub(crate) fn append_to(self, module: &mut Vec<u8>) {
        let mut start = Vec::new();
        self.code_start.encode(&mut start);
        CustomSection { name: CODE_START_SECTION.into(), data: start.into() }.append_to(module);
        self.map.append_to(module);
    }
}

impl<'a> Emitter<'a> {
    /// Creates an emitter for this number of functions of the module.
    pub(crate) fn new(wasm: &'a [u8], functions: u32, charge_function: u32, size: usize) -> Emitter<'a> {
        let mut code = Vec::with_capacity(size);
        functions.encode(&mut code);
        let (labels, body) = (IndirectNameMap::new(), BodyEmitter::default());
        Emitter { wasm, charge_function, code, hints: BranchHints::new(), origins: None, labels, body }
    }

    /// Appends a function, and returns its length. `charges` are in the order of a plan. `hints` and `labels`
    /// are those of the original, in order, the latter by the position of their constructs.
    pub(crate) fn function(
        &mut self,
        index: u32,
        original: &FunctionBody<'_>,
        body: &Body,
        charges: &[Charge],
        hints: &[BranchHint],
        labels: &[(u32, &str)],
    ) -> usize {
        // Modules are far smaller than 4 GiB: see `MAX_MODULE_BYTES`.
        let start = original.range().start as u32;
        let first = body.items.first().map_or(start, |item| item.from);
        self.body.begin(&self.wasm[start as usize..first as usize]);
        let mut charges = charges.iter().rev().peekable();
        let mut patch = 0;
        for (position, item) in body.items.iter().enumerate() {
            while let Some(charge) = charges.next_if(|charge| charge.before == position) {
                self.body.charge(charge.cost, self.charge_function);
            }
            if matches!(item.kind, Kind::If | Kind::BrIf(_) | Kind::BrOn(_)) {
                self.body.hint(item.from - start, hints);
            }
            if item.kind.begins_block() {
                let name = labels.binary_search_by_key(&item.from, |label| label.0);
                self.body.label(name.ok().filter(|_| item.operators > 0).map(|found| labels[found].1));
            }
            self.body.item(self.wasm, body, item, &mut patch);
        }
        self.append(index, first);
        self.body.bytes.len()
    }

    fn append(&mut self, index: u32, first: u32) {
        let BodyEmitter { bytes, hints, label_names, places, .. } = &self.body;
        (bytes.len() as u32).encode(&mut self.code);
        if let Some(origins) = &mut self.origins {
            let start = self.code.len() as u32;
            // What precedes the first operator is a charge.
            origins.map.begin_run(start, first - origins.code_start);
            for &(to, from) in places {
                origins.map.push(start + to, from - origins.code_start);
            }
        }
        self.code.extend_from_slice(bytes);
        if !hints.is_empty() {
            self.hints.function_hints(index, hints.iter().copied());
        }
        if !label_names.is_empty() {
            self.labels.append(index, label_names);
        }
    }
}

impl BodyEmitter {
    fn begin(&mut self, locals: &[u8]) {
        self.bytes.clear();
        self.hints.clear();
        self.labels = 0;
        self.label_names = NameMap::new();
        self.places.clear();
        self.bytes.extend_from_slice(locals);
    }

    /// Appends a charge, as it is shown in [`crate::abi`].
    fn charge(&mut self, cost: u32, function: u32) {
        // Charges are far below 2³¹: see `MAX_CHARGE`.
        wasm_encoder::InstructionSink::new(&mut self.bytes).i32_const(cost as i32).call(function);
    }

    /// Counts a label, which may have a name.
    fn label(&mut self, name: Option<&str>) {
        if let Some(name) = name {
            self.label_names.append(self.labels, name);
        }
        self.labels += 1;
    }

    /// Takes over the hint for the branch at an offset of its original function.
    fn hint(&mut self, offset: u32, hints: &[BranchHint]) {
        if let Ok(found) = hints.binary_search_by_key(&offset, |hint| hint.branch_func_offset) {
            let branch_hint_value = hints[found].branch_hint_value;
            self.hints.push(BranchHint { branch_func_offset: self.bytes.len() as u32, branch_hint_value });
        }
    }

    /// Appends an item. `patch` is the number of the first patch that is not before the item, if items are in
    /// their order.
    fn item(&mut self, wasm: &[u8], body: &Body, item: &Item, patch: &mut usize) {
        let place = self.bytes.len() as u32;
        let mut code = wasm_encoder::InstructionSink::new(&mut self.bytes);
        match item.kind {
            Kind::Around => {
                self.bytes.push(BLOCK);
                // The type of the loop follows its opcode.
                self.bytes.extend_from_slice(&wasm[item.from as usize + 1..item.to as usize]);
            }
            Kind::Round => _ = code.block(wasm_encoder::BlockType::Empty),
            Kind::Leave(depth) => _ = code.br(depth),
            Kind::End { .. } if item.from == item.to => _ = code.end(),
            Kind::Br(depth) if item.moved.by > 0 => {
                self.places.push((place, item.from));
                _ = code.br(depth);
            }
            Kind::BrIf(depth) if item.moved.by > 0 => {
                self.places.push((place, item.from));
                _ = code.br_if(depth);
            }
            Kind::BrTable { first, count } if item.moved.by > 0 => {
                let mut depths: Vec<u32> = body.table(first, count, item.moved).collect();
                let default = depths.pop().unwrap_or_default();
                self.places.push((place, item.from));
                _ = code.br_table(depths, default);
            }
            _ => self.original(wasm, body, item, patch),
        }
    }

    fn original(&mut self, wasm: &[u8], body: &Body, item: &Item, patch: &mut usize) {
        let patches = &body.patches;
        let is_next = |patch: usize| {
            let after = patches.get(patch).is_none_or(|patch| patch.from >= item.from);
            after && patch.checked_sub(1).is_none_or(|before| patches[before].from < item.from)
        };
        if !is_next(*patch) {
            *patch = patches.partition_point(|patch| patch.from < item.from);
        }
        let mut from = item.from;
        self.places.push((self.bytes.len() as u32, from));
        while let Some(&changed) = patches.get(*patch).filter(|patch| patch.from < item.to) {
            self.copy(wasm, from, changed.from, item.last);
            match changed.number {
                Number::Unsigned(number) => number.encode(&mut self.bytes),
                Number::Signed(number) => number.encode(&mut self.bytes),
            }
            from = changed.to;
            if from <= item.last {
                self.places.push((self.bytes.len() as u32, from));
            }
            *patch += 1;
        }
        self.copy(wasm, from, item.to, item.last);
    }

    /// Copies bytes of the original, and notes the position of the item's last operator if it is among them.
    fn copy(&mut self, wasm: &[u8], from: u32, to: u32, last: u32) {
        if (from..to).contains(&last) {
            self.places.push((self.bytes.len() as u32 + (last - from), last));
        }
        self.bytes.extend_from_slice(&wasm[from as usize..to as usize]);
    }
}

/// The opcode of `block`.
const BLOCK: u8 = 0x02;
