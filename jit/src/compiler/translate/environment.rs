//! How native code accesses what is outside of the function: the vm context, memories, tables, globals,
//! routines.
//!
//! Loads of values that a call may change (globals, tables, further memories) are ordinary loads, in alias
//! regions of their own: Cranelift merges them between calls, and never across one. To Cranelift, a yield is
//! a call. The base and length of the first memory are needed too often for that: they are in variables,
//! loaded on entry and after every real call. A yield does not change them, since only the process itself can
//! grow its memory. The base of a reserved memory never changes.

use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::function::FunctionStencil;
use cranelift_codegen::ir::{
    AliasRegion, AliasRegionData, FuncRef, Function, InstBuilder, MemFlagsData, SigRef, Signature, Type,
    Value, types,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, Variable};

use super::bounds::CheckedIndices;
use super::native_signature;
use crate::environ::module_info::ModuleInfo;
use crate::environ::options::{CompileOptions, MemoryLayout};
use crate::environ::value::FuncType;
use crate::environ::vm_layout::{
    Builtin, ItemLocation, VmContextHead, VmFuncRef, VmMemory, VmOffsets, VmRuntime,
};

/// What all functions of a module share during translation.
#[derive(Clone, Copy)]
pub(crate) struct ModuleEnvironment<'m> {
    pub(crate) isa: &'m dyn TargetIsa,
    /// The baseline code generator, without passes whose time may explode.
    pub(crate) baseline_isa: &'m dyn TargetIsa,
    /// The size that a function's frame may have: what fits a stack.
    pub(crate) max_frame: u32,
    pub(crate) info: &'m ModuleInfo,
    pub(crate) offsets: &'m VmOffsets,
    pub(crate) options: CompileOptions,
}

impl ModuleEnvironment<'_> {
    /// Whether the module's functions pass the counter of reductions to each other.
    pub(crate) fn is_metered(&self) -> bool {
        self.info.charge_function.is_some()
    }

    /// Whether memories are guarded by their reservations.
    pub(crate) fn is_reserved(&self) -> bool {
        self.options.memory == MemoryLayout::Reserved
    }
}

/// The alias regions. They do not overlap.
#[derive(Clone, Copy)]
pub(crate) struct Regions {
    /// The vm context, and the descriptors of tables and memories.
    pub(crate) context: AliasRegion,
    /// Linear memory.
    pub(crate) memory: AliasRegion,
    /// Table entries and function records.
    pub(crate) table: AliasRegion,
    /// Globals.
    pub(crate) global: AliasRegion,
    /// The counter of reductions.
    pub(crate) counter: AliasRegion,
}

impl Regions {
    pub(crate) fn declare(builder: &mut FunctionBuilder<'_>) -> Regions {
        let mut next = 0;
        let mut region = |description: &'static str| {
            next += 1;
            let data = AliasRegionData { user_id: next, description: description.into() };
            builder.func.dfg.alias_regions.insert(data)
        };
        Regions {
            context: region("vm context"),
            memory: region("linear memory"),
            table: region("table entries"),
            global: region("globals"),
            counter: region("reductions"),
        }
    }
}

/// Flags of an access that is aligned and cannot fault.
pub(crate) fn trusted(region: AliasRegion) -> MemFlagsData {
    MemFlagsData::trusted().with_alias_region(Some(region))
}

/// Flags of a load whose value never changes while the function runs.
pub(crate) fn constant(region: AliasRegion) -> MemFlagsData {
    trusted(region).with_readonly().with_can_move()
}

/// The current base address of a memory, and its length in bytes.
pub(crate) struct MemoryValues {
    pub(crate) base: Value,
    pub(crate) length: Value,
}

/// A function's access to what is outside of it.
pub(crate) struct Environment<'m> {
    pub(crate) module: ModuleEnvironment<'m>,
    pub(crate) context: Value,
    pub(crate) regions: Regions,
    /// The base and length of memory 0, if there is one and guest code is being translated.
    main_memory: Option<(Variable, Variable)>,
    /// The loads of base and length that were made after calls.
    reloads: Vec<Value>,
    /// The accesses that need no check.
    pub(crate) known: CheckedIndices,
    builtin_signatures: [Option<SigRef>; Builtin::COUNT],
    functions: std::collections::HashMap<u32, FuncRef>,
    signatures: std::collections::HashMap<u32, SigRef>,
}

impl<'m> Environment<'m> {
    pub(crate) fn new(module: ModuleEnvironment<'m>, context: Value, regions: Regions) -> Self {
        Environment {
            module,
            context,
            regions,
            main_memory: None,
            reloads: Vec::new(),
            known: CheckedIndices::default(),
            builtin_signatures: [None; Builtin::COUNT],
            functions: Default::default(),
            signatures: Default::default(),
        }
    }

    /// Loads the store's runtime. It never changes, but it is needed where guest code is about to be left, so
    /// the load is not hoisted: it must not take a register from a surrounding loop.
    pub(crate) fn runtime(&self, builder: &mut FunctionBuilder<'_>) -> Value {
        let flags = trusted(self.regions.context);
        builder.ins().load(types::I64, flags, self.context, VmContextHead::RUNTIME)
    }

    /// Loads the counter that code outside of guest functions has stored.
    pub(crate) fn load_counter(&self, builder: &mut FunctionBuilder<'_>) -> Value {
        let runtime = self.runtime(builder);
        builder.ins().load(types::I64, trusted(self.regions.counter), runtime, VmRuntime::REDUCTIONS)
    }

    /// Stores the counter for code outside of guest functions.
    pub(crate) fn store_counter(&self, builder: &mut FunctionBuilder<'_>, counter: Value) {
        let runtime = self.runtime(builder);
        builder.ins().store(trusted(self.regions.counter), counter, runtime, VmRuntime::REDUCTIONS);
    }

    /// Returns the address of a descriptor or cell, and the offset to use with it.
    pub(crate) fn locate(&self, builder: &mut FunctionBuilder<'_>, location: ItemLocation) -> (Value, i32) {
        match location {
            ItemLocation::Inline(offset) => (self.context, offset),
            ItemLocation::Pointer(offset) => {
                let flags = constant(self.regions.context);
                (builder.ins().load(types::I64, flags, self.context, offset), 0)
            }
        }
    }

    /// Keeps base and length of memory 0 in variables from here on.
    pub(crate) fn declare_main_memory(&mut self, builder: &mut FunctionBuilder<'_>) {
        if !self.module.info.memories.is_empty() {
            self.main_memory = Some((builder.declare_var(types::I64), builder.declare_var(types::I64)));
            self.load_main_memory(builder);
        }
    }

    /// Reloads base and length of memory 0, which a call may have changed.
    pub(crate) fn load_main_memory(&mut self, builder: &mut FunctionBuilder<'_>) {
        if let Some((base, length)) = self.main_memory {
            let loaded = self.load_memory(builder, 0);
            builder.def_var(base, loaded.base);
            builder.def_var(length, loaded.length);
            self.reloads.extend([loaded.base, loaded.length]);
        }
    }

    /// Removes reloads whose values are not used. Cranelift keeps every load that it may not move.
    pub(crate) fn remove_unused_loads(&mut self, function: &mut Function) {
        let FunctionStencil { dfg, layout, .. } = &mut function.stencil;
        let mut used = SecondaryMap::with_capacity(dfg.num_values());
        for block in layout.blocks() {
            for inst in layout.block_insts(block) {
                dfg.inst_values(inst).for_each(|value| used[dfg.resolve_aliases(value)] = true);
            }
        }
        for value in self.reloads.drain(..).filter(|&value| !used[value]) {
            let load = dfg.value_def(value).inst().expect("it is the result of a load");
            layout.remove_inst(load);
        }
    }

    /// Returns base and length of a memory.
    pub(crate) fn memory(&self, builder: &mut FunctionBuilder<'_>, memory: u32) -> MemoryValues {
        match self.main_memory {
            Some((base, length)) if memory == 0 => {
                MemoryValues { base: builder.use_var(base), length: builder.use_var(length) }
            }
            _ => self.load_memory(builder, memory),
        }
    }

    fn load_memory(&self, builder: &mut FunctionBuilder<'_>, memory: u32) -> MemoryValues {
        let (descriptor, at) = self.locate(builder, self.module.offsets.memory(memory));
        let changing = trusted(self.regions.context);
        let base = if self.module.is_reserved() { constant(self.regions.context) } else { changing };
        let mut load = |flags, offset| builder.ins().load(types::I64, flags, descriptor, at + offset);
        MemoryValues { base: load(base, VmMemory::BASE), length: load(changing, VmMemory::LENGTH) }
    }

    /// Returns the address of the record of a function.
    pub(crate) fn function_record(&self, builder: &mut FunctionBuilder<'_>, function: u32) -> Value {
        let flags = constant(self.regions.context);
        let records = builder.ins().load(types::I64, flags, self.context, VmContextHead::FUNCTIONS);
        builder.ins().iadd_imm_u(records, i64::from(function) * i64::from(VmFuncRef::SIZE))
    }

    /// Returns the code and context to call for a record. A null context means the instance's own.
    pub(crate) fn callee(&self, builder: &mut FunctionBuilder<'_>, record: Value) -> (Value, Value) {
        let flags = trusted(self.regions.table).with_readonly();
        let code = builder.ins().load(types::I64, flags, record, VmFuncRef::CODE);
        let context = builder.ins().load(types::I64, flags, record, VmFuncRef::CONTEXT);
        let context = builder.ins().select(context, context, self.context);
        (code, context)
    }

    /// Returns a reference to a function of this module, for a direct call.
    pub(crate) fn direct(&mut self, builder: &mut FunctionBuilder<'_>, function: u32) -> FuncRef {
        let (info, metered) = (self.module.info, self.module.is_metered());
        *self.functions.entry(function).or_insert_with(|| {
            let ty = info.function_type(function);
            import_code(builder, function - info.imported_functions, super::guest_signature(ty, metered))
        })
    }

    pub(crate) fn signature(&mut self, builder: &mut FunctionBuilder<'_>, type_index: u32) -> SigRef {
        let ty: &FuncType = &self.module.info.types[type_index as usize];
        let metered = self.module.is_metered();
        *self
            .signatures
            .entry(type_index)
            .or_insert_with(|| builder.import_signature(super::guest_signature(ty, metered)))
    }

    /// Calls a routine with the vm context and the given arguments.
    pub(crate) fn call_builtin(
        &mut self,
        builder: &mut FunctionBuilder<'_>,
        builtin: Builtin,
        args: &[Value],
    ) -> Option<Value> {
        let mut all = vec![self.context];
        all.extend_from_slice(args);
        self.call_leaf(builder, builtin, &all)
    }

    /// Calls a routine with the given arguments only.
    pub(crate) fn call_leaf(
        &mut self,
        builder: &mut FunctionBuilder<'_>,
        builtin: Builtin,
        args: &[Value],
    ) -> Option<Value> {
        let (params, result) = builtin_type(builtin);
        let isa = self.module.isa;
        let signature = *self.builtin_signatures[builtin as usize]
            .get_or_insert_with(|| builder.import_signature(native_signature(isa, params, result)));
        let flags = constant(self.regions.context);
        let runtime = self.runtime(builder);
        let builtins = builder.ins().load(types::I64, flags, runtime, VmRuntime::BUILTINS);
        let code = builder.ins().load(types::I64, flags, builtins, builtin.offset());
        let call = builder.ins().call_indirect(signature, code, args);
        builder.inst_results(call).first().copied()
    }
}

/// Declares a reference to code of this module, by the index of the compiled function.
pub(crate) fn import_code(builder: &mut FunctionBuilder<'_>, index: u32, signature: Signature) -> FuncRef {
    let signature = builder.import_signature(signature);
    let name = builder
        .func
        .declare_imported_user_function(cranelift_codegen::ir::UserExternalName { namespace: 0, index });
    builder.import_function(cranelift_codegen::ir::ExtFuncData {
        name: cranelift_codegen::ir::ExternalName::user(name),
        signature,
        colocated: true,
        patchable: false,
    })
}

/// Returns the parameter types of each routine (the vm context is the first, except for routines on bytes)
/// and its result type. `runtime::vm::libcalls` defines the routines.
fn builtin_type(builtin: Builtin) -> (&'static [Type], Option<Type>) {
    use types::{I32, I64};
    match builtin {
        Builtin::HostCall => (&[I64, I32, I64], None),
        Builtin::Yield => (&[I64], None),
        Builtin::MemoryGrow => (&[I64, I32, I64], Some(I64)),
        Builtin::MemoryCopy => (&[I64, I32, I32, I64, I64, I64], Some(I32)),
        Builtin::MemoryFill => (&[I64, I32, I64, I32, I64], Some(I32)),
        Builtin::MemoryInit => (&[I64, I32, I32, I64, I64, I64], Some(I32)),
        Builtin::DataDrop | Builtin::ElementDrop => (&[I64, I32], None),
        Builtin::CopyBytes => (&[I64, I64, I64], None),
        Builtin::FillBytes => (&[I64, I32, I64], None),
        Builtin::TableSet => (&[I64, I32, I64, I64], Some(I32)),
        Builtin::TableGrow => (&[I64, I32, I64, I64], Some(I64)),
        Builtin::TableFill => (&[I64, I32, I64, I64, I64], Some(I32)),
        Builtin::TableCopy | Builtin::TableInit => (&[I64, I32, I32, I64, I64, I64], Some(I32)),
    }
}
