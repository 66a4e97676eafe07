//! Code at the borders between guest and host.
//!
//! * An *entry trampoline* for each function type: called by Rust on a fresh stack with an array of
//!   arguments, it calls guest code and stores the results in the same array.
//! * A *host trampoline* for each imported function: called by guest code, it stores the arguments in an
//!   array on the process's stack and calls the `HostCall` routine, which overwrites them with the results.
//! * The *yield stub* of a module: it preserves every register and calls the `Yield` routine.
//!
//! The latter two record their frame pointer, so that the stack of a suspended process can be walked. None of
//! them checks the stack limit: their frames, and those of the Rust routines that they call, fit the reserve
//! below it (see `runtime::vm::stack`).

use cranelift_codegen::Context;
use cranelift_codegen::ir::{
    AbiParam, Function, InstBuilder, Signature, StackSlotData, StackSlotKind, UserFuncName, Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::environment::{Environment, ModuleEnvironment, Regions, trusted};
use super::{clif_type, guest_signature, native_signature};
use crate::compiler::compiled_function::CompiledFunction;
use crate::environ::error::CompileError;
use crate::environ::value::FuncType;
use crate::environ::vm_layout::{Builtin, VmRuntime};

/// The size of an argument slot; see [`RawValue`](crate::RawValue).
const SLOT: i32 = 16;

/// `extern "C" fn(context, code, slots)`.
pub(crate) fn entry_trampoline(
    module: ModuleEnvironment<'_>,
    ty: &FuncType,
) -> Result<CompiledFunction, CompileError> {
    let signature = native_signature(module.isa, &[types::I64; 3], None);
    build(module, signature, |builder, environment, params| {
        let [context, code, slots] = params[..] else { unreachable!("it has three parameters") };
        let flags = trusted(environment.regions.context);
        let mut args = vec![context];
        args.extend(load_counter(builder, environment));
        for (i, &ty) in ty.params.iter().enumerate() {
            args.push(builder.ins().load(clif_type(ty), flags, slots, i as i32 * SLOT));
        }
        let guest = builder.import_signature(guest_signature(ty, module.is_metered()));
        let call = builder.ins().call_indirect(guest, code, &args);
        let mut results = builder.inst_results(call).to_vec();
        if module.is_metered() {
            let counter = results.remove(0);
            environment.store_counter(builder, counter);
        }
        for (i, result) in results.into_iter().enumerate() {
            builder.ins().store(flags, result, slots, i as i32 * SLOT);
        }
        builder.ins().return_(&[]);
    })
}

/// A guest function that calls the host function of an import.
pub(crate) fn host_trampoline(
    module: ModuleEnvironment<'_>,
    import: u32,
) -> Result<CompiledFunction, CompileError> {
    let ty = module.info.function_type(import);
    build(module, guest_signature(ty, module.is_metered()), |builder, environment, params| {
        let mut params = &params[1..];
        if module.is_metered() {
            environment.store_counter(builder, params[0]);
            params = &params[1..];
        }
        let slots = ty.params.len().max(ty.results.len()).max(1) as u32;
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, slots * SLOT as u32, 4);
        let slot = builder.create_sized_stack_slot(slot);
        for (i, &param) in params.iter().enumerate() {
            builder.ins().stack_store(types::I64, param, slot, i as i32 * SLOT);
        }
        record_exit(builder, environment);
        let import = builder.ins().iconst(types::I32, i64::from(import));
        let address = builder.ins().stack_addr(types::I64, slot, 0);
        environment.call_builtin(builder, Builtin::HostCall, &[import, address]);
        let mut results: Vec<Value> = load_counter(builder, environment).into_iter().collect();
        for (i, &ty) in ty.results.iter().enumerate() {
            results.push(builder.ins().stack_load(types::I64, clif_type(ty), slot, i as i32 * SLOT));
        }
        builder.ins().return_(&results);
    })
}

/// The stub that a charge calls when the slice is used up.
pub(crate) fn yield_stub(module: ModuleEnvironment<'_>) -> Result<CompiledFunction, CompileError> {
    build(module, yield_stub_signature(), |builder, environment, _| {
        record_exit(builder, environment);
        environment.call_builtin(builder, Builtin::Yield, &[]);
        builder.ins().return_(&[]);
    })
}

pub(crate) fn yield_stub_signature() -> Signature {
    let mut signature = Signature::new(CallConv::PreserveAll);
    signature.params.push(AbiParam::new(types::I64));
    signature
}

/// Loads the counter that code outside of guest functions has stored; `None` in an unmetered module.
fn load_counter(builder: &mut FunctionBuilder<'_>, environment: &Environment<'_>) -> Option<Value> {
    environment.module.is_metered().then(|| environment.load_counter(builder))
}

fn record_exit(builder: &mut FunctionBuilder<'_>, environment: &Environment<'_>) {
    let runtime = environment.runtime(builder);
    let frame = builder.ins().get_frame_pointer(types::I64);
    builder.ins().store(trusted(environment.regions.counter), frame, runtime, VmRuntime::EXIT_FRAME);
}

fn build(
    module: ModuleEnvironment<'_>,
    signature: Signature,
    body: impl FnOnce(&mut FunctionBuilder<'_>, &mut Environment<'_>, &[Value]),
) -> Result<CompiledFunction, CompileError> {
    let mut builder_context = FunctionBuilderContext::new();
    let mut context = Context::new();
    context.func = Function::with_name_signature(UserFuncName::default(), signature);
    let mut builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    builder.seal_block(block);
    let params = builder.block_params(block).to_vec();
    let regions = Regions::declare(&mut builder);
    let mut environment = Environment::new(module, params[0], regions);
    body(&mut builder, &mut environment, &params);
    builder.finalize(module.isa.frontend_config());
    CompiledFunction::generate(module.isa, &mut context)
        .map_err(|error| CompileError::Codegen(format!("in a trampoline: {error:?}")))
}
