//! The initial state of a linked module's instances, computed once.
//!
//! A linked module imports only host functions, so its initial state does not depend on the instance: its
//! globals are numbers, its tables hold the shared function records, and its data lies at fixed addresses. A
//! table's image is shared until the instance changes the table. So is larger data ([`image`](super::image));
//! the rest is copied.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::image::MemoryImage;
use super::memory::MemoryPool;
use super::table::TableImage;
use crate::environ::const_expr::ConstScope;
use crate::environ::module_info::{ModuleInfo, SegmentMode};
use crate::environ::value::RawValue;
use crate::environ::vm_layout::VmFuncRef;
use crate::runtime::error::TrapKind;

/// The initial state of an instance.
pub(crate) struct Template {
    pub(crate) globals: Vec<RawValue>,
    pub(crate) tables: Vec<Arc<TableImage>>,
    /// The memory, the offset in the memory, and the range of the module's data.
    pub(crate) data: Vec<(u32, u64, Range<usize>)>,
    /// The entries of all tables.
    pub(crate) table_entries: u64,
    /// The bytes of all memories.
    pub(crate) memory_bytes: u64,
    /// Created for the first instance that can use it.
    image: OnceLock<Option<Arc<MemoryImage>>>,
}

/// Evaluates constant expressions over the module's globals and records.
struct Scope<'a> {
    globals: &'a [RawValue],
    records: &'a [VmFuncRef],
}

impl ConstScope for Scope<'_> {
    fn global(&self, index: u32) -> RawValue {
        self.globals[index as usize]
    }

    fn function(&self, index: u32) -> u64 {
        &raw const self.records[index as usize] as u64
    }
}

impl Template {
    /// Computes the initial state, or the trap with which every instantiation ends.
    pub(crate) fn new(info: &ModuleInfo, records: &[VmFuncRef]) -> Result<Template, TrapKind> {
        let mut globals = Vec::with_capacity(info.globals.len());
        for global in &info.globals {
            let scope = Scope { globals: &globals, records };
            // Only the reserved counter is imported. Its cell is never read.
            globals.push(global.init.as_ref().map_or(RawValue::default(), |init| init.evaluate(&scope)));
        }
        let scope = Scope { globals: &globals, records };
        let tables = table_images(info, &scope)?;
        let data = data_places(info, &scope)?;
        Ok(Template {
            table_entries: tables.iter().map(|table| table.length() as u64).sum(),
            memory_bytes: info
                .memories
                .iter()
                .map(|limits| limits.min * crate::environ::vm_layout::PAGE)
                .sum(),
            tables,
            data,
            globals,
            image: OnceLock::new(),
        })
    }

    /// Returns the bytes of host memory that it takes, without the memory's image.
    pub(crate) fn host_bytes(&self) -> usize {
        size_of_val(&*self.globals)
            + size_of_val(&*self.data)
            + self.tables.iter().map(|table| table.host_bytes()).sum::<usize>()
    }

    /// Returns the image for the only memory of pooled instances, if its data is not copied.
    pub(crate) fn image(&self, info: &ModuleInfo, pool: &MemoryPool) -> Option<&Arc<MemoryImage>> {
        let make = || {
            let [memory] = info.memories[..] else { return None };
            let data = self.data.iter();
            pool.image(
                memory.min,
                data.map(|(_, start, range)| (*start as usize, &info.data_bytes[range.clone()])),
            )
        };
        self.image.get_or_init(make).as_ref()
    }
}

fn table_images(info: &ModuleInfo, scope: &Scope<'_>) -> Result<Vec<Arc<TableImage>>, TrapKind> {
    let fill = |table: &crate::environ::module_info::TableDecl| {
        table.init.as_ref().map_or(0, |init| init.evaluate(scope).low)
    };
    let image = |table: &crate::environ::module_info::TableDecl| {
        TableImage::new(table.ty.limits.min as usize, fill(table))
    };
    let mut images: Vec<TableImage> = info.tables.iter().map(image).collect();
    for segment in &info.elements {
        if let SegmentMode::Active(table, offset) = &segment.mode {
            let start = offset.evaluate(scope).low as usize;
            let part = images[*table as usize].part_mut(start, segment.items.len());
            for (entry, item) in part.ok_or(TrapKind::TableOutOfBounds)?.iter_mut().zip(&segment.items) {
                *entry = item.evaluate(scope);
            }
        }
    }
    Ok(images.into_iter().map(Arc::new).collect())
}

fn data_places(info: &ModuleInfo, scope: &Scope<'_>) -> Result<Vec<(u32, u64, Range<usize>)>, TrapKind> {
    let mut places = Vec::new();
    for segment in &info.data {
        if let SegmentMode::Active(memory, offset) = &segment.mode {
            let (start, length) = (offset.evaluate(scope).low, segment.bytes.len() as u64);
            if start + length > info.memories[*memory as usize].min * crate::environ::vm_layout::PAGE {
                return Err(TrapKind::MemoryOutOfBounds);
            }
            places.push((*memory, start, segment.bytes.clone()));
        }
    }
    Ok(places)
}
