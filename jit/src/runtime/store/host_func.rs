//! Host functions: how a Rust closure becomes one.
//!
//! A host function runs on the worker's stack, never on the process's. It returns a result
//! ([`HostCall::Return`]), raises an error that ends the activation, or suspends the guest
//! ([`HostCall::Suspend`]). A function that suspends notes in the store's data what it waits for, and the
//! embedder passes the result to [`Store::resume`](crate::Store::resume).

use std::any::Any;
use std::marker::PhantomData;
use std::slice;
use std::sync::Arc;

use super::{Caller, HostCall};
use crate::environ::value::{FuncType, RawValue, ValType};
use crate::runtime::error::HostError;
use crate::runtime::vm::libcalls::{Context, Dispatched, HostEntry};

/// A host function with its WebAssembly type.
pub struct HostFunc<T> {
    pub(crate) ty: FuncType,
    /// How native code calls the function.
    pub(crate) entry: HostEntry,
    /// Keeps alive what the entry points to.
    _function: Arc<dyn Any + Send + Sync>,
    /// The stores whose guests may call the function.
    _store: PhantomData<fn(T)>,
}

impl<T> HostFunc<T> {
    /// The reserved function as it is called through a table: it charges its argument.
    pub(crate) fn charge() -> HostFunc<T>
    where
        T: 'static,
    {
        (|caller: &mut Caller<'_, T>, reductions: u32| caller.charge(reductions.into()))
            .into_host_func::<Unchecked>()
    }
}

impl<T: 'static> HostFunc<T> {
    /// A function of the same type that only raises an error.
    pub(crate) fn refusing(&self, error: Refusal) -> HostFunc<T> {
        /// # Safety
        /// As [`HostCode`](crate::runtime::vm::libcalls::HostCode) requires. `function` is a [`Refusal`], and
        /// the context's store is a `Store<T>`.
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

/// Creates the error of a function that must not be called.
pub type Refusal = Box<dyn Fn() -> HostError + Send + Sync>;

impl<T> Clone for HostFunc<T> {
    fn clone(&self) -> Self {
        let HostFunc { ty, entry, _function, .. } = self;
        HostFunc { ty: ty.clone(), entry: *entry, _function: _function.clone(), _store: PhantomData }
    }
}

/// A Rust type that represents a WebAssembly parameter or result.
pub trait WasmValue: Sized {
    /// The WebAssembly type.
    const TYPE: ValType;
    /// Converts from a slot.
    fn from_raw(raw: RawValue) -> Self;
    /// Converts to a slot.
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

/// What a typed host function may return: nothing, a value, a [`HostCall`] of either, or a `Result` of any of
/// these whose error converts to a [`HostError`].
pub trait HostResult {
    /// The WebAssembly result type.
    const TYPE: Option<ValType>;
    /// Whether the function may suspend its caller.
    const MAY_SUSPEND: bool = false;
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
    const MAY_SUSPEND: bool = true;
    fn store(self, slots: &mut [RawValue]) -> Result<HostCall<()>, HostError> {
        match self {
            HostCall::Return(result) => result.store(slots),
            HostCall::Suspend => Ok(HostCall::Suspend),
        }
    }
}

impl<R: HostResult, E: Into<HostError>> HostResult for Result<R, E> {
    const TYPE: Option<ValType> = R::TYPE;
    const MAY_SUSPEND: bool = R::MAY_SUSPEND;
    fn store(self, slots: &mut [RawValue]) -> Result<HostCall<()>, HostError> {
        self.map_err(Into::into)?.store(slots)
    }
}

/// What runs before every call of a host function: the embedder's charge, and its check of the arguments. It
/// is a type and not a value, so that it is compiled into the function's entry.
pub trait Check<T>: 'static {
    /// Lets the call proceed, or raises an error in its place.
    ///
    /// # Errors
    /// The call ends with this error, as if the function had raised it.
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
/// are [`WasmValue`]s, and its result is a [`HostResult`].
pub trait IntoHostFunc<T, P, R> {
    /// Whether the function may suspend its caller: its result type says so.
    const MAY_SUSPEND: bool;
    /// The types of its parameters.
    const PARAMS: &'static [ValType];

    /// Returns the function with its type, to be called after a check.
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
            const MAY_SUSPEND: bool = R::MAY_SUSPEND;
            const PARAMS: &'static [ValType] = &[$($p::TYPE),*];

            #[allow(non_snake_case, unused_mut, unused_variables)]
            fn into_host_func<Before: Check<T>>(self) -> HostFunc<T> {
                /// The code that native code calls: one function for each host function, so that everything
                /// between the slots and the closure is compiled into it.
                ///
                /// # Safety
                /// As [`HostCode`](crate::runtime::vm::libcalls::HostCode) requires. `function` is an `F`,
                /// and the context's store is a `Store<T>`.
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
