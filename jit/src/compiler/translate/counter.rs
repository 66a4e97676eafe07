//! The counter of reductions in a function of a metered module.
//!
//! The counter is an argument of the function, is passed to every call and returned by it, and is a result of
//! the function. So calls and returns cost nothing, and the counter is in the runtime's memory only while
//! code outside of guest functions runs. Within the function it is in one of two places, chosen by
//! [`FunctionTranslator::enter`](super::function::FunctionTranslator): in an SSA variable, so that a charge
//! is a comparison and a subtraction in registers; or in a slot of the stack, so that it needs a register
//! only during charges.

use cranelift_codegen::ir::{
    InstBuilder, MemFlagsData, StackSlot, StackSlotData, StackSlotKind, Value, types,
};
use cranelift_frontend::{FunctionBuilder, Variable};

#[derive(Clone, Copy)]
pub(super) struct Counter {
    location: CounterLocation,
    /// The value that a charge has set last.
    last_set: Option<Value>,
}

#[derive(Clone, Copy)]
enum CounterLocation {
    Variable(Variable),
    Slot(StackSlot, MemFlagsData),
}

impl Counter {
    /// Creates a counter in a variable.
    pub(super) fn in_variable(builder: &mut FunctionBuilder<'_>) -> Counter {
        Counter { location: CounterLocation::Variable(builder.declare_var(types::I64)), last_set: None }
    }

    /// Creates a counter in a slot, which is accessed with these flags.
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

    /// Returns the value if it was set in the current block, with no call since.
    fn just_set(&self, builder: &FunctionBuilder<'_>) -> Option<Value> {
        let function = &builder.func;
        let inst = function.dfg.value_def(self.last_set?).inst()?;
        self.last_set.filter(|_| function.layout.inst_block(inst) == builder.current_block())
    }

    /// Sets the counter after a charge.
    pub(super) fn set(&mut self, builder: &mut FunctionBuilder<'_>, value: Value) {
        self.take(builder, value);
        self.last_set = Some(value);
    }

    /// Takes the counter over from other code.
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
