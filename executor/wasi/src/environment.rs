//! Arguments, environment, and exits: `args_*`, `environ_*`, `proc_*`.
//!
//! Both lists are passed in the same way. The guest first asks for the number of strings and the bytes of all of them
//! with their final zeros, then for an array of pointers and the strings themselves.

use lunatic_core::Fault;
use lunatic_core::ProcessData;
use lunatic_host::Capable;
use lunatic_host::declare::{Host, LOOK, func};
use lunatic_host::memory::GuestMemory;
use lunatic_host::{CALL, Guest, charge};

use super::errno::Errno;
use super::{Result, Version, answer};

/// The strings of a process, with their final zeros.
type List = fn(&ProcessData) -> Vec<Vec<u8>>;

pub(super) fn register(host: &mut Host, version: Version) {
    let module = version.module();
    for (name, list) in [("args", args as List), ("environ", environment)] {
        let sizes_get = move |guest: &mut Guest<'_>, count: u32, size: u32| {
            let list = charged(guest, list);
            answer(guest, |memory, _| sizes(memory, &list, count, size))
        };
        let get = move |guest: &mut Guest<'_>, pointers: u32, buffer: u32| {
            let list = charged(guest, list);
            answer(guest, |memory, _| strings(memory, &list, pointers, buffer))
        };
        func!(host, module, &format!("{name}_sizes_get"), LOOK, sizes_get);
        func!(host, module, &format!("{name}_get"), LOOK, get);
    }
    func!(host, module, "proc_exit", LOOK, |_: &mut Guest<'_>, status: u32| Err::<(), _>(Fault::Exit(
        status
    )));
    func!(host, module, "proc_raise", LOOK, |_: &mut Guest<'_>, signal: u32| raise(signal));
}

/// Does what a signal does to a program without handlers: it ends the program with the status that a shell reports,
/// or has no effect. A process cannot be stopped and continued: `NOTSUP`.
fn raise(signal: u32) -> std::result::Result<u32, Fault> {
    const NONE: u32 = 0;
    const CHILD: u32 = 16;
    const CONTINUE: u32 = 17;
    const STOP: u32 = 18;
    const TERMINAL_OUTPUT: u32 = 21;
    const URGENT: u32 = 22;
    const WINDOW: u32 = 27;
    const LAST: u32 = 30;
    match signal {
        NONE | CHILD | CONTINUE | URGENT | WINDOW => Ok(0),
        STOP..=TERMINAL_OUTPUT => Ok(Errno::NOTSUP.number()),
        _ if signal > LAST => Ok(Errno::INVAL.number()),
        _ => Err(Fault::Exit(128 + signal)),
    }
}

/// Returns a list and charges for it, because the creator of the configuration decides its length.
fn charged(guest: &mut Guest<'_>, list: List) -> Vec<Vec<u8>> {
    let list = list(guest.data());
    guest.charge(CALL * list.len() as u64);
    charge(guest, list.iter().map(|string| string.len() as u64).sum());
    list
}

fn args(data: &ProcessData) -> Vec<Vec<u8>> {
    data.process.config().caps().args.iter().map(|argument| terminated(&[argument])).collect()
}

fn environment(data: &ProcessData) -> Vec<Vec<u8>> {
    data.process.config().caps().env.iter().map(|(key, value)| terminated(&[key, "=", value])).collect()
}

fn terminated(parts: &[&str]) -> Vec<u8> {
    let mut string = parts.concat().into_bytes();
    string.push(0);
    string
}

fn sizes(memory: &mut GuestMemory<'_>, strings: &[Vec<u8>], count: u32, size: u32) -> Result<()> {
    memory.write_u32(count, strings.len() as u32)?;
    memory.write_u32(size, strings.iter().map(|string| string.len() as u32).sum())?;
    Ok(())
}

fn strings(memory: &mut GuestMemory<'_>, strings: &[Vec<u8>], pointers: u32, buffer: u32) -> Result<()> {
    memory.array(pointers, strings.len() as u32, 4)?;
    let mut at = buffer;
    for (index, string) in strings.iter().enumerate() {
        memory.write_u32(pointers + 4 * index as u32, at)?;
        memory.write(at, string)?;
        // At the very end of the memory, there is nothing behind the pointer.
        at = at.wrapping_add(string.len() as u32);
    }
    Ok(())
}
