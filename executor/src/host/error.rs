//! `lunatic::error`: the text of errors that other functions returned by number. All trap on an unknown one.

use lunatic_jit::Linker;

use crate::error::Fault;
use crate::process::ProcessData;

use super::memory::parts;
use super::{Guest, charge};

const KIND: &str = "error";

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    const MODULE: &str = "lunatic::error";
    linker.func(MODULE, "string_size", string_size);
    linker.func(MODULE, "to_string", to_string);
    linker.func(MODULE, "drop", |guest: &mut Guest<'_>, id: u64| {
        guest.data_mut().errors.remove(KIND, id).map(drop)
    });
}

/// The text's length in bytes.
fn string_size(guest: &mut Guest<'_>, id: u64) -> Result<u32, Fault> {
    guest.data().errors.get(KIND, id).map(|error| error.as_str().len() as u32)
}

/// Writes the text, which is as long as [`string_size`] says.
fn to_string(guest: &mut Guest<'_>, id: u64, pointer: u32) -> Result<(), Fault> {
    charge(guest, 0);
    let (mut memory, data) = parts(guest)?;
    memory.write(pointer, data.errors.get(KIND, id)?.as_str().as_bytes())
}
