//! Host functions: how they are declared, and how a module's imports find them.
//!
//! A host function runs on the worker's stack, never on the process's. It answers at once
//! ([`HostCall::Return`]), raises an error that ends the activation, or says that the guest has to wait
//! ([`HostCall::Suspend`]): it then has left a note in the store's data of what it waits for, and whoever runs
//! the store supplies the result with [`Store::resume`](crate::Store::resume).

use std::any::Any;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::slice;
use std::sync::Arc;

use crate::error::{HostError, LinkError};
use crate::module::{Linked, Module};
use crate::nearest::nearest;
use crate::store::Caller;
use crate::value::{FuncType, RawValue, ValType};
use crate::vm::libcalls::{Context, Dispatched, HostEntry};

/// What a host function says when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostCall<R> {
    /// The result.
    Return(R),
    /// The guest waits; [`Store::resume`](crate::Store::resume) is given the result.
    Suspend,
}

/// A host function with its WebAssembly type.
pub struct HostFunc<T> {
    pub(crate) ty: FuncType,
    /// How native code gets to it.
    pub(crate) entry: HostEntry,
    /// Keeps what the entry leads to.
    _function: Arc<dyn Any + Send + Sync>,
    /// The stores whose guests may call it.
    _store: PhantomData<fn(T)>,
}

impl<T> HostFunc<T> {
    /// The reserved function as it is called through a table: it charges what its argument says.
    pub(crate) fn charge() -> HostFunc<T>
    where
        T: 'static,
    {
        (|caller: &mut Caller<'_, T>, reductions: u32| caller.charge(reductions.into()))
            .into_host_func::<Unchecked>()
    }
}

impl<T: 'static> HostFunc<T> {
    /// One of the same type that does nothing but raise an error.
    pub(crate) fn refusing(&self, error: Refusal) -> HostFunc<T> {
        /// # Safety
        /// As [`HostCode`](crate::vm::libcalls::HostCode) says; `function` is a [`Refusal`], and the context's store a
        /// `Store<T>`.
        unsafe extern "C" fn call<T>(function: *const (), context: Context, _: *mut RawValue) -> Dispatched {
            // SAFETY: by the contract.
            unsafe {
                let error = &*function.cast::<Refusal>();
                Caller::<T>::answer(context, |_| Err(error()))
            }
        }

        let function = Arc::new(error);
        let entry = HostEntry { call: call::<T>, function: Arc::as_ptr(&function).cast() };
        HostFunc { ty: self.ty.clone(), entry, _function: function, _store: PhantomData }
    }
}

/// Makes the error of a function that must not be called.
pub type Refusal = Box<dyn Fn() -> HostError + Send + Sync>;

impl<T> Clone for HostFunc<T> {
    fn clone(&self) -> Self {
        let HostFunc { ty, entry, _function, .. } = self;
        HostFunc { ty: ty.clone(), entry: *entry, _function: _function.clone(), _store: PhantomData }
    }
}

/// A Rust type that is a WebAssembly parameter or result.
pub trait WasmValue: Sized {
    /// The WebAssembly type.
    const TYPE: ValType;
    /// From a slot.
    fn from_raw(raw: RawValue) -> Self;
    /// Into a slot.
    fn into_raw(self) -> RawValue;
}

macro_rules! wasm_value {
    ($($rust:ty => $wasm:ident, |$raw:ident| $from:expr, |$value:ident| $into:expr;)*) => {$(
        impl WasmValue for $rust {
            const TYPE: ValType = ValType::$wasm;
            fn from_raw($raw: RawValue) -> Self { $from }
            fn into_raw(self) -> RawValue { let $value = self; $into }
        }
    )*};
}

wasm_value! {
    u32 => I32, |raw| raw.low as u32, |value| RawValue::from(u64::from(value));
    i32 => I32, |raw| raw.low as u32 as i32, |value| RawValue::from(u64::from(value as u32));
    u64 => I64, |raw| raw.low, |value| RawValue::from(value);
    i64 => I64, |raw| raw.low as i64, |value| RawValue::from(value as u64);
    f32 => F32, |raw| f32::from_bits(raw.low as u32), |value| RawValue::from(u64::from(value.to_bits()));
    f64 => F64, |raw| f64::from_bits(raw.low), |value| RawValue::from(value.to_bits());
    u128 => V128, |raw| raw.bits(), |value| RawValue::wide(value);
}

/// What a typed host function may return: nothing, a value, [`HostCall`] of either, or a `Result` of any of
/// these whose error converts to a [`HostError`].
pub trait HostResult {
    /// The WebAssembly result type.
    const TYPE: Option<ValType>;
    /// Stores the result in the first slot.
    fn store(self, slots: &mut [RawValue]) -> Result<HostCall<()>, HostError>;
}

impl HostResult for () {
    const TYPE: Option<ValType> = None;
    fn store(self, _: &mut [RawValue]) -> Result<HostCall<()>, HostError> {
        Ok(HostCall::Return(()))
    }
}

impl<V: WasmValue> HostResult for V {
    const TYPE: Option<ValType> = Some(V::TYPE);
    fn store(self, slots: &mut [RawValue]) -> Result<HostCall<()>, HostError> {
        slots[0] = self.into_raw();
        Ok(HostCall::Return(()))
    }
}

impl<R: HostResult> HostResult for HostCall<R> {
    const TYPE: Option<ValType> = R::TYPE;
    fn store(self, slots: &mut [RawValue]) -> Result<HostCall<()>, HostError> {
        match self {
            HostCall::Return(result) => result.store(slots),
            HostCall::Suspend => Ok(HostCall::Suspend),
        }
    }
}

impl<R: HostResult, E: Into<HostError>> HostResult for Result<R, E> {
    const TYPE: Option<ValType> = R::TYPE;
    fn store(self, slots: &mut [RawValue]) -> Result<HostCall<()>, HostError> {
        self.map_err(Into::into)?.store(slots)
    }
}

/// What comes before every call of a host function: an embedder's charge for it, and its look at the arguments. It is known
/// as a type, so that it is compiled into the function's entry.
pub trait Check<T>: 'static {
    /// Lets the call go on, or raises an error in its place.
    ///
    /// # Errors
    /// What the call then ends by, as if the function had raised it.
    fn check(caller: &mut Caller<'_, T>, arguments: &[RawValue]) -> Result<(), HostError>;
}

/// No check: the function does all of that itself.
pub struct Unchecked;

impl<T> Check<T> for Unchecked {
    fn check(_: &mut Caller<'_, T>, _: &[RawValue]) -> Result<(), HostError> {
        Ok(())
    }
}

/// A Rust closure that can be a host function: its first parameter is a [`Caller`], the others (up to twelve)
/// are [`WasmValue`]s, its result is a [`HostResult`].
pub trait IntoHostFunc<T, P, R> {
    /// The function with its type, called after a check.
    fn into_host_func<C: Check<T>>(self) -> HostFunc<T>;
}

macro_rules! into_host_func {
    ($($p:ident)*) => {
        impl<T, R, F, $($p),*> IntoHostFunc<T, ($($p,)*), R> for F
        where
            F: Fn(&mut Caller<'_, T>, $($p),*) -> R + Send + Sync + 'static,
            R: HostResult,
            $($p: WasmValue),*
        {
            #[allow(non_snake_case, unused_mut, unused_variables)]
            fn into_host_func<Before: Check<T>>(self) -> HostFunc<T> {
                /// What native code calls. One for each function, so that all between the slots and the function is
                /// compiled into it.
                ///
                /// # Safety
                /// As [`HostCode`](crate::vm::libcalls::HostCode) says; `function` is an `F`, and the context's store a
                /// `Store<T>`.
                unsafe extern "C" fn call<T, Before, R, F, $($p),*>(
                    function: *const (),
                    context: Context,
                    slots: *mut RawValue,
                ) -> Dispatched
                where
                    Before: Check<T>,
                    F: Fn(&mut Caller<'_, T>, $($p),*) -> R,
                    R: HostResult,
                    $($p: WasmValue),*
                {
                    const PARAMS: usize = 0 $(+ { let $p = 1; $p })*;
                    // SAFETY: by the contract.
                    unsafe {
                        let function = &*function.cast::<F>();
                        Caller::answer(context, |caller| {
                            let arguments = slots.cast::<[RawValue; PARAMS]>().read();
                            Before::check(caller, &arguments)?;
                            let [$($p),*] = arguments;
                            let result = function(caller, $($p::from_raw($p)),*);
                            result.store(slice::from_raw_parts_mut(slots, 1))
                        })
                    }
                }

                let params: Vec<ValType> = vec![$($p::TYPE),*];
                let results: Vec<ValType> = R::TYPE.into_iter().collect();
                let function = Arc::new(self);
                let entry = HostEntry {
                    call: call::<T, Before, R, F, $($p),*>,
                    function: Arc::as_ptr(&function).cast(),
                };
                let ty = FuncType::new(params, results);
                HostFunc { ty, entry, _function: function, _store: PhantomData }
            }
        }
    };
}

into_host_func!();
into_host_func!(A);
into_host_func!(A B);
into_host_func!(A B C);
into_host_func!(A B C D);
into_host_func!(A B C D E);
into_host_func!(A B C D E G);
into_host_func!(A B C D E G H);
into_host_func!(A B C D E G H I);
into_host_func!(A B C D E G H I J);
into_host_func!(A B C D E G H I J K);
into_host_func!(A B C D E G H I J K L);
into_host_func!(A B C D E G H I J K L M);

/// The host functions that a module may import, by module and field name.
pub struct Linker<T> {
    /// Under a name there is one at least, and no two of one type.
    functions: HashMap<String, HashMap<String, Vec<HostFunc<T>>>>,
}

impl<T: 'static> Default for Linker<T> {
    fn default() -> Self {
        Linker::new()
    }
}

impl<T: 'static> Linker<T> {
    /// A linker that knows nothing.
    pub fn new() -> Linker<T> {
        Linker { functions: HashMap::new() }
    }

    /// Declares a host function; a later one of the same name replaces it, and all that were declared beside it.
    ///
    /// # Panics
    /// When it takes or returns function references (by a [`WasmValue`] or [`HostResult`] of the embedder's):
    /// they are addresses, which safe code must not make up.
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

    /// Declares a host function beside those of the same name and of other types: what a name means may have changed, and
    /// modules that were built before have the old type. One of the same type is replaced.
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

    /// All that are declared, by module and field name, in no order.
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
    /// Every import that is missing or has another type, with the name that may have been meant. Imports of memories,
    /// tables and globals are always missing here (the reserved counter excepted): a process owns what it uses.
    pub fn link(&self, module: &Module) -> Result<Linked<T>, LinkError> {
        Linked::resolve(module, |module, name| self.get(module, name))
            .map_err(|error| self.with_suggestions(error))
    }

    /// The error with the names that may have been meant.
    pub(crate) fn with_suggestions(&self, mut error: LinkError) -> LinkError {
        let names: Vec<_> = self.functions().map(|(module, name, _)| (module, name)).collect();
        let unknown = error.missing.iter_mut().filter(|import| import.found.is_empty());
        for import in unknown.take(MAX_SUGGESTIONS) {
            let nearest = nearest((&import.module, &import.name), &names);
            import.nearest = nearest.map(|(module, name)| (module.to_owned(), name.to_owned()));
        }
        error
    }

    pub(crate) fn get(&self, module: &str, name: &str) -> &[HostFunc<T>] {
        self.functions.get(module).and_then(|functions| functions.get(name)).map_or(&[], Vec::as_slice)
    }
}

/// Unknown imports for which a near name is looked for: each is compared with all names there are.
const MAX_SUGGESTIONS: usize = 32;

fn of_values<T: 'static, C: Check<T>, P, R>(
    module: &str,
    name: &str,
    f: impl IntoHostFunc<T, P, R>,
) -> HostFunc<T> {
    let function = f.into_host_func::<C>();
    let mut types = function.ty.params.iter().chain(&function.ty.results);
    assert!(types.all(|&ty| ty != ValType::FuncRef), "{module}::{name} takes no function references");
    function
}
