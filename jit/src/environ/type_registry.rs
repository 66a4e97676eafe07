//! The numbers by which native code compares function types.
//!
//! A type with few values is its own number: its parameters and results as octal digits, and a bit that says
//! whether its functions pass the counter of reductions on, because functions that do cannot be called by
//! functions that do not. Such a number is the same in every engine, so it is an immediate in the code, also
//! in code from the cache, and no table has to remember it. A type with more values than fit [`MAX_DIGITS`]
//! is numbered by the engine as long as a module uses it. Code gets these numbers when it is loaded.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::environ::value::{FuncType, ValType};

/// The octal digits that leave the highest bit of a number free: nine values, and the separator between
/// parameters and results.
const MAX_DIGITS: usize = 10;

/// The bit of numbers that the engine has assigned.
const NUMBERED: u32 = 1 << 31;

/// The bit of the types of metered modules.
const METERED: u32 = 1 << 30;

/// Returns the number of a type that is its own number.
///
/// Numbers are unique: no digit of a value is 0, so a 0 within the number separates the parameters from the
/// results, and without one, there are no parameters.
pub(crate) fn own_number(ty: &FuncType, metered: bool) -> Option<u32> {
    if ty.params.len() + ty.results.len() + 1 > MAX_DIGITS {
        return None;
    }
    let digits = ty.params.iter().map(digit).chain([0]).chain(ty.results.iter().map(digit));
    Some(digits.fold(0, |number, digit| number << 3 | digit) | metered_bit(metered))
}

fn metered_bit(metered: bool) -> u32 {
    if metered { METERED } else { 0 }
}

fn digit(ty: &ValType) -> u32 {
    match ty {
        ValType::I32 => 1,
        ValType::I64 => 2,
        ValType::F32 => 3,
        ValType::F64 => 4,
        ValType::FuncRef => 5,
        ValType::ExternRef => 6,
        ValType::V128 => 7,
    }
}

/// The numbers that an engine has assigned.
#[derive(Debug, Default)]
pub(crate) struct TypeRegistry {
    interner: Mutex<TypeInterner>,
}

#[derive(Debug, Default)]
struct TypeInterner {
    /// The number of each type in use, and the number of its uses.
    types: HashMap<FuncType, (u32, usize)>,
    /// Numbers that were given back.
    free: Vec<u32>,
}

/// The numbers of a module's types. They are given back on drop: no code compares with them and no function
/// record holds one any more, because both belong to the module.
#[derive(Debug)]
pub(crate) struct ModuleTypes {
    numbers: Vec<u32>,
    /// The types whose numbers the engine has assigned, once for each use.
    taken: Vec<FuncType>,
    from: Arc<TypeRegistry>,
}

impl TypeRegistry {
    /// Returns the numbers of a module's types.
    pub(crate) fn take(self: &Arc<Self>, types: &[FuncType], metered: bool) -> ModuleTypes {
        let mut interner = self.lock();
        let mut taken = Vec::new();
        let number = |ty: &FuncType| {
            own_number(ty, metered).unwrap_or_else(|| {
                taken.push(ty.clone());
                interner.take(ty) | metered_bit(metered)
            })
        };
        let numbers = types.iter().map(number).collect();
        ModuleTypes { numbers, taken, from: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, TypeInterner> {
        // No operation panics between two changes that belong together.
        self.interner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TypeInterner {
    fn take(&mut self, ty: &FuncType) -> u32 {
        let fresh = NUMBERED | self.types.len() as u32;
        let (number, uses) = match self.types.entry(ty.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            // Without a free number, the numbers in use are those from 0 on.
            Entry::Vacant(entry) => entry.insert((self.free.pop().unwrap_or(fresh), 0)),
        };
        *uses += 1;
        *number
    }

    fn give_back(&mut self, ty: &FuncType) {
        let Some((number, uses)) = self.types.get_mut(ty) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.free.push(*number);
            self.types.remove(ty);
        }
    }
}

impl ModuleTypes {
    /// Returns the number of each of the module's types.
    pub(crate) fn numbers(&self) -> &[u32] {
        &self.numbers
    }
}

impl Drop for ModuleTypes {
    fn drop(&mut self) {
        if !self.taken.is_empty() {
            let mut interner = self.from.lock();
            self.taken.iter().for_each(|ty| interner.give_back(ty));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const ALL: [ValType; 7] = [
        ValType::I32,
        ValType::I64,
        ValType::F32,
        ValType::F64,
        ValType::FuncRef,
        ValType::ExternRef,
        ValType::V128,
    ];

    /// Returns all lists of this number of types.
    fn lists(length: usize) -> Vec<Vec<ValType>> {
        (0..length).fold(vec![Vec::new()], |lists, _| {
            let longer = lists.iter().flat_map(|list| ALL.map(|ty| [&list[..], &[ty]].concat()));
            longer.collect()
        })
    }

    #[test]
    #[cfg_attr(miri, ignore = "safe arithmetic, for a hundred thousand types")]
    fn no_two_types_have_the_same_number() {
        let mut seen = HashSet::new();
        for length in 0..=5 {
            for list in lists(length) {
                for split in 0..=length {
                    let ty = FuncType::new(&list[..split], &list[split..]);
                    let number = own_number(&ty, false).expect("it is short");
                    assert!(number < METERED && seen.insert(number), "{ty}");
                    assert_eq!(own_number(&ty, true), Some(number | METERED));
                }
            }
        }
    }

    #[test]
    fn only_types_with_few_values_are_their_own_number() {
        let of =
            |params, results| FuncType::new(vec![ValType::ExternRef; params], vec![ValType::I32; results]);
        assert!(own_number(&of(9, 0), false).is_some_and(|number| number < NUMBERED));
        assert!(own_number(&of(0, 9), true).is_some());
        assert_eq!((own_number(&of(10, 0), false), own_number(&of(5, 5), true)), (None, None));
    }

    #[test]
    fn long_types_are_numbered_while_they_are_used() {
        let numbers = Arc::new(TypeRegistry::default());
        let long = |length| FuncType::new(vec![ValType::I32; length], []);
        let first = numbers.take(&[long(1), long(10), long(11), long(10)], false);
        let [short, ten, eleven, again] = *first.numbers() else { panic!("four types") };
        assert!(short < NUMBERED && ten >= NUMBERED && ten == again && ten != eleven);
        let second = numbers.take(&[long(10), long(12)], false);
        assert_eq!(second.numbers()[0], ten);
        drop(first);
        // The number of the type with eleven values is free, that of the type with ten is not.
        let third = numbers.take(&[long(13), long(14), long(10)], false);
        let all: HashSet<u32> = second.numbers().iter().chain(third.numbers()).copied().collect();
        assert_eq!((all.len(), third.numbers()[2]), (4, ten));
        drop((second, third));
        assert_eq!(numbers.lock().types.len(), 0);
        for length in 10..if cfg!(miri) { 30 } else { 1000 } {
            drop(numbers.take(&[long(length)], false));
        }
        assert!(numbers.lock().free.len() <= 4, "numbers are used again");
    }
}
