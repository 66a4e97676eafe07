//! The traps that compiled code raises, as the [tables](super::tables) number them.

/// The reason of a trap. The numbers are part of cached code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TrapCode {
    Unreachable = 1,
    TableOutOfBounds,
    UndefinedElement,
    UninitializedElement,
    TypeMismatch,
    StackOverflow,
    MemoryOutOfBounds,
    IntegerOverflow,
    IntegerDivisionByZero,
    BadConversionToInteger,
}

impl TrapCode {
    const ALL: [TrapCode; 10] = [
        TrapCode::Unreachable,
        TrapCode::TableOutOfBounds,
        TrapCode::UndefinedElement,
        TrapCode::UninitializedElement,
        TrapCode::TypeMismatch,
        TrapCode::StackOverflow,
        TrapCode::MemoryOutOfBounds,
        TrapCode::IntegerOverflow,
        TrapCode::IntegerDivisionByZero,
        TrapCode::BadConversionToInteger,
    ];

    /// Returns the trap with this number.
    pub(crate) fn from_number(number: u8) -> Option<TrapCode> {
        TrapCode::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::TrapCode;

    #[test]
    fn numbers_convert_back_to_their_trap() {
        for code in TrapCode::ALL {
            assert_eq!(TrapCode::from_number(code as u8), Some(code));
        }
        assert_eq!((TrapCode::from_number(0), TrapCode::from_number(11)), (None, None));
    }
}
