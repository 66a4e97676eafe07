//! Conversion of values between the host and native code.

use crate::environ::value::{Func, RawValue, ValType, Value};
use crate::runtime::vm::instance::StoreCore;

impl StoreCore {
    /// Converts a value to how the instance `holder` keeps it.
    pub(super) fn raw(&mut self, value: Value, holder: u32) -> RawValue {
        RawValue::from(match value {
            Value::I32(value) => u64::from(value as u32),
            Value::I64(value) => value as u64,
            Value::F32(bits) => u64::from(bits),
            Value::F64(bits) => bits,
            Value::V128(bits) => return RawValue::wide(bits),
            Value::FuncRef(function) => function.map_or(0, |function| self.reference(function, holder)),
            Value::ExternRef(reference) => reference.map_or(0, |number| u64::from(number) + 1),
        })
    }

    /// Converts what the instance `holder` keeps to a value.
    pub(super) fn value(&self, ty: ValType, raw: RawValue, holder: u32) -> Value {
        match ty {
            ValType::I32 => Value::I32(raw.low as i32),
            ValType::I64 => Value::I64(raw.low as i64),
            ValType::F32 => Value::F32(raw.low as u32),
            ValType::F64 => Value::F64(raw.low),
            ValType::V128 => Value::V128(raw.bits()),
            ValType::FuncRef => Value::FuncRef((raw.low != 0).then(|| self.function(raw.low, holder))),
            ValType::ExternRef => Value::ExternRef(raw.low.checked_sub(1).map(|number| number as u32)),
        }
    }

    fn reference(&mut self, function: Func, holder: u32) -> u64 {
        assert!(
            (function.instance as usize) < self.instances.len(),
            "the function must be one of this store"
        );
        let owner = &mut self.instances[function.instance as usize];
        assert!(
            (function.function as usize) < owner.records.as_slice().len(),
            "the function must be one of its instance"
        );
        if function.instance != holder {
            owner.own_records();
        }
        owner.record(function.function) as u64
    }

    /// Returns the function that a reference points to. A shared record belongs to the instance that holds
    /// the reference: see `environ::vm_layout`.
    fn function(&self, reference: u64, holder: u32) -> Func {
        let find = |instance: u32| {
            let function = self.instances[instance as usize].function_of(reference)?;
            Some(Func { instance, function })
        };
        let mut others = 0..self.instances.len() as u32;
        find(holder).or_else(|| others.find_map(find)).expect("a reference points to a record of its store")
    }
}
