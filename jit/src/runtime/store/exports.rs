//! What the instances of a store share: exports, and modules that import them.

use std::sync::Arc;

use super::Hosts;
use super::{Instance, Store};
use crate::environ::module_info::Item;
use crate::environ::value::{ExternType, Limits, Value};
use crate::environ::vm_layout::VmFuncRef;
use crate::runtime::error::{InstantiateError, LinkError, MissingImport};
use crate::runtime::instantiate::{self, ResolvedImport};
use crate::runtime::module::Module;
use crate::runtime::vm::instance::Imported;

/// An export of an instance, for another instance of the same store to import.
#[derive(Clone, Copy, Debug)]
pub struct Export {
    instance: Instance,
    item: Item,
}

impl<T: Send + 'static> Store<T> {
    /// Creates an instance whose imports are exports of other instances of this store, in declaration order
    /// and without the reserved ones. The start function is not run.
    ///
    /// # Errors
    /// See [`InstantiateError`]. After a trap, what the previous segments have written stays written.
    ///
    /// # Panics
    /// As [`Store::instantiate`]; also panics if the store has an activation.
    pub fn instantiate_with(
        &mut self,
        module: &Module,
        exports: &[Export],
    ) -> Result<Instance, InstantiateError> {
        self.assert_same_engine(module);
        assert!(
            self.inner().core.activation.is_none(),
            "the store must have no activation while instances are linked"
        );
        let resolved = self.resolved(module, exports)?;
        let callable = |export: &Export| {
            let kind = self.instance_data(export.instance).module.is_metered();
            !matches!(export.item, Item::Func(_)) || kind == module.is_metered()
        };
        if !exports.iter().all(callable) {
            return Err(InstantiateError::Metering);
        }
        if module.inner.is_reserved() && !exports.iter().all(|export| self.may_be_reserved(export)) {
            return Err(InstantiateError::MemoryLayout);
        }
        let no_hosts = Arc::new(Hosts::new(Vec::new()));
        match instantiate::from_imports(self.core(), &module.inner, &resolved) {
            Ok(data) => Ok(self.add(data, no_hosts)),
            Err((error, remains)) => {
                if let Some(data) = remains {
                    self.add(data, no_hosts);
                }
                Err(error)
            }
        }
    }

    /// Whether an export is a reserved memory, or not a memory at all.
    fn may_be_reserved(&mut self, export: &Export) -> bool {
        let Item::Memory(index) = export.item else { return true };
        self.inner_mut().core.instances[export.instance.0 as usize].memory(index).is_reserved()
    }

    /// Returns the export of an instance with this name.
    pub fn export(&self, instance: Instance, name: &str) -> Option<Export> {
        let item = self.instance_data(instance).module.info.export(name)?;
        Some(Export { instance, item })
    }

    /// Returns the type of an export. For a memory or a table, the type has the current size.
    pub fn export_type(&self, export: Export) -> ExternType {
        let data = self.instance_data(export.instance);
        match (data.module.info.item_type(export.item), export.item) {
            (ExternType::Memory(limits), Item::Memory(index)) => {
                // SAFETY: nothing runs, and the descriptor lives as long as its instance.
                let length = unsafe { (*data.memory_descriptor(index)).length };
                ExternType::Memory(Limits { min: length / crate::environ::vm_layout::PAGE, ..limits })
            }
            (ExternType::Table(mut ty), Item::Table(index)) => {
                // SAFETY: as above.
                ty.limits.min = unsafe { (*data.table_descriptor(index)).length };
                ExternType::Table(ty)
            }
            (ty, _) => ty,
        }
    }

    /// Returns the value of an exported global; `None` if the export is not a global.
    pub fn global(&self, export: Export) -> Option<Value> {
        let Item::Global(index) = export.item else { return None };
        let data = self.instance_data(export.instance);
        let ty = data.module.info.globals[index as usize].ty.content;
        // SAFETY: nothing runs, and the cell lives as long as its instance.
        let raw = unsafe { *data.global(index) };
        Some(self.inner().core.value(ty, raw, export.instance.0))
    }

    /// Resolves the imports of a module to exports, and checks their types.
    fn resolved(
        &mut self,
        module: &Module,
        exports: &[Export],
    ) -> Result<Vec<Option<ResolvedImport>>, LinkError> {
        let info = &module.inner.info;
        let mut exports = exports.iter();
        let (mut resolved, mut missing) = (Vec::new(), Vec::new());
        for import in &info.imports {
            if info.is_reserved(import) {
                resolved.push(None);
                continue;
            }
            let expected = info.item_type(import.item);
            let found = exports.next().map(|&export| (export, self.export_type(export)));
            match found {
                Some((export, ty)) if provides(&ty, &expected) => {
                    resolved.push(Some(self.resolve_import(export)))
                }
                found => missing.push(MissingImport {
                    module: import.module.clone(),
                    name: import.name.clone(),
                    expected,
                    found: found.into_iter().map(|(_, ty)| ty).collect(),
                    nearest: None,
                }),
            }
        }
        if missing.is_empty() { Ok(resolved) } else { Err(LinkError { missing }) }
    }

    fn resolve_import(&mut self, export: Export) -> ResolvedImport {
        let data = &mut self.inner_mut().core.instances[export.instance.0 as usize];
        // From now on, other instances may hold references to its functions.
        data.own_records();
        let instance = data.address();
        let imported = |index| Imported { instance, index };
        match export.item {
            Item::Memory(index) => ResolvedImport::Memory(imported(index)),
            Item::Table(index) => ResolvedImport::Table(imported(index)),
            Item::Global(index) => ResolvedImport::Global(data.global(index)),
            Item::Func(index) => {
                // SAFETY: the record lives as long as its instance.
                let record = unsafe { *data.record(index) };
                let context = if record.context.is_null() { data.context() } else { record.context };
                ResolvedImport::Func(VmFuncRef { context, ..record })
            }
        }
    }
}

/// Whether something of type `found` may be imported as `expected`.
fn provides(found: &ExternType, expected: &ExternType) -> bool {
    let within = |found: Limits, expected: Limits| {
        let max = match (found.max, expected.max) {
            (_, None) => true,
            (Some(found), Some(expected)) => found <= expected,
            (None, Some(_)) => false,
        };
        found.min >= expected.min && max
    };
    match (found, expected) {
        (ExternType::Memory(found), ExternType::Memory(expected)) => within(*found, *expected),
        (ExternType::Table(found), ExternType::Table(expected)) => {
            found.element == expected.element && within(found.limits, expected.limits)
        }
        (found, expected) => found == expected,
    }
}
