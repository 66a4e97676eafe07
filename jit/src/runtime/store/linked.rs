//! Modules whose imports are resolved.

use std::fmt;
use std::sync::Arc;

use super::{FreeList, HostFunc, Refusal};
use crate::environ::module_info::{Import, Item, ModuleInfo};
use crate::environ::value::ExternType;
use crate::environ::vm_layout::VmFuncRef;
use crate::runtime::error::{LinkError, MissingImport, TrapKind};
use crate::runtime::module::Module;
use crate::runtime::vm::libcalls::HostEntry;
use crate::runtime::vm::template::Template;

/// A module whose imports are resolved to host functions. Processes are instantiated from it. Cheap to clone.
pub struct Linked<T> {
    pub(crate) inner: Arc<LinkedInner<T>>,
}

/// The host function of each imported function.
pub(crate) struct Hosts<T> {
    pub(crate) entries: Box<[HostEntry]>,
    /// In the same order. They keep alive what the entries point to.
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
    /// Its tables point to the records.
    pub(crate) template: Arc<Result<Template, TrapKind>>,
    pub(crate) free_list: FreeList<T>,
}

// SAFETY: the records and the template are immutable, and point to code that the module owns. Host functions
// are Send and Sync by their type.
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

/// Returns the host function for an import, among those with its name.
fn resolved<'a, T>(info: &ModuleInfo, import: &Import, found: &'a [HostFunc<T>]) -> Option<&'a HostFunc<T>> {
    let Item::Func(function) = import.item else { return None };
    found.iter().find(|host| host.ty == *info.function_type(function))
}

/// Returns the imports without a host function. `find` returns all host functions with a name.
pub(crate) fn unresolved<'a, T: 'a>(
    info: &ModuleInfo,
    find: impl Fn(&str, &str) -> &'a [HostFunc<T>],
) -> Vec<MissingImport> {
    let ordinary = info.imports.iter().filter(|import| !info.is_reserved(import));
    let missing = ordinary.filter_map(|import| {
        let found = find(&import.module, &import.name);
        if resolved(info, import, found).is_some() {
            return None;
        }
        Some(MissingImport {
            module: import.module.clone(),
            name: import.name.clone(),
            expected: info.item_type(import.item),
            found: found.iter().map(|host| ExternType::Func(host.ty.clone())).collect(),
            nearest: None,
        })
    });
    missing.collect()
}

impl<T: 'static> Linked<T> {
    /// Resolves the imports of a module. `find` returns all host functions with a name.
    pub(crate) fn resolve<'a>(
        module: &Module,
        find: impl Fn(&str, &str) -> &'a [HostFunc<T>],
    ) -> Result<Linked<T>, LinkError> {
        let info = &module.inner.info;
        let missing = unresolved(info, &find);
        if !missing.is_empty() {
            return Err(LinkError { missing });
        }
        let imported = info.imports.iter().filter(|import| matches!(import.item, Item::Func(_)));
        let hosts = imported.map(|import| {
            if info.is_reserved(import) {
                return HostFunc::charge();
            }
            let found = resolved(info, import, find(&import.module, &import.name));
            found.expect("all imports are resolved").clone()
        });
        let hosts: Vec<_> = hosts.collect();
        let functions = 0..info.functions.len() as u32;
        let records: Arc<[VmFuncRef]> =
            functions.map(|function| module.inner.record(function, std::ptr::null_mut())).collect();
        let template = Arc::new(Template::new(info, &records));
        let inner = LinkedInner {
            module: module.clone(),
            hosts: Arc::new(Hosts::new(hosts)),
            records,
            template,
            free_list: FreeList::new(module.inner.engine.pool_capacity()),
        };
        Ok(Linked { inner: Arc::new(inner) })
    }
}

impl<T: 'static> Linked<T> {
    /// Returns a copy in which some host functions only raise an error: those for which `error` returns one,
    /// by module and field name. Functions that are refused already stay refused.
    pub fn refusing(&self, error: impl Fn(&str, &str) -> Option<Refusal>) -> Linked<T> {
        let LinkedInner { module, hosts, records, template, .. } = &*self.inner;
        let info = &module.inner.info;
        let functions = info.imports.iter().filter(|import| matches!(import.item, Item::Func(_)));
        let refused = functions.zip(&hosts.functions).map(|(import, host)| {
            let error = if info.is_reserved(import) { None } else { error(&import.module, &import.name) };
            error.map_or_else(|| host.clone(), |error| host.refusing(error))
        });
        let inner = LinkedInner {
            module: module.clone(),
            hosts: Arc::new(Hosts::new(refused.collect())),
            records: records.clone(),
            template: template.clone(),
            free_list: FreeList::new(module.inner.engine.pool_capacity()),
        };
        Linked { inner: Arc::new(inner) }
    }
}

impl<T> Linked<T> {
    /// Returns the bytes of host memory that the linked module takes together with its module (see
    /// [`Module::host_bytes`]): what instances share, but not what each instance has of its own.
    pub fn host_bytes(&self) -> usize {
        let template = Result::as_ref(&self.inner.template).map_or(0, Template::host_bytes);
        self.module().host_bytes() + size_of_val(&*self.inner.records) + self.bytes_of_hosts() + template
    }

    /// Returns approximately the part of these bytes that belongs to host functions: what linking the module
    /// again takes.
    pub fn bytes_of_hosts(&self) -> usize {
        /// Bytes of a function's type, and of what its entry points to.
        const EACH: usize = 160;
        self.inner.hosts.functions.len() * (size_of::<HostFunc<T>>() + size_of::<HostEntry>() + EACH)
    }

    /// Returns the module.
    pub fn module(&self) -> &Module {
        &self.inner.module
    }
}
