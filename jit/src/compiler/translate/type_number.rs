//! The number of the type that an indirect call expects: see [`crate::environ::type_registry`].

use cranelift_codegen::ir::{
    ExternalName, GlobalValueData, InstBuilder, UserExternalName, Value, types as ir_types,
};
use cranelift_frontend::FunctionBuilder;

use crate::compiler::compiled_function::TYPE_SYMBOLS;
use crate::environ::module_info::ModuleInfo;
use crate::environ::type_registry::own_number;

/// Returns the number that functions of a type have in their records: an immediate if it is the same in every
/// engine, and otherwise a number that is filled in when the code is loaded.
pub(super) fn type_number(builder: &mut FunctionBuilder<'_>, info: &ModuleInfo, type_index: u32) -> Value {
    if let Some(number) = own_number(&info.types[type_index as usize], info.charge_function.is_some()) {
        return builder.ins().iconst(ir_types::I32, i64::from(number));
    }
    let name = UserExternalName { namespace: TYPE_SYMBOLS, index: type_index };
    let name = ExternalName::user(builder.func.declare_imported_user_function(name));
    let symbol = GlobalValueData::Symbol { name, offset: 0.into(), colocated: false, tls: false };
    let symbol = builder.create_global_value(symbol);
    let number = builder.ins().symbol_value(ir_types::I64, symbol);
    builder.ins().ireduce(ir_types::I32, number)
}
