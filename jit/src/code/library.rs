//! What compiled code calls where the processor lacks an instruction.
//!
//! Today that is rounding on x86-64 processors without SSE 4.1. The routines run on the process's stack: they are
//! leaves, own nothing, and cannot fail.

use cranelift_codegen::ir::LibCall;

macro_rules! routines {
    ($($name:ident($ty:ty) = $round:expr;)*) => {
        /// One of the routines. The numbers are written to cached code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Routine {
            $(#[doc = stringify!($round)] $name),*
        }

        impl Routine {
            const ALL: &[Routine] = &[$(Routine::$name),*];

            /// The routine that Cranelift asks for, if it is one that we have.
            pub(super) fn for_call(call: LibCall) -> Option<Routine> {
                match call {
                    $(LibCall::$name => Some(Routine::$name),)*
                    _ => None,
                }
            }

            /// Its address in this process.
            pub(super) fn address(self) -> usize {
                match self {
                    $(Routine::$name => {
                        extern "C" fn routine(value: $ty) -> $ty {
                            ($round)(value)
                        }
                        routine as *const () as usize
                    })*
                }
            }
        }
    };
}

routines! {
    CeilF32(f32) = f32::ceil;
    CeilF64(f64) = f64::ceil;
    FloorF32(f32) = f32::floor;
    FloorF64(f64) = f64::floor;
    TruncF32(f32) = f32::trunc;
    TruncF64(f64) = f64::trunc;
    NearestF32(f32) = f32::round_ties_even;
    NearestF64(f64) = f64::round_ties_even;
}

impl Routine {
    /// The routine of this number.
    pub(crate) fn from_number(number: u32) -> Option<Routine> {
        Routine::ALL.get(number as usize).copied()
    }
}
