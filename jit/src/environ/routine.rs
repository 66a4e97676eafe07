//! The routines that compiled code calls where the processor lacks an instruction: today, rounding on x86-64 processors
//! without SSE 4.1.

/// One of the routines. The numbers are part of cached code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Routine {
    CeilF32,
    CeilF64,
    FloorF32,
    FloorF64,
    TruncF32,
    TruncF64,
    NearestF32,
    NearestF64,
}

impl Routine {
    const ALL: [Routine; 8] = [
        Routine::CeilF32,
        Routine::CeilF64,
        Routine::FloorF32,
        Routine::FloorF64,
        Routine::TruncF32,
        Routine::TruncF64,
        Routine::NearestF32,
        Routine::NearestF64,
    ];

    /// Returns the routine with this number.
    pub(crate) fn from_number(number: u32) -> Option<Routine> {
        Routine::ALL.get(number as usize).copied()
    }
}
