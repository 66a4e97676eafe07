//! `lunatic::error`: the texts of errors that other functions returned by number. All functions trap on an unknown
//! number.

use crate::declare::{CALL, Host, func};
use lunatic_core::Fault;

use crate::Guest;
use crate::memory::parts;

const KIND: &str = "error";

pub(super) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::error";
    func!(host, MODULE, "string_size", CALL, string_size);
    func!(host, MODULE, "to_string", CALL.place(1, 1), to_string);
    func!(host, MODULE, "drop", CALL, |guest: &mut Guest<'_>, id: u64| {
        guest.data_mut().errors.remove(KIND, id).map(drop)
    });
}

/// Returns the length of the text in bytes.
fn string_size(guest: &mut Guest<'_>, id: u64) -> Result<u32, Fault> {
    guest.data().errors.get(KIND, id).map(|error| error.as_str().len() as u32)
}

/// Writes the text. It has the length that [`string_size`] returns.
fn to_string(guest: &mut Guest<'_>, id: u64, pointer: u32) -> Result<(), Fault> {
    let (mut memory, data) = parts(guest)?;
    memory.write(pointer, data.errors.get(KIND, id)?.as_str().as_bytes())
}
