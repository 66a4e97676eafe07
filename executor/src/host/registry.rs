//! `lunatic::registry`: names for processes. All trap on bad pointers and names that are not UTF-8.

use lunatic_jit::Linker;

use crate::error::Fault;
use crate::node::NODE_ID;
use crate::process::{ProcessData, ProcessId};
use crate::registry::Owner;

use super::memory::parts;
use super::{Guest, charge};

/// Bytes of a name at most.
const MAX_NAME: u32 = 64 << 10;

/// Results of [`get`].
const FOUND: u32 = 0;
const NOT_FOUND: u32 = 1;

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    const MODULE: &str = "lunatic::registry";
    linker.func(MODULE, "put", put);
    linker.func(MODULE, "get", get);
    linker.func(MODULE, "remove", remove);
}

/// Gives a name to a process, whoever had it. A process of this node that is gone gets none.
fn put(guest: &mut Guest<'_>, name: u32, name_len: u32, node: u64, process: u64) -> Result<(), Fault> {
    charge(guest, name_len.into());
    let (memory, data) = parts(guest)?;
    let name = memory.str(name, name_len)?;
    if name_len > MAX_NAME {
        return Err(Fault::TooMany("bytes in a name"));
    }
    let owner = Owner { node, process: ProcessId::from_guest(process) };
    let node = data.node();
    let mut names = node.registry.lock();
    if owner.node != NODE_ID {
        names.put(name, owner);
        return Ok(());
    }
    let Some(target) = node.table.get(owner.process) else { return Ok(()) };
    names.put(name, owner);
    target.set_named();
    if target.is_over() {
        names.remove_all(owner.process);
    }
    Ok(())
}

/// Looks a name up. Returns 0 and writes node and process, or 1 if no one has it.
fn get(guest: &mut Guest<'_>, name: u32, name_len: u32, node_id: u32, process_id: u32) -> Result<u32, Fault> {
    charge(guest, name_len.into());
    let (mut memory, data) = parts(guest)?;
    memory.check(node_id, 8)?;
    memory.check(process_id, 8)?;
    let owner = data.node().registry.lock().get(memory.str(name, name_len)?);
    let Some(owner) = owner else { return Ok(NOT_FOUND) };
    memory.write_u64(node_id, owner.node)?;
    memory.write_u64(process_id, owner.process.to_guest())?;
    Ok(FOUND)
}

/// Frees a name, if anyone has it.
fn remove(guest: &mut Guest<'_>, name: u32, name_len: u32) -> Result<(), Fault> {
    charge(guest, name_len.into());
    let (memory, data) = parts(guest)?;
    data.node().registry.lock().remove(memory.str(name, name_len)?);
    Ok(())
}
