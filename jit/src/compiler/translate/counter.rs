//! The counter of reductions in one function of a metered module.
//!
//! It comes in as an argument, goes into every call and comes back from it, and is returned. So a call or return costs
//! nothing, and the runtime's memory holds the counter only while code outside of guest functions runs. In between it is
//! in one of two places, which [`FunctionTranslator::enter`](super::function::FunctionTranslator) chooses: an SSA
//! variable, so that a charge is a compare and a subtraction in registers; or a slot of the stack, so that it takes a
//! register during charges only.

use cranelift_codegen::ir::{
    InstBuilder, MemFlagsData, StackSlot, StackSlotData, StackSlotKind, Value, types,
};
use cranelift_frontend::{FunctionBuilder, Variable};

#[derive(Clone, Copy)]
pub(super) struct Counter {
    location: CounterLocation,
    /// What a charge set it to last.
    last_set: Option<Value>,
}

#[derive(Clone, Copy)]
enum CounterLocation {
    Variable(Variable),
    Slot(StackSlot, MemFlagsData),
}

impl Counter {
    /// In a variable.
    pub(super) fn in_variable(builder: &mut FunctionBuilder<'_>) -> Counter {
        Counter { location: CounterLocation::Variable(builder.declare_var(types::I64)), last_set: None }
    }

    /// In a slot, to be accessed with these flags.
    pub(super) fn in_slot(builder: &mut FunctionBuilder<'_>, flags: MemFlagsData) -> Counter {
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, types::I64.bytes(), 3);
        Counter {
            location: CounterLocation::Slot(builder.create_sized_stack_slot(slot), flags),
            last_set: None,
        }
    }

    pub(super) fn get(&self, builder: &mut FunctionBuilder<'_>) -> Value {
        match self.location {
            CounterLocation::Variable(variable) => builder.use_var(variable),
            CounterLocation::Slot(slot, flags) => self.just_set(builder).unwrap_or_else(|| {
                let address = builder.ins().stack_addr(types::I64, slot, 0);
                builder.ins().load(types::I64, flags, address, 0)
            }),
        }
    }

    /// What it was set to in this very block, with no call since.
    fn just_set(&self, builder: &FunctionBuilder<'_>) -> Option<Value> {
        let function = &builder.func;
        let inst = function.dfg.value_def(self.last_set?).inst()?;
        self.last_set.filter(|_| function.layout.inst_block(inst) == builder.current_block())
    }

    /// Sets it, as a charge does.
    pub(super) fn set(&mut self, builder: &mut FunctionBuilder<'_>, value: Value) {
        self.take(builder, value);
        self.last_set = Some(value);
    }

    /// Takes it over from whoever had it.
    pub(super) fn take(&mut self, builder: &mut FunctionBuilder<'_>, value: Value) {
        self.last_set = None;
        match self.location {
            CounterLocation::Variable(variable) => builder.def_var(variable, value),
            CounterLocation::Slot(slot, flags) => {
                let address = builder.ins().stack_addr(types::I64, slot, 0);
                builder.ins().store(flags, value, address, 0);
            }
        }
    }
}
