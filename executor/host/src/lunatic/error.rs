//! `lunatic::error`: the text of errors that other functions returned by number. All trap on an unknown one.

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

/// The text's length in bytes.
fn string_size(guest: &mut Guest<'_>, id: u64) -> Result<u32, Fault> {
    guest.data().errors.get(KIND, id).map(|error| error.as_str().len() as u32)
}

/// Writes the text, which is as long as [`string_size`] says.
fn to_string(guest: &mut Guest<'_>, id: u64, pointer: u32) -> Result<(), Fault> {
    let (mut memory, data) = parts(guest)?;
    memory.write(pointer, data.errors.get(KIND, id)?.as_str().as_bytes())
}
