//! The declarations of a module: all of its sections except the code.
//!
//! The parser's types end here: translation and instances know only the types of this file. A [`ModuleInfo`]
//! is filled section by section while the validator proceeds, so its indices are valid once it is complete.

use std::collections::HashMap;
use std::ops::Range;

use lunatic_instrument::{abi, refused_proposal};
use wasmparser::Payload;

use crate::environ::const_expr::{ConstExpr, RefExpr};
use crate::environ::error::{CompileError, unsupported};
use crate::environ::features::FEATURES;
use crate::environ::names::{self, Names};
use crate::environ::value::{ExternType, FuncType, GlobalType, Limits, TableType, ValType};

/// The custom section that names functions.
pub(crate) const NAMES: &str = "name";

/// The types that a module may declare: an entry trampoline may be compiled for each.
const MAX_TYPES: usize = 10_000;

/// The functions that a module may import: a host trampoline is compiled for each.
const MAX_IMPORTED_FUNCTIONS: usize = 10_000;

/// The globals that a module may have: every instance has a cell for each, which no limit of the store
/// counts.
const MAX_GLOBALS: usize = 50_000;

/// The tables that a module may have, for the same reason.
const MAX_TABLES: usize = 1_000;

/// The memories that a module may have: even an empty one takes a slot of the engine's pool, which no limit
/// of the store counts.
const MAX_MEMORIES: usize = 32;

/// The initial entries of all tables of a module: their image is created once, when the module is linked, and
/// only later checked against a store's limit.
const MAX_TABLE_ENTRIES: u64 = 10_000_000;

/// The names of an import, and the item of its index space that it fills.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) item: Item,
}

/// An item of one of the four index spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Func(u32),
    Table(u32),
    Memory(u32),
    Global(u32),
}

/// A global and its initialiser; an imported global has none.
#[derive(Debug)]
pub(crate) struct GlobalDecl {
    pub(crate) ty: GlobalType,
    pub(crate) init: Option<ConstExpr>,
}

/// A table, and the initial value of its entries (null if `None`).
#[derive(Debug)]
pub(crate) struct TableDecl {
    pub(crate) ty: TableType,
    pub(crate) init: Option<ConstExpr>,
}

/// When a segment is applied.
#[derive(Debug)]
pub(crate) enum SegmentMode {
    /// At instantiation, to the memory or table with this index.
    Active(u32, ConstExpr),
    /// By `memory.init` or `table.init`.
    Passive,
    /// Never: the segment only declares functions as referenceable.
    Declared,
}

#[derive(Debug)]
pub(crate) struct ElementSegment {
    pub(crate) mode: SegmentMode,
    pub(crate) items: Vec<RefExpr>,
}

#[derive(Debug)]
pub(crate) struct DataSegment {
    pub(crate) mode: SegmentMode,
    /// The range of [`ModuleInfo::data_bytes`].
    pub(crate) bytes: Range<usize>,
}

/// Everything that a module declares, except its code.
#[derive(Debug, Default)]
pub(crate) struct ModuleInfo {
    pub(crate) types: Vec<FuncType>,
    pub(crate) imports: Vec<Import>,
    /// The type index of every function, imported ones first.
    pub(crate) functions: Vec<u32>,
    pub(crate) imported_functions: u32,
    pub(crate) tables: Vec<TableDecl>,
    pub(crate) imported_tables: u32,
    pub(crate) memories: Vec<Limits>,
    pub(crate) imported_memories: u32,
    pub(crate) globals: Vec<GlobalDecl>,
    pub(crate) imported_globals: u32,
    pub(crate) exports: Vec<(String, Item)>,
    pub(crate) export_names: HashMap<String, usize>,
    /// The first export of each exported function.
    exported_functions: HashMap<u32, usize>,
    /// The memory exported as `memory`, which host functions work on.
    pub(crate) main_memory: Option<u32>,
    pub(crate) start: Option<u32>,
    pub(crate) elements: Vec<ElementSegment>,
    pub(crate) data: Vec<DataSegment>,
    pub(crate) data_bytes: Vec<u8>,
    pub(crate) names: Names,
    /// Whether the module was prepared: the import of the charge function was added to it.
    pub(crate) is_prepared: bool,
    /// The function with the largest frame, and the size of that in bytes.
    pub(crate) largest_frame: Option<(u32, u32)>,
    /// The reserved import of a prepared module: the charge function.
    pub(crate) charge_function: Option<u32>,
}

impl ModuleInfo {
    /// Returns the type of a function.
    pub(crate) fn function_type(&self, function: u32) -> &FuncType {
        &self.types[self.functions[function as usize] as usize]
    }

    /// Returns approximately the bytes of host memory that it takes, including the images of its tables,
    /// without the overhead of allocations.
    pub(crate) fn host_bytes(&self) -> usize {
        let type_values = |ty: &FuncType| size_of_val(&*ty.params) + size_of_val(&*ty.results);
        let import_names = |import: &Import| import.module.len() + import.name.len();
        // Each name is in the list and in the map.
        let export_names = |(name, _): &(String, Item)| 2 * (name.len() + size_of::<(String, Item)>());
        let items: usize = self.elements.iter().map(|element| size_of_val(&*element.items)).sum();
        let references =
            self.elements.iter().filter(|element| matches!(element.mode, SegmentMode::Active(..)));
        let references: usize = references.map(|element| element.items.len() * size_of::<u64>()).sum();
        size_of_val(&*self.types)
            + self.types.iter().map(type_values).sum::<usize>()
            + size_of_val(&*self.imports)
            + self.imports.iter().map(import_names).sum::<usize>()
            + size_of_val(&*self.functions)
            + size_of_val(&*self.globals)
            + self.exports.iter().map(export_names).sum::<usize>()
            + size_of_val(&*self.elements)
            + items
            + references
            + size_of_val(&*self.data)
            + self.data_bytes.len()
            + self.names.host_bytes()
    }

    pub(crate) fn item_type(&self, item: Item) -> ExternType {
        match item {
            Item::Func(index) => ExternType::Func(self.function_type(index).clone()),
            Item::Table(index) => ExternType::Table(self.tables[index as usize].ty),
            Item::Memory(index) => ExternType::Memory(self.memories[index as usize]),
            Item::Global(index) => ExternType::Global(self.globals[index as usize].ty),
        }
    }

    /// Returns the exported item with this name.
    pub(crate) fn export(&self, name: &str) -> Option<Item> {
        self.export_names.get(name).map(|&index| self.exports[index].1)
    }

    /// Whether an import is supplied by the engine itself.
    pub(crate) fn is_reserved(&self, import: &Import) -> bool {
        self.is_reserved_item(import.item)
    }

    /// Compares the item, not the name: a second import of the same name is an ordinary import, for which a
    /// host function is needed.
    fn is_reserved_item(&self, item: Item) -> bool {
        self.charge_function.is_some_and(|charge| item == Item::Func(charge))
    }

    pub(crate) fn read_types(&mut self, section: wasmparser::TypeSectionReader<'_>) -> Parsed {
        for group in section {
            let group = group?;
            for (offset, ty) in group.into_types_and_offsets() {
                at_most(MAX_TYPES, self.types.len() + 1, "types", offset)?;
                match ty.composite_type.inner {
                    wasmparser::CompositeInnerType::Func(ty) => self.types.push(func_type(&ty, offset)?),
                    _ => return Err(unsupported("a garbage-collected type", offset)),
                }
            }
        }
        Ok(())
    }

    pub(crate) fn read_imports(&mut self, section: wasmparser::ImportSectionReader<'_>) -> Parsed {
        for import in section.into_imports_with_offsets() {
            let (offset, import) = import?;
            let item = self.declare_import(import.ty, offset)?;
            self.imports.push(Import { module: import.module.into(), name: import.name.into(), item });
        }
        self.recognise_charges();
        Ok(())
    }

    fn declare_import(&mut self, ty: wasmparser::TypeRef, offset: u64) -> Result<Item, CompileError> {
        use wasmparser::TypeRef;
        Ok(match ty {
            TypeRef::Func(type_index) | TypeRef::FuncExact(type_index) => {
                self.functions.push(type_index);
                self.imported_functions += 1;
                let count = self.imported_functions as usize;
                at_most(MAX_IMPORTED_FUNCTIONS, count, "imported functions", offset)?;
                Item::Func(self.functions.len() as u32 - 1)
            }
            TypeRef::Table(ty) => {
                self.declare_table(TableDecl { ty: table_type(&ty, offset)?, init: None }, offset)?;
                self.imported_tables += 1;
                Item::Table(self.tables.len() as u32 - 1)
            }
            TypeRef::Memory(ty) => {
                self.declare_memory(&ty, offset)?;
                self.imported_memories += 1;
                Item::Memory(self.memories.len() as u32 - 1)
            }
            TypeRef::Global(ty) => {
                self.declare_global(GlobalDecl { ty: global_type(&ty, offset)?, init: None }, offset)?;
                self.imported_globals += 1;
                Item::Global(self.globals.len() as u32 - 1)
            }
            TypeRef::Tag(_) => return Err(unsupported("an exception tag", offset)),
        })
    }

    fn declare_table(&mut self, table: TableDecl, offset: u64) -> Parsed {
        self.tables.push(table);
        at_most(MAX_TABLES, self.tables.len(), "tables", offset)?;
        let entries = self.tables.iter().map(|table| table.ty.limits.min);
        let entries = entries.fold(0, u64::saturating_add);
        if entries > MAX_TABLE_ENTRIES {
            return Err(unsupported(&format!("tables of more than {MAX_TABLE_ENTRIES} entries"), offset));
        }
        Ok(())
    }

    fn declare_memory(&mut self, ty: &wasmparser::MemoryType, offset: u64) -> Parsed {
        self.memories.push(memory_limits(ty));
        at_most(MAX_MEMORIES, self.memories.len(), "memories", offset)
    }

    fn declare_global(&mut self, global: GlobalDecl, offset: u64) -> Parsed {
        self.globals.push(global);
        at_most(MAX_GLOBALS, self.globals.len(), "globals", offset)
    }

    /// Finds the charge function. If a module imports it with another type, the module is not metered, and
    /// the import is an ordinary one, for which there is no host function.
    fn recognise_charges(&mut self) {
        let is_named =
            |import: &&Import| import.module == abi::METERING_MODULE && import.name == abi::CHARGE_FUNCTION;
        if let Some(Import { item: Item::Func(charge), .. }) = self.imports.iter().find(is_named)
            && *self.function_type(*charge) == FuncType::new([ValType::I32], [])
        {
            self.charge_function = Some(*charge);
        }
    }

    pub(crate) fn read_functions(&mut self, section: wasmparser::FunctionSectionReader<'_>) -> Parsed {
        for type_index in section {
            self.functions.push(type_index?);
        }
        Ok(())
    }

    pub(crate) fn read_tables(&mut self, section: wasmparser::TableSectionReader<'_>) -> Parsed {
        for table in section.into_iter_with_offsets() {
            let (offset, table) = table?;
            let init = match table.init {
                wasmparser::TableInit::RefNull => None,
                wasmparser::TableInit::Expr(expr) => Some(ConstExpr::read(&expr)?),
            };
            self.declare_table(TableDecl { ty: table_type(&table.ty, offset)?, init }, offset)?;
        }
        Ok(())
    }

    pub(crate) fn read_memories(&mut self, section: wasmparser::MemorySectionReader<'_>) -> Parsed {
        for memory in section.into_iter_with_offsets() {
            let (offset, memory) = memory?;
            self.declare_memory(&memory, offset)?;
        }
        Ok(())
    }

    pub(crate) fn read_globals(&mut self, section: wasmparser::GlobalSectionReader<'_>) -> Parsed {
        for global in section.into_iter_with_offsets() {
            let (offset, global) = global?;
            let init = Some(ConstExpr::read(&global.init_expr)?);
            self.declare_global(GlobalDecl { ty: global_type(&global.ty, offset)?, init }, offset)?;
        }
        Ok(())
    }

    pub(crate) fn read_exports(&mut self, section: wasmparser::ExportSectionReader<'_>) -> Parsed {
        use wasmparser::ExternalKind;
        for export in section.into_iter_with_offsets() {
            let (offset, export) = export?;
            let item = match export.kind {
                ExternalKind::Func | ExternalKind::FuncExact => Item::Func(export.index),
                ExternalKind::Table => Item::Table(export.index),
                ExternalKind::Memory => Item::Memory(export.index),
                ExternalKind::Global => Item::Global(export.index),
                ExternalKind::Tag => return Err(unsupported("an exception tag", offset)),
            };
            // The counter has no cell: it is in a register while code runs, and belongs to the exporting
            // module.
            if self.is_reserved_item(item) {
                return Err(unsupported("an export of the reserved charge", offset));
            }
            if let (Item::Memory(index), "memory") = (item, export.name) {
                self.main_memory = Some(index);
            }
            if let Item::Func(function) = item {
                self.exported_functions.entry(function).or_insert(self.exports.len());
            }
            self.export_names.insert(export.name.into(), self.exports.len());
            self.exports.push((export.name.into(), item));
        }
        Ok(())
    }

    pub(crate) fn read_elements(&mut self, section: wasmparser::ElementSectionReader<'_>) -> Parsed {
        use wasmparser::{ElementItems, ElementKind};
        for element in section {
            let element = element?;
            let mode = match element.kind {
                ElementKind::Active { table_index, offset_expr } => {
                    SegmentMode::Active(table_index.unwrap_or(0), ConstExpr::read(&offset_expr)?)
                }
                ElementKind::Passive => SegmentMode::Passive,
                ElementKind::Declared => SegmentMode::Declared,
            };
            let mut items = Vec::new();
            match element.items {
                ElementItems::Functions(functions) => {
                    for function in functions {
                        items.push(RefExpr::Function(function?));
                    }
                }
                ElementItems::Expressions(_, expressions) => {
                    for expression in expressions {
                        items.push(RefExpr::read(&expression?)?);
                    }
                }
            }
            self.elements.push(ElementSegment { mode, items });
        }
        Ok(())
    }

    pub(crate) fn read_data(&mut self, section: wasmparser::DataSectionReader<'_>) -> Parsed {
        for segment in section {
            let segment = segment?;
            let mode = match segment.kind {
                wasmparser::DataKind::Active { memory_index, offset_expr } => {
                    SegmentMode::Active(memory_index, ConstExpr::read(&offset_expr)?)
                }
                wasmparser::DataKind::Passive => SegmentMode::Passive,
            };
            let start = self.data_bytes.len();
            self.data_bytes.extend_from_slice(segment.data);
            self.data.push(DataSegment { mode, bytes: start..self.data_bytes.len() });
        }
        Ok(())
    }

    /// Returns the index of a function in the original module: preparing a module adds the charge function
    /// after the other imports.
    pub(crate) fn original_index(&self, function: u32) -> u32 {
        let is_moved = self.is_prepared && self.charge_function.is_some_and(|charge| function > charge);
        function - u32::from(is_moved)
    }

    /// Checks that the frame of a function is not larger than `most` bytes.
    pub(crate) fn check_frame(&self, function: u32, frame: u32, most: u32) -> Parsed {
        if frame <= most {
            return Ok(());
        }
        let name = self.function_name(function);
        Err(CompileError::Frame { function: self.original_index(function), name, frame, most })
    }

    /// Returns the demangled name of a function, if the module names it. Long names are shortened.
    pub(crate) fn function_name(&self, function: u32) -> Option<String> {
        self.names.get(function).map(names::demangled)
    }

    /// Returns the name under which a function is exported; the first, if there are several.
    pub(crate) fn name_of_export(&self, function: u32) -> Option<&str> {
        self.exported_functions.get(&function).map(|&index| &*self.exports[index].0)
    }

    /// Returns the global that holds the guest's own stack pointer: it has the name and the type of one.
    pub(crate) fn stack_pointer(&self) -> Option<u32> {
        let global = self.names.stack_pointer()?;
        let is_defined = global >= self.imported_globals;
        let ty = self.globals.get(global as usize)?.ty;
        (is_defined && ty.mutable && ty.content == ValType::I32).then_some(global)
    }
}

/// Names the proposal with which an invalid module would be valid.
pub(crate) fn name_proposal(wasm: &[u8], error: CompileError) -> CompileError {
    let CompileError::Invalid { message, offset } = error else { return error };
    match refused_proposal(wasm, FEATURES) {
        Some(proposals) => {
            let several = if proposals.names().len() > 1 { "s" } else { "" };
            unsupported(&format!("the proposal{several} {proposals} ({message})"), offset)
        }
        None => CompileError::Invalid { message, offset },
    }
}

/// Reads the declarations of a section.
pub(crate) fn read_section(info: &mut ModuleInfo, payload: Payload<'_>) -> Result<(), CompileError> {
    match payload {
        Payload::TypeSection(section) => info.read_types(section),
        Payload::ImportSection(section) => info.read_imports(section),
        Payload::FunctionSection(section) => info.read_functions(section),
        Payload::TableSection(section) => info.read_tables(section),
        Payload::MemorySection(section) => info.read_memories(section),
        Payload::GlobalSection(section) => info.read_globals(section),
        Payload::ExportSection(section) => info.read_exports(section),
        Payload::ElementSection(section) => info.read_elements(section),
        Payload::DataSection(section) => info.read_data(section),
        Payload::StartSection { func, .. } => {
            info.start = Some(func);
            Ok(())
        }
        Payload::CustomSection(section) if section.name() == abi::SECTION => {
            info.is_prepared = true;
            Ok(())
        }
        Payload::CustomSection(section) if section.name() == NAMES => {
            info.names = Names::new(section.data());
            Ok(())
        }
        _ => Ok(()),
    }
}

type Parsed = Result<(), CompileError>;

fn at_most(limit: usize, count: usize, what: &str, offset: u64) -> Parsed {
    if count > limit { Err(unsupported(&format!("more than {limit} {what}"), offset)) } else { Ok(()) }
}

/// Converts a type of the parser's. The only place that decides which types the engine supports.
pub(crate) fn val_type(ty: wasmparser::ValType, offset: u64) -> Result<ValType, CompileError> {
    Ok(match ty {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        wasmparser::ValType::V128 => ValType::V128,
        wasmparser::ValType::Ref(ty) => ref_type(ty, offset)?,
    })
}

pub(crate) fn ref_type(ty: wasmparser::RefType, offset: u64) -> Result<ValType, CompileError> {
    match ty {
        wasmparser::RefType::FUNCREF => Ok(ValType::FuncRef),
        wasmparser::RefType::EXTERNREF => Ok(ValType::ExternRef),
        other => Err(unsupported(&format!("the reference type {other}"), offset)),
    }
}

fn func_type(ty: &wasmparser::FuncType, offset: u64) -> Result<FuncType, CompileError> {
    let list = |types: &[wasmparser::ValType]| -> Result<Vec<ValType>, CompileError> {
        types.iter().map(|&ty| val_type(ty, offset)).collect()
    };
    Ok(FuncType::new(list(ty.params())?, list(ty.results())?))
}

fn table_type(ty: &wasmparser::TableType, offset: u64) -> Result<TableType, CompileError> {
    let limits = Limits { min: ty.initial, max: ty.maximum };
    Ok(TableType { element: ref_type(ty.element_type, offset)?, limits })
}

fn memory_limits(ty: &wasmparser::MemoryType) -> Limits {
    Limits { min: ty.initial, max: ty.maximum }
}

fn global_type(ty: &wasmparser::GlobalType, offset: u64) -> Result<GlobalType, CompileError> {
    Ok(GlobalType { content: val_type(ty.content_type, offset)?, mutable: ty.mutable })
}
