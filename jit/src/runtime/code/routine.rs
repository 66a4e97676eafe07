//! The routines that compiled code calls where the processor lacks an instruction.
//!
//! They run on the process's stack: they are leaves, own nothing, and cannot fail.

use crate::environ::routine::Routine;

macro_rules! addresses {
    ($routine:expr, $($name:ident($ty:ty) = $round:expr;)*) => {
        match $routine {
            $(Routine::$name => {
                extern "C" fn routine(value: $ty) -> $ty {
                    ($round)(value)
                }
                routine as *const () as usize
            })*
        }
    };
}

/// Returns the address of a routine in this process.
pub(super) fn address(routine: Routine) -> usize {
    addresses! { routine,
        CeilF32(f32) = f32::ceil;
        CeilF64(f64) = f64::ceil;
        FloorF32(f32) = f32::floor;
        FloorF64(f64) = f64::floor;
        TruncF32(f32) = f32::trunc;
        TruncF64(f64) = f64::trunc;
        NearestF32(f32) = f32::round_ties_even;
        NearestF64(f64) = f64::round_ties_even;
    }
}
