//! The host functions that modules may import, by name.

use std::collections::HashMap;

use crate::environ::outline::Outline;
use crate::environ::value::{FuncType, ValType};
use crate::runtime::error::LinkError;
use crate::runtime::module::Module;
use crate::runtime::nearest::nearest;
use crate::runtime::store::{Check, HostFunc, IntoHostFunc, Linked, Unchecked, unresolved};

/// The host functions that a module may import, by module and field name.
pub struct Linker<T> {
    /// Each name has at least one function, and no two of the same type.
    functions: HashMap<String, HashMap<String, Vec<HostFunc<T>>>>,
}

impl<T: 'static> Default for Linker<T> {
    fn default() -> Self {
        Linker::new()
    }
}

impl<T: 'static> Linker<T> {
    /// Creates a linker without host functions.
    pub fn new() -> Linker<T> {
        Linker { functions: HashMap::new() }
    }

    /// Declares a host function. It replaces all functions with the same name.
    ///
    /// # Panics
    /// Panics if the function takes or returns function references (by a [`WasmValue`](crate::WasmValue) or [`HostResult`](crate::HostResult) of
    /// the embedder's): they are addresses, which safe code must not make up.
    pub fn func<P, R>(&mut self, module: &str, name: &str, f: impl IntoHostFunc<T, P, R>) -> &mut Self {
        self.checked_func::<Unchecked, P, R>(module, name, f)
    }

    /// As [`Linker::func`], with a check before every call.
    ///
    /// # Panics
    /// As [`Linker::func`].
    pub fn checked_func<C: Check<T>, P, R>(
        &mut self,
        module: &str,
        name: &str,
        f: impl IntoHostFunc<T, P, R>,
    ) -> &mut Self {
        *self.under(module, name) = vec![of_values::<T, C, P, R>(module, name, f)];
        self
    }

    /// Declares a host function in addition to those with the same name and other types: the meaning of a
    /// name may have changed, and modules that were built before have the old type. A function of the same
    /// type is replaced.
    ///
    /// # Panics
    /// As [`Linker::func`].
    pub fn overload<P, R>(&mut self, module: &str, name: &str, f: impl IntoHostFunc<T, P, R>) -> &mut Self {
        self.checked_overload::<Unchecked, P, R>(module, name, f)
    }

    /// As [`Linker::overload`], with a check before every call.
    ///
    /// # Panics
    /// As [`Linker::func`].
    pub fn checked_overload<C: Check<T>, P, R>(
        &mut self,
        module: &str,
        name: &str,
        f: impl IntoHostFunc<T, P, R>,
    ) -> &mut Self {
        let function = of_values::<T, C, P, R>(module, name, f);
        let functions = self.under(module, name);
        functions.retain(|other| other.ty != function.ty);
        functions.push(function);
        self
    }

    fn under(&mut self, module: &str, name: &str) -> &mut Vec<HostFunc<T>> {
        self.functions.entry(module.into()).or_default().entry(name.into()).or_default()
    }

    /// Whether a host function of this name is declared.
    pub fn contains(&self, module: &str, name: &str) -> bool {
        !self.get(module, name).is_empty()
    }

    /// Returns all functions by module and field name, in no particular order.
    pub fn functions(&self) -> impl Iterator<Item = (&str, &str, &FuncType)> {
        self.functions.iter().flat_map(|(module, functions)| {
            functions.iter().flat_map(move |(name, functions)| {
                functions.iter().map(move |function| (module.as_str(), name.as_str(), &function.ty))
            })
        })
    }

    /// Resolves all imports of a module.
    ///
    /// # Errors
    /// Returns every import that is missing or has another type, with a similar name if there is one. Imports
    /// of memories, tables and globals are always missing (except the reserved counter): a process owns what
    /// it uses.
    pub fn link(&self, module: &Module) -> Result<Linked<T>, LinkError> {
        Linked::resolve(module, |module, name| self.get(module, name))
            .map_err(|error| self.with_suggestions(error))
    }

    /// Adds similar names to an error.
    fn with_suggestions(&self, mut error: LinkError) -> LinkError {
        let names: Vec<_> = self.functions().map(|(module, name, _)| (module, name)).collect();
        let unknown = error.missing.iter_mut().filter(|import| import.found.is_empty());
        for import in unknown.take(MAX_SUGGESTIONS) {
            let nearest = nearest((&import.module, &import.name), &names);
            import.nearest = nearest.map(|(module, name)| (module.to_owned(), name.to_owned()));
        }
        error
    }

    /// Whether a module with this outline can be linked.
    ///
    /// # Errors
    /// As [`Linker::link`].
    pub fn check(&self, outline: &Outline) -> Result<(), LinkError> {
        let missing = unresolved(&outline.info, |module, name| self.get(module, name));
        if missing.is_empty() { Ok(()) } else { Err(self.with_suggestions(LinkError { missing })) }
    }

    fn get(&self, module: &str, name: &str) -> &[HostFunc<T>] {
        self.functions.get(module).and_then(|functions| functions.get(name)).map_or(&[], Vec::as_slice)
    }
}

/// The unknown imports for which a similar name is looked for: each is compared with all names.
const MAX_SUGGESTIONS: usize = 32;

fn of_values<T: 'static, C: Check<T>, P, R>(
    module: &str,
    name: &str,
    f: impl IntoHostFunc<T, P, R>,
) -> HostFunc<T> {
    let function = f.into_host_func::<C>();
    let mut types = function.ty.params.iter().chain(&function.ty.results);
    assert!(
        types.all(|&ty| ty != ValType::FuncRef),
        "{module}::{name} must not take or return function references"
    );
    function
}
