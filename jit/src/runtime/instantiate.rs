//! Creates instances.
//!
//! There are two ways with the same result. For a *linked* module, which imports only host functions, the
//! template contains the initial state. A module that imports from other instances is initialised segment by
//! segment, in the order of the specification: what one segment has written to a shared memory or table stays
//! written if a later one traps.

use std::ptr::NonNull;
use std::sync::Arc;

use crate::environ::const_expr::ConstExpr;
use crate::environ::module_info::{Item, SegmentMode};
use crate::environ::value::{Limits, RawValue};
use crate::environ::vm_layout::{BYTES_PER_REDUCTION, PAGE, VmFuncRef};
use crate::runtime::error::{InstantiateError, Trap, TrapKind};
use crate::runtime::loaded_module::LoadedModule;
use crate::runtime::vm::image::MemoryImage;
use crate::runtime::vm::instance::{Imported, InstanceData, OwnedInstance, Records, StoreCore};
use crate::runtime::vm::memory::Memory;
use crate::runtime::vm::table::{Table, TableImage};
use crate::runtime::vm::template::Template;

/// What an import is resolved to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ResolvedImport {
    Func(VmFuncRef),
    Memory(Imported),
    Table(Imported),
    Global(*mut RawValue),
}

/// Creates an instance of a linked module.
pub(crate) fn from_template(
    core: NonNull<StoreCore>,
    module: &Arc<LoadedModule>,
    records: &Arc<[VmFuncRef]>,
    template: &Template,
) -> Result<OwnedInstance, InstantiateError> {
    // Limits first, so that nothing has to be undone for a store that exceeds them.
    reserve(core, template.memory_bytes, template.table_entries)?;
    let mut instance = new_instance(core, module, Records::Shared(records.clone()));
    let pool = module.engine.memories();
    let image = if module.is_reserved() { None } else { template.image(&module.info, pool) };
    // Without the image, if no slot of the image is available.
    let imaged = image.is_some_and(|image| add_memories(&mut instance, Some(image)).is_ok());
    if !imaged {
        add_memories(&mut instance, None)
            .inspect_err(|_| give_back(core, template.memory_bytes, template.table_entries))?;
    }
    instance.tables.reserve_exact(template.tables.len());
    for (index, image) in template.tables.iter().enumerate() {
        add_table(&mut instance, index as u32, image.clone());
    }
    let copied = fill(&mut instance, module, template);
    // SAFETY: the store belongs to the caller, and nothing of it runs. The instance's reference covers other
    // memory.
    charge(unsafe { &mut *core.as_ptr() }, copied);
    Ok(instance)
}

/// Charges the store's first slices for what was copied for its instance.
pub(crate) fn charge(core: &mut StoreCore, bytes: u64) {
    core.runtime.reductions = core.runtime.reductions.saturating_sub_unsigned(bytes / BYTES_PER_REDUCTION);
}

/// Writes the initial state of a linked module's instance over an instance that is otherwise new: globals,
/// and data that is not part of an image. Returns the number of bytes that were copied.
pub(crate) fn fill(instance: &mut InstanceData, module: &LoadedModule, template: &Template) -> u64 {
    let mut copied = 0;
    if !instance.memories.first().is_some_and(Memory::is_imaged) {
        for (memory, start, range) in &template.data {
            let data = &module.info.data_bytes[range.clone()];
            instance.memory(*memory).bytes()[*start as usize..][..data.len()].copy_from_slice(data);
            copied += data.len() as u64;
        }
    }
    for (index, global) in module.info.globals.iter().enumerate() {
        // The reserved counter, which is the only imported global, has no cell.
        if global.init.is_some() {
            // SAFETY: a defined global's cell lies in the context.
            unsafe { instance.global(index as u32).write(template.globals[index]) };
        }
    }
    copied
}

/// Creates an instance whose imports are resolved to other instances of the store: one for each import, of
/// the right types, and `None` for the reserved imports.
pub(crate) fn from_imports(
    core: NonNull<StoreCore>,
    module: &Arc<LoadedModule>,
    resolved: &[Option<ResolvedImport>],
) -> Result<OwnedInstance, (InstantiateError, Option<OwnedInstance>)> {
    let info = &module.info;
    let memory_bytes: u64 =
        defined(&info.memories, info.imported_memories).map(|limits| limits.min * PAGE).sum();
    let entries: u64 = defined(&info.tables, info.imported_tables).map(|table| table.ty.limits.min).sum();
    reserve(core, memory_bytes, entries).map_err(|error| (error, None))?;

    let functions = 0..info.functions.len() as u32;
    let records: Box<[VmFuncRef]> =
        functions.map(|function| module.record(function, std::ptr::null_mut())).collect();
    let mut instance = new_instance(core, module, Records::Own(records));
    import_all(&mut instance, resolved);
    // If this fails, the instance is dropped: nothing refers to it yet.
    add_memories(&mut instance, None).map_err(|error| {
        give_back(core, memory_bytes, entries);
        (error, None)
    })?;
    set_globals(&mut instance);
    for (index, table) in info.tables.iter().enumerate().skip(info.imported_tables as usize) {
        let fill = table.init.as_ref().map_or(0, |init| init.evaluate(&*instance).low);
        let image = TableImage::new(table.ty.limits.min as usize, fill);
        add_table(&mut instance, index as u32, Arc::new(image));
    }
    match apply_segments(&mut instance) {
        Ok(()) => Ok(instance),
        // What the instance has written to shared tables may refer to its functions, so the instance has to
        // stay.
        Err(kind) => Err((trap(kind), Some(instance))),
    }
}

fn reserve(core: NonNull<StoreCore>, bytes: u64, entries: u64) -> Result<(), InstantiateError> {
    // SAFETY: the store belongs to the caller, and nothing of it runs.
    let core = unsafe { &mut *core.as_ptr() };
    core.note_thread();
    core.memory.charge(bytes).map_err(|no_room| InstantiateError::Limit(no_room.to_string()))?;
    if !core.charge_table(entries) {
        core.memory.give_back(bytes);
        let limit = core.max_table_elements;
        return Err(InstantiateError::Limit(format!("{entries} table elements exceed the limit of {limit}")));
    }
    Ok(())
}

/// Undoes [`reserve`].
fn give_back(core: NonNull<StoreCore>, bytes: u64, entries: u64) {
    // SAFETY: the store belongs to the caller, and nothing of it runs.
    let core = unsafe { &mut *core.as_ptr() };
    core.memory.give_back(bytes);
    core.table_used -= entries;
}

fn new_instance(core: NonNull<StoreCore>, module: &Arc<LoadedModule>, records: Records) -> OwnedInstance {
    // SAFETY: the store belongs to the caller, and nothing of it runs.
    let index = unsafe { (*core.as_ptr()).instances.len() } as u32;
    InstanceData::create(module.clone(), core, index, records)
}

fn defined<V>(all: &[V], imported: u32) -> impl Iterator<Item = &V> {
    all.iter().skip(imported as usize)
}

/// Adds the memories that the module defines. Only a module with a single memory has an image.
fn add_memories(
    instance: &mut InstanceData,
    image: Option<&Arc<MemoryImage>>,
) -> Result<(), InstantiateError> {
    let module = instance.module.clone();
    let imported = module.info.imported_memories as usize;
    // Exact, because a vector that grows gets capacity for four, and there may be a process for every
    // connection.
    instance.memories.reserve_exact(module.info.memories.len() - imported);
    for (index, &limits) in module.info.memories.iter().enumerate().skip(imported) {
        let memory = add_memory(instance, index as u32, limits, image);
        let failed = |error| {
            InstantiateError::Exhausted(format!("a memory of {} pages is not available: {error}", limits.min))
        };
        instance.memories.push(memory.map_err(failed)?);
    }
    Ok(())
}

fn add_memory(
    instance: &InstanceData,
    index: u32,
    limits: Limits,
    image: Option<&Arc<MemoryImage>>,
) -> std::io::Result<Memory> {
    let descriptor = instance.memory_descriptor(index);
    let reserved = instance.module.is_reserved();
    // SAFETY: the descriptor lies in the instance's context, which is dropped after its memories.
    unsafe { Memory::new(instance.module.engine.memories(), limits, reserved, image, descriptor) }
}

fn add_table(instance: &mut InstanceData, index: u32, image: Arc<TableImage>) {
    let max = instance.module.info.tables[index as usize].ty.limits.max;
    // SAFETY: the descriptor lies in the instance's context, which is dropped after its tables.
    let table = unsafe { Table::new(image, max, instance.table_descriptor(index)) };
    instance.tables.push(table);
}

fn import_all(instance: &mut InstanceData, resolved: &[Option<ResolvedImport>]) {
    let offsets = instance.module.offsets.clone();
    let own = instance.context();
    let module = instance.module.clone();
    let mut records = Vec::new();
    for (import, resolve_import) in module.info.imports.iter().zip(resolved) {
        let Some(resolve_import) = resolve_import else { continue };
        match *resolve_import {
            ResolvedImport::Func(record) => records.push((import.item, record)),
            ResolvedImport::Memory(imported) => {
                // SAFETY: the exporting instance belongs to the same store.
                let descriptor = unsafe { imported.instance.as_ref().memory_descriptor(imported.index) };
                let index = instance.imported_memories.len() as u32;
                instance.import(offsets.memory(index), descriptor.cast());
                instance.imported_memories.push(imported);
            }
            ResolvedImport::Table(imported) => {
                // SAFETY: as above.
                let descriptor = unsafe { imported.instance.as_ref().table_descriptor(imported.index) };
                let index = instance.imported_tables.len() as u32;
                instance.import(offsets.table(index), descriptor.cast());
                instance.imported_tables.push(imported);
            }
            ResolvedImport::Global(cell) => {
                let Item::Global(index) = import.item else {
                    unreachable!("the resolved import has the import's type")
                };
                instance.import(offsets.global(index), cell.cast());
            }
        }
    }
    if let Records::Own(own_records) = &mut instance.records {
        own_records.iter_mut().for_each(|record| record.context = own);
        for (item, record) in records {
            let Item::Func(index) = item else { unreachable!("the resolved import has the import's type") };
            own_records[index as usize] = record;
        }
    }
}

fn set_globals(instance: &mut InstanceData) {
    let module = instance.module.clone();
    for (index, global) in module.info.globals.iter().enumerate() {
        if let Some(init) = &global.init {
            let value = init.evaluate(&*instance);
            // SAFETY: a defined global's cell lies in the context.
            unsafe { instance.global(index as u32).write(value) };
        }
    }
}

fn apply_segments(instance: &mut InstanceData) -> Result<(), TrapKind> {
    let module = instance.module.clone();
    for (index, segment) in module.info.elements.iter().enumerate() {
        if let SegmentMode::Active(table, offset) = &segment.mode {
            let mut values = vec![0; segment.items.len()];
            instance.element_values(index as u32, 0, &mut values);
            let start = evaluate(instance, offset);
            let table = instance.table(*table);
            if start + values.len() as u64 > table.length() {
                return Err(TrapKind::TableOutOfBounds);
            }
            if !values.is_empty() {
                table.entries_mut()[start as usize..][..values.len()].copy_from_slice(&values);
            }
        }
    }
    for segment in &module.info.data {
        if let SegmentMode::Active(memory, offset) = &segment.mode {
            let data = &module.info.data_bytes[segment.bytes.clone()];
            let start = evaluate(instance, offset);
            let memory = instance.memory(*memory);
            if start + data.len() as u64 > memory.length() {
                return Err(TrapKind::MemoryOutOfBounds);
            }
            memory.bytes()[start as usize..][..data.len()].copy_from_slice(data);
        }
    }
    Ok(())
}

fn evaluate(instance: &InstanceData, expr: &ConstExpr) -> u64 {
    expr.evaluate(instance).low
}

fn trap(kind: TrapKind) -> InstantiateError {
    InstantiateError::Trap(Box::new(Trap { kind, backtrace: Vec::new() }))
}
