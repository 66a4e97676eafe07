//! Translates and compiles one function body. Validation and translation are one pass.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    BlockArg, Function, GlobalValueData, Inst, InstBuilder, SourceLoc, UserFuncName, Value, types,
};
use cranelift_codegen::{CodegenError, Context};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use wasmparser::{FuncToValidate, FuncValidatorAllocations, FunctionBody, Operator, ValidatorResources};

use super::counter::Counter;
use super::environment::{Environment, ModuleEnvironment, Regions, trusted};
use super::stack::{Frame, FrameKind, Stacks};
use super::{clif_type, guest_signature, operators};
use crate::compiler::compiled_function::CompiledFunction;
use crate::environ::code_layout::CodeLayout;
use crate::environ::error::{CompileError, unsupported};
use crate::environ::module_info::{ModuleInfo, val_type};
use crate::environ::vm_layout::{Builtin, VmContextHead};

/// The values that a function's translation may define. WebAssembly is denser than its translation: a call of
/// two bytes may define a thousand values, and a few kilobytes would take all memory.
const MAX_VALUES: usize = 1 << 20;

/// The operands in lists (arguments of calls, branches and blocks) of a function's translation, for the same
/// reason.
const MAX_OPERANDS: usize = 1 << 22;

/// The bytes of a function's body for each block parameter (a local that is changed, at each place where
/// control flow meets), if there are more than [`FEW_PARAMS`]. With fewer bytes, the function is a
/// compilation bomb: two hundred locals in two hundred nested loops are three kilobytes, 40,000 parameters
/// and six seconds.
const BYTES_PER_PARAM: usize = 4;

/// The block parameters that any function may have. Real programs have functions with more, in hundreds of
/// kilobytes (Yosys, CRuby, Clang).
const FEW_PARAMS: usize = 1 << 14;

/// The work that the optimising register allocator may have; see [`allocation_work`]. A function at 9/10 of
/// this limit took 18 seconds, which no deadline interrupts, but it had a megabyte of code.
const MAX_ALLOCATION_WORK: usize = 1 << 26;

/// With more blocks, a function is compiled by the baseline if its frame is small then: the time for each
/// block grows with their number. 40,000 blocks took 3 seconds.
const MANY_BLOCKS: usize = 1 << 16;

/// With more blocks, a function is compiled by the baseline in any case: 100,000 took 6 to 13 seconds,
/// 160,000 took 44.
const MAX_BLOCKS: usize = 1 << 17;

/// A frame that is small for a function of [`MANY_BLOCKS`], in bytes.
const SMALL_FRAME: u32 = 4 << 10;

/// A function body to compile.
pub(crate) struct FunctionInput<'a> {
    /// The index of the function in its module.
    pub(crate) index: u32,
    pub(crate) body: FunctionBody<'a>,
    pub(crate) validator: FuncToValidate<ValidatorResources>,
}

/// Compiles function bodies one after the other, and reuses its allocations.
#[derive(Default)]
pub(crate) struct BodyTranslator {
    builder_context: FunctionBuilderContext,
    context: Option<Context>,
    stacks: Stacks,
    validation: FuncValidatorAllocations,
}

impl BodyTranslator {
    pub(crate) fn compile(
        &mut self,
        module: ModuleEnvironment<'_>,
        input: FunctionInput<'_>,
    ) -> Result<CompiledFunction, CompileError> {
        let mut context = self.context.take().unwrap_or_else(Context::new);
        context.clear();
        let (index, start) = (input.index, input.body.range().start);
        let size = input.body.as_bytes().len();
        let signature = guest_signature(module.info.function_type(input.index), module.is_metered());
        context.func = Function::with_name_signature(UserFuncName::user(0, input.index), signature);
        declare_stack_limit(&mut context.func);
        self.translate(module, input, &mut context.func)?;
        let code = generate(module, &mut context, size);
        self.context = Some(context);
        let code = code.map_err(|error| match error {
            CodegenError::CodeTooLarge | CodegenError::ImplLimitExceeded => {
                too_large(module.info, index, start)
            }
            error => {
                let function = module.info.original_index(index);
                CompileError::Codegen(format!("in function {function} (at offset 0x{start:x}): {error:?}"))
            }
        })?;
        module.info.check_frame(index, code.frame, module.max_frame)?;
        Ok(code)
    }

    fn translate(
        &mut self,
        module: ModuleEnvironment<'_>,
        input: FunctionInput<'_>,
        function: &mut Function,
    ) -> Result<(), CompileError> {
        self.stacks.clear();
        let mut validator = input.validator.into_validator(std::mem::take(&mut self.validation));
        let builder = FunctionBuilder::new(function, &mut self.builder_context);
        let mut translator =
            FunctionTranslator::enter(builder, module, &mut self.stacks, input.index, &input.body);

        let mut locals = input.body.get_locals_reader()?;
        for _ in 0..locals.get_count() {
            let offset = locals.original_position();
            let (count, ty) = locals.read()?;
            validator.define_locals(offset, count, ty)?;
            translator.declare_locals(count, val_type(ty, offset)?);
        }
        let mut operators = input.body.get_operators_reader()?;
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            validator.op(offset, &operator)?;
            translator.builder.set_srcloc(SourceLoc::new(offset as u32));
            operators::translate(&mut translator, &operator, offset)?;
            let graph = &translator.builder.func.dfg;
            // After every operator: the next one may define a thousand values.
            if graph.num_values() > MAX_VALUES || graph.value_lists.capacity() > MAX_OPERANDS {
                return Err(too_large(module.info, input.index, offset));
            }
        }
        operators.finish()?;
        translator.builder.seal_all_blocks();
        translator.environment.remove_unused_loads(translator.builder.func);
        translator.builder.finalize(module.isa.frontend_config());
        self.validation = validator.into_allocations();
        Ok(())
    }
}

/// Generates code for the function in the context, whose body has this size. The code is optimised if that
/// takes a time in proportion to the size, and otherwise compiled by the baseline: not optimised, with
/// registers allocated in a single pass. Baseline code takes tens of milliseconds, but its frame has a slot
/// for almost every value.
fn generate(
    module: ModuleEnvironment<'_>,
    context: &mut Context,
    size: usize,
) -> Result<CompiledFunction, CodegenError> {
    let blocks = context.func.dfg.num_blocks();
    if explodes(&context.func, size) || blocks > MAX_BLOCKS {
        return CompiledFunction::generate(module.baseline_isa, context);
    }
    if blocks > MANY_BLOCKS {
        // Compiling changes the function.
        let function = context.func.clone();
        let code = CompiledFunction::generate(module.baseline_isa, context)?;
        if code.frame <= SMALL_FRAME {
            return Ok(code);
        }
        context.clear();
        context.func = function;
    }
    CompiledFunction::generate(module.isa, context)
}

/// Whether optimised register allocation may take too long.
fn explodes(function: &Function, size: usize) -> bool {
    let params = || function.layout.blocks().map(|block| function.dfg.num_block_params(block));
    let all: usize = params().sum();
    (all > FEW_PARAMS && all > size / BYTES_PER_PARAM) || allocation_work(params()) > MAX_ALLOCATION_WORK
}

/// Estimates the work of the optimising register allocator for blocks with these numbers of parameters, in
/// units of about 0.4 microseconds. Its time was measured to be proportional to their number, and to the
/// values that are live at the same time as each.
fn allocation_work(params: impl Iterator<Item = usize>) -> usize {
    params.map(|params| params.saturating_mul(params + 90)).fold(0, usize::saturating_add)
}

/// A function under translation.
pub(crate) struct FunctionTranslator<'a, 'm> {
    pub(crate) builder: FunctionBuilder<'a>,
    pub(crate) environment: Environment<'m>,
    pub(crate) stacks: &'a mut Stacks,
    pub(crate) locals: Vec<Variable>,
    /// The counter of reductions, in a metered module.
    counter: Option<Counter>,
}

impl<'a, 'm> FunctionTranslator<'a, 'm> {
    fn enter(
        mut builder: FunctionBuilder<'a>,
        module: ModuleEnvironment<'m>,
        stacks: &'a mut Stacks,
        index: u32,
        body: &FunctionBody<'_>,
    ) -> Self {
        let regions = Regions::declare(&mut builder);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        builder.seal_block(entry);
        let params = builder.block_params(entry).to_vec();

        let environment = Environment::new(module, params[0], regions);
        let mut translator =
            FunctionTranslator { builder, environment, stacks, locals: Vec::new(), counter: None };
        let mut params = &params[1..];
        if let Some(charge) = module.info.charge_function {
            // In pooled code, where every access has a comparison, a loop has no register to spare: what it
            // would spill costs more than a charge that loads and stores the counter. In a loop with calls,
            // the counter would be loaded for the calls anyway.
            let mut counter = if !module.is_reserved() && has_leaf_loop(body, charge) {
                Counter::in_slot(&mut translator.builder, trusted(translator.environment.regions.counter))
            } else {
                Counter::in_variable(&mut translator.builder)
            };
            counter.take(&mut translator.builder, params[0]);
            translator.counter = Some(counter);
            params = &params[1..];
        }
        for &param in params {
            let ty = translator.builder.func.dfg.value_type(param);
            let variable = translator.builder.declare_var(ty);
            translator.builder.def_var(variable, param);
            translator.locals.push(variable);
        }
        translator.environment.declare_main_memory(&mut translator.builder);
        translator.push_body_frame(index);
        translator
    }

    fn push_body_frame(&mut self, index: u32) {
        let results = &self.environment.module.info.function_type(index).results;
        let exit = self.builder.create_block();
        for &ty in results.iter() {
            self.builder.append_block_param(exit, clif_type(ty));
        }
        self.stacks.frames.push(Frame {
            kind: FrameKind::Block,
            exit,
            params: 0,
            results: results.len(),
            height: 0,
            exit_used: false,
            known: Default::default(),
        });
    }

    fn declare_locals(&mut self, count: u32, ty: crate::environ::value::ValType) {
        let ty = clif_type(ty);
        let zero = match ty {
            types::F32 => self.builder.ins().f32const(0.0),
            types::F64 => self.builder.ins().f64const(0.0),
            types::I8X16 => operators::zero_vector(&mut self.builder, ty),
            _ => self.builder.ins().iconst(ty, 0),
        };
        for _ in 0..count {
            let variable = self.builder.declare_var(ty);
            self.builder.def_var(variable, zero);
            self.locals.push(variable);
        }
    }

    /// Returns the counter as an argument of a call or as a result; `None` in an unmetered module.
    fn counter(&mut self) -> Option<Value> {
        self.counter.map(|counter| counter.get(&mut self.builder))
    }

    /// Takes the counter over from other code.
    fn take_counter(&mut self, value: Value) {
        if let Some(counter) = &mut self.counter {
            counter.take(&mut self.builder, value);
        }
    }

    /// Stores the counter for code outside of guest functions, which runs next.
    fn store_counter(&mut self) {
        if let Some(value) = self.counter() {
            self.environment.store_counter(&mut self.builder, value);
        }
    }

    /// Takes the counter over from code outside of guest functions.
    fn load_counter(&mut self) {
        if self.counter.is_some() {
            let value = self.environment.load_counter(&mut self.builder);
            self.take_counter(value);
        }
    }

    /// The cold side of a charge: suspends in the yield stub, which clobbers no register.
    fn yield_now(&mut self) {
        self.store_counter();
        let module = self.environment.module;
        let stub = super::environment::import_code(
            &mut self.builder,
            CodeLayout::new(module.info).yield_stub(),
            super::trampoline::yield_stub_signature(),
        );
        self.builder.ins().call(stub, &[self.environment.context]);
        self.load_counter();
    }

    /// Returns the arguments of a call of a guest function in `context`: what every guest function takes,
    /// then the topmost `params` values.
    pub(crate) fn call_args(&mut self, context: Value, params: usize) -> Vec<Value> {
        let mut args = vec![context];
        args.extend(self.counter());
        args.extend_from_slice(self.stacks.top(params));
        args
    }

    /// Takes over what a guest function returns, in place of its `params` arguments: the counter, the
    /// results, and base and length of the memory.
    pub(crate) fn after_call(&mut self, call: Inst, params: usize) {
        let mut results = self.builder.inst_results(call).to_vec();
        if self.counter.is_some() {
            let counter = results.remove(0);
            self.take_counter(counter);
        }
        self.environment.load_main_memory(&mut self.builder);
        self.stacks.drop_top(params);
        self.stacks.values.extend(results);
    }

    /// Returns from the function with the topmost values.
    pub(crate) fn return_top(&mut self, count: usize) {
        let mut results = Vec::from_iter(self.counter());
        results.extend_from_slice(self.stacks.top(count));
        self.builder.ins().return_(&results);
    }

    /// Calls a routine that may charge, yield, or change memories and tables.
    pub(crate) fn call_builtin(&mut self, builtin: Builtin, args: &[Value]) -> Option<Value> {
        self.store_counter();
        let result = self.environment.call_builtin(&mut self.builder, builtin, args);
        self.load_counter();
        if builtin == Builtin::MemoryGrow {
            self.environment.load_main_memory(&mut self.builder);
        }
        result
    }

    /// Calls a routine that uses neither the counter nor the context.
    pub(crate) fn call_leaf(&mut self, builtin: Builtin, args: &[Value]) {
        self.environment.call_leaf(&mut self.builder, builtin, args);
    }

    /// Subtracts reductions (a 64-bit number below 2⁶³) from the counter, and suspends if that uses up the
    /// slice. Does nothing in an unmetered module.
    pub(crate) fn charge(&mut self, reductions: Value) {
        let Some(before) = self.counter() else { return };
        // Equivalent to a negative difference, since the counter is far from overflowing, but needs the
        // difference only once.
        let is_used_up = self.builder.ins().icmp(IntCC::SignedLessThan, before, reductions);
        let left = self.builder.ins().isub(before, reductions);
        if let Some(counter) = &mut self.counter {
            counter.set(&mut self.builder, left);
        }
        let [used_up, done] = std::array::from_fn(|_| self.builder.create_block());
        self.builder.ins().brif(is_used_up, used_up, &[], done, &[]);
        self.builder.seal_block(used_up);
        self.builder.set_cold_block(used_up);
        self.builder.switch_to_block(used_up);
        self.yield_now();
        self.builder.ins().jump(done, &[]);
        self.builder.seal_block(done);
        self.builder.switch_to_block(done);
    }

    /// Returns the arguments of a jump that carries the topmost values.
    pub(crate) fn branch_args(&self, count: usize) -> Vec<BlockArg> {
        self.stacks.branch_args(count)
    }
}

/// Whether there is a loop that calls nothing except the charge function. Malformed bodies are reported when
/// they are translated.
fn has_leaf_loop(body: &FunctionBody<'_>, charge_function: u32) -> bool {
    // For each construct around the next operator: whether it is a loop without a call so far.
    let mut around = Vec::new();
    for operator in body.get_operators_reader().into_iter().flatten() {
        match operator {
            Ok(Operator::Loop { .. }) => around.push(true),
            Ok(Operator::Block { .. } | Operator::If { .. }) => around.push(false),
            Ok(Operator::Call { function_index }) if function_index == charge_function => {}
            Ok(Operator::Call { .. } | Operator::CallIndirect { .. }) => around.fill(false),
            Ok(Operator::End) if around.pop() == Some(true) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

fn too_large(info: &ModuleInfo, function: u32, offset: u64) -> CompileError {
    unsupported(&format!("code as large as that of function {}", info.original_index(function)), offset)
}

/// Makes the prologue compare the stack pointer with the running activation's limit.
fn declare_stack_limit(function: &mut Function) {
    let flags = cranelift_codegen::ir::MemFlagsData::trusted().with_readonly();
    let flags = function.dfg.mem_flags.insert_unchecked(flags);
    let context = function.create_global_value(GlobalValueData::VMContext);
    let load = |base, offset: i32| GlobalValueData::Load {
        base,
        offset: offset.into(),
        global_type: types::I64,
        flags,
    };
    let limit = function.create_global_value(load(context, VmContextHead::STACK_LIMIT));
    function.stack_limit = Some(limit);
}
