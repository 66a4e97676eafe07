//! A compiled module.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::budget::Budget;
use crate::code::{Artifact, CodeImage};
use crate::compile::{CodeLayout, compile};
use crate::debug::{self, DebugInfo};
use crate::engine::Engine;
use crate::entries::Entries;
use crate::error::{CompileError, Frame, LinkError, MissingImport, TrapKind};
use crate::linker::{HostFunc, Refusal};
use crate::options::{CompileOptions, MemoryLayout};
use crate::shape::{Import, Item, Shape};
use crate::store::Shelves;
use crate::types::ModuleTypes;
use crate::value::{ExternType, FuncType};
use crate::vm::context::{VmFuncRef, VmOffsets};
use crate::vm::libcalls::HostEntry;
use crate::vm::template::Template;

/// A module as native code, shared by all of its instances. Cheap to clone; the code is unmapped with the last
/// clone or instance.
#[derive(Clone)]
pub struct Module {
    pub(crate) inner: Arc<ModuleInner>,
}

pub(crate) struct ModuleInner {
    id: ModuleId,
    pub(crate) engine: Engine,
    pub(crate) shape: Shape,
    pub(crate) offsets: VmOffsets,
    types: ModuleTypes,
    pub(crate) code: CodeImage,
    layout: CodeLayout,
    entries: Entries,
    /// Where the code of each trampoline of `entries` is.
    entry_points: Box<[usize]>,
    debug: Option<Arc<DebugInfo>>,
    pub(crate) options: CompileOptions,
}

/// Which module: a number that no other module of this process has, or will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleId(u64);

impl ModuleId {
    fn next() -> ModuleId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: only that no number comes twice matters.
        ModuleId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ModuleInner {
    pub(crate) fn is_metered(&self) -> bool {
        self.shape.charge_function.is_some()
    }

    /// Whether the code takes it for granted that memories are guarded by their reservations.
    pub(crate) fn is_reserved(&self) -> bool {
        self.options.memory == MemoryLayout::Reserved
    }

    /// The record of a function that runs in `context`.
    pub(crate) fn record(&self, function: u32, context: *mut crate::vm::context::VmContextHead) -> VmFuncRef {
        let type_id = self.types.numbers()[self.shape.functions[function as usize] as usize];
        VmFuncRef { code: self.code.address(self.layout.function(function)), context, type_id }
    }

    /// The code that enters a function from outside.
    ///
    /// # Panics
    /// When it is not one that can be entered: neither exported nor the start function.
    pub(crate) fn entry(&self, function: u32) -> *const u8 {
        let trampoline = self.entries.trampoline(self.shape.functions[function as usize]);
        let trampoline =
            trampoline.expect("a FuncIndex names a function that its module exports or starts with");
        self.entry_points[trampoline as usize] as *const u8
    }

    /// The function that a piece of its code is the body of.
    pub(crate) fn function_of(&self, piece: u32) -> Option<u32> {
        self.layout.function_of(piece)
    }

    /// The guest frame that a code address belongs to.
    pub(crate) fn frame_at(&self, pc: usize) -> Option<Frame> {
        let function = self.function_of(self.code.piece_at(pc)?)?;
        let (name, offset) = (self.shape.function_name(function), self.code.source_at(pc));
        let function = self.shape.original_index(function);
        Some(Frame { function, name, offset, debug: self.debug.clone() })
    }
}

/// A function of a module, resolved once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuncIndex(pub(crate) u32);

impl Module {
    /// Validates and compiles a module, with the default options.
    ///
    /// # Errors
    /// See [`CompileError`]; offsets are into `wasm`.
    pub fn compile(engine: &Engine, wasm: &[u8]) -> Result<Module, CompileError> {
        Module::compile_with(engine, wasm, CompileOptions::default())
    }

    /// As [`Module::compile`], with other options.
    ///
    /// # Errors
    /// As there.
    pub fn compile_with(
        engine: &Engine,
        wasm: &[u8],
        options: CompileOptions,
    ) -> Result<Module, CompileError> {
        Module::compile_within(engine, wasm, options, &Budget::default())
    }

    /// As [`Module::compile_with`], within a budget.
    ///
    /// # Errors
    /// As there, [`CompileError::OverBudget`] and [`CompileError::Cancelled`] among them.
    pub fn compile_within(
        engine: &Engine,
        wasm: &[u8],
        options: CompileOptions,
        budget: &Budget,
    ) -> Result<Module, CompileError> {
        let (shape, artifact) = compile(engine, wasm, options, budget)?;
        Module::load(engine, shape, artifact, options, DebugInfo::in_memory(debug::extract(wasm)))
    }

    /// Makes a module of its parts: the way of all code, just compiled or from the cache.
    pub(crate) fn load(
        engine: &Engine,
        shape: Shape,
        artifact: Artifact,
        options: CompileOptions,
        debug: Option<Arc<DebugInfo>>,
    ) -> Result<Module, CompileError> {
        if let Some((function, frame)) = shape.largest_frame {
            shape.check_frame(function, frame, engine.max_frame())?;
        }
        let types = engine.types().take(&shape.types, shape.charge_function.is_some());
        let code = CodeImage::load(artifact, types.numbers());
        let code = code.map_err(|error| CompileError::Codegen(error.to_string()))?;
        let (layout, entries) = (CodeLayout::new(&shape), Entries::new(&shape));
        let entry_point = |trampoline| code.address(layout.entry(trampoline)).addr();
        let entry_points = (0..entries.types().len() as u32).map(entry_point).collect();
        let inner = ModuleInner {
            id: ModuleId::next(),
            engine: engine.clone(),
            offsets: VmOffsets::new(&shape),
            types,
            code,
            layout,
            entries,
            entry_points,
            debug,
            options,
            shape,
        };
        Ok(Module { inner: Arc::new(inner) })
    }

    /// As [`Module::load`], of parts that come from a file: `None` if they do not fit each other.
    pub(crate) fn load_checked(
        engine: &Engine,
        shape: Shape,
        artifact: Artifact,
        options: CompileOptions,
        debug: Option<Arc<DebugInfo>>,
    ) -> Option<Module> {
        let pieces = CodeLayout::new(&shape).entry(Entries::new(&shape).types().len() as u32);
        let fits = artifact.buffer.layout.tables.pieces == pieces;
        if fits { Module::load(engine, shape, artifact, options, debug).ok() } else { None }
    }

    /// What it was compiled for.
    pub fn options(&self) -> CompileOptions {
        self.inner.options
    }

    /// Which module this is. Clones are one module; the same bytes compiled twice are two.
    pub fn id(&self) -> ModuleId {
        self.inner.id
    }

    /// The imports in declaration order (without the reserved one): module, name, type.
    pub fn imports(&self) -> impl Iterator<Item = (&str, &str, ExternType)> {
        let shape = &self.inner.shape;
        let ordinary = shape.imports.iter().filter(|import| !shape.is_reserved(import));
        ordinary.map(|import| (&*import.module, &*import.name, shape.item_type(import.item)))
    }

    /// The exports: name and type.
    pub fn exports(&self) -> impl Iterator<Item = (&str, ExternType)> {
        let shape = &self.inner.shape;
        shape.exports.iter().map(|(name, item)| (&**name, shape.item_type(*item)))
    }

    /// The exported function of this name.
    pub fn exported_function(&self, name: &str) -> Option<FuncIndex> {
        match self.inner.shape.export(name)? {
            Item::Func(function) => Some(FuncIndex(function)),
            _ => None,
        }
    }

    /// The name under which a function is exported, the first if there are several.
    pub fn name_of_export(&self, function: FuncIndex) -> Option<&str> {
        self.inner.shape.name_of_export(function.0)
    }

    /// The function's type.
    pub fn function_type(&self, function: FuncIndex) -> &FuncType {
        self.inner.shape.function_type(function.0)
    }

    /// The start function, which an embedder calls before any other.
    pub fn start_function(&self) -> Option<FuncIndex> {
        self.inner.shape.start.map(FuncIndex)
    }

    /// Bytes of the host's memory that the module takes: native code, declarations, names, data. About, for it leaves out
    /// what allocations cost. Debug sections are not among them: they are bounded by 128 MiB, and by the size of the
    /// bytes that were compiled.
    pub fn host_bytes(&self) -> usize {
        self.inner.code.image_size() + self.inner.shape.host_bytes()
    }

    /// Whether the module charges reductions, so that it can be preempted.
    pub fn is_metered(&self) -> bool {
        self.inner.is_metered()
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("functions", &self.inner.shape.functions.len()).finish_non_exhaustive()
    }
}

/// A module whose imports are resolved to host functions: what processes are instantiated from. Cheap to clone.
pub struct Linked<T> {
    pub(crate) inner: Arc<LinkedInner<T>>,
}

/// The host function of each imported function.
pub(crate) struct Hosts<T> {
    pub(crate) entries: Box<[HostEntry]>,
    /// In the same order. They keep what the entries lead to.
    functions: Box<[HostFunc<T>]>,
}

impl<T> Hosts<T> {
    pub(crate) fn new(functions: Vec<HostFunc<T>>) -> Hosts<T> {
        let entries = functions.iter().map(|function| function.entry).collect();
        Hosts { entries, functions: functions.into() }
    }
}

pub(crate) struct LinkedInner<T> {
    pub(crate) module: Module,
    pub(crate) hosts: Arc<Hosts<T>>,
    /// The function records that all instances share.
    pub(crate) records: Arc<[VmFuncRef]>,
    /// Its tables lead to the records.
    pub(crate) template: Arc<Result<Template, TrapKind>>,
    pub(crate) shelves: Shelves<T>,
}

// SAFETY: records and template are immutable, and lead to code that the module owns; host functions are Send and
// Sync by their type.
unsafe impl<T> Send for LinkedInner<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for LinkedInner<T> {}

impl<T> Clone for Linked<T> {
    fn clone(&self) -> Self {
        Linked { inner: self.inner.clone() }
    }
}

impl<T> fmt::Debug for Linked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Linked").field(self.module()).finish()
    }
}

/// The host function that an import gets, of those that have its name.
fn resolved<'a, T>(shape: &Shape, import: &Import, found: &'a [HostFunc<T>]) -> Option<&'a HostFunc<T>> {
    let Item::Func(function) = import.item else { return None };
    found.iter().find(|host| host.ty == *shape.function_type(function))
}

/// The imports that no host function is there for. `find`: all that have a name.
pub(crate) fn unresolved<'a, T: 'a>(
    shape: &Shape,
    find: impl Fn(&str, &str) -> &'a [HostFunc<T>],
) -> Vec<MissingImport> {
    let ordinary = shape.imports.iter().filter(|import| !shape.is_reserved(import));
    let missing = ordinary.filter_map(|import| {
        let found = find(&import.module, &import.name);
        if resolved(shape, import, found).is_some() {
            return None;
        }
        Some(MissingImport {
            module: import.module.clone(),
            name: import.name.clone(),
            expected: shape.item_type(import.item),
            found: found.iter().map(|host| ExternType::Func(host.ty.clone())).collect(),
            nearest: None,
        })
    });
    missing.collect()
}

impl<T: 'static> Linked<T> {
    /// `find`: all that have a name.
    pub(crate) fn resolve<'a>(
        module: &Module,
        find: impl Fn(&str, &str) -> &'a [HostFunc<T>],
    ) -> Result<Linked<T>, LinkError> {
        let shape = &module.inner.shape;
        let missing = unresolved(shape, &find);
        if !missing.is_empty() {
            return Err(LinkError { missing });
        }
        let imported = shape.imports.iter().filter(|import| matches!(import.item, Item::Func(_)));
        let hosts = imported.map(|import| {
            if shape.is_reserved(import) {
                return HostFunc::charge();
            }
            let found = resolved(shape, import, find(&import.module, &import.name));
            found.expect("all imports are resolved").clone()
        });
        let hosts: Vec<_> = hosts.collect();
        let functions = 0..shape.functions.len() as u32;
        let records: Arc<[VmFuncRef]> =
            functions.map(|function| module.inner.record(function, std::ptr::null_mut())).collect();
        let template = Arc::new(Template::new(shape, &records));
        let inner = LinkedInner {
            module: module.clone(),
            hosts: Arc::new(Hosts::new(hosts)),
            records,
            template,
            shelves: Shelves::new(module.inner.engine.room()),
        };
        Ok(Linked { inner: Arc::new(inner) })
    }
}

impl<T: 'static> Linked<T> {
    /// The same, but that some of its host functions raise an error when they are called: those for which there is one, by
    /// module and field name. What it has of them already stays refused.
    pub fn refusing(&self, error: impl Fn(&str, &str) -> Option<Refusal>) -> Linked<T> {
        let LinkedInner { module, hosts, records, template, .. } = &*self.inner;
        let shape = &module.inner.shape;
        let functions = shape.imports.iter().filter(|import| matches!(import.item, Item::Func(_)));
        let refused = functions.zip(&hosts.functions).map(|(import, host)| {
            let error = if shape.is_reserved(import) { None } else { error(&import.module, &import.name) };
            error.map_or_else(|| host.clone(), |error| host.refusing(error))
        });
        let inner = LinkedInner {
            module: module.clone(),
            hosts: Arc::new(Hosts::new(refused.collect())),
            records: records.clone(),
            template: template.clone(),
            shelves: Shelves::new(module.inner.engine.room()),
        };
        Linked { inner: Arc::new(inner) }
    }
}

impl<T> Linked<T> {
    /// Bytes of the host's memory that it takes with its module, as [`Module::host_bytes`]: what instances share, but not
    /// what each has of its own.
    pub fn host_bytes(&self) -> usize {
        let template = Result::as_ref(&self.inner.template).map_or(0, Template::host_bytes);
        self.module().host_bytes() + size_of_val(&*self.inner.records) + self.bytes_of_hosts() + template
    }

    /// About as many of them as are for its host functions: what linking the module again takes.
    pub fn bytes_of_hosts(&self) -> usize {
        /// Bytes of a function's type, and of what it leads to.
        const EACH: usize = 160;
        self.inner.hosts.functions.len() * (size_of::<HostFunc<T>>() + size_of::<HostEntry>() + EACH)
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.inner.module
    }
}
