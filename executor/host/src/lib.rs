//! Host functions: the Lunatic ABI and its extensions.
//!
//! Each namespace has a file with a `register` function that declares its functions. WASI is a separate crate on top of
//! this one. A host function either answers at once, or records what it waits for and suspends the process. It never
//! blocks a worker, and holds no lock when it returns to the guest. A mistake of the guest is a
//! [`Fault`](lunatic_core::Fault) and ends its process.
//!
//! # What a call costs
//!
//! The engine charges guest code. A host function is charged by its [declaration](declare) before it works: an amount
//! for each call, and one reduction for every `BYTES_PER_REDUCTION` bytes. Work whose amount is known only later is
//! charged with [`charge`].

#![forbid(unsafe_code)]

pub mod capabilities;
pub mod declare;
mod ext;
mod lunatic;
pub mod memory;
mod networking;
mod services;
#[cfg(feature = "sqlite")]
mod sqlite;

use lunatic_core::ProcessData;
use lunatic_jit::{Caller, Linker};

pub use capabilities::{Capabilities, Capable};
pub use declare::Host;
pub use lunatic::module::{MAX_GUEST_BYTES, MAX_GUEST_TIME};
pub use networking::{HasSockets, Sockets};
pub use services::{GuestCompiler, Services, net};

/// A guest during a host call.
pub type Guest<'a> = Caller<'a, ProcessData>;

/// Bytes copied for one reduction.
const BYTES_PER_REDUCTION: u64 = 32;

/// Reductions for a call that copies nothing.
pub const CALL: u64 = 20;

/// Declares the functions of `lunatic::*` and `lunatic::ext::*`.
pub fn register(host: &mut Host) {
    lunatic::register(host);
    ext::register(host);
    networking::register(host);
    #[cfg(feature = "sqlite")]
    sqlite::register(host);
}

/// Returns the module and name of every function of a linker.
pub fn function_names(linker: &Linker<ProcessData>) -> Vec<(String, String)> {
    linker.functions().map(|(module, name, _)| (module.to_owned(), name.to_owned())).collect()
}

#[cfg(test)]
fn declared() -> Host {
    let mut host = Host::new();
    register(&mut host);
    host
}

/// Charges the guest for a call that handles `bytes` bytes.
#[inline]
pub fn charge(guest: &mut Guest<'_>, bytes: u64) {
    guest.charge(CALL + bytes / BYTES_PER_REDUCTION);
}

/// Charges the guest for changing a configuration, which is copied first if children share it.
fn charge_for_config(guest: &mut Guest<'_>, id: u64) {
    let bytes = guest.data().bytes_to_copy(id);
    guest.charge(bytes / BYTES_PER_REDUCTION);
}

#[cfg(test)]
#[path = "../../tests/common/abi.rs"]
mod abi;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::abi::{Param, Row};
    use super::declare::{Argument, Entry};
    use super::*;

    /// What the table says of a function's pointers: where each is, and how many bytes it is to at least.
    fn documented(row: &Row) -> Vec<(usize, Option<u32>)> {
        let mut at = 0;
        let mut found = Vec::new();
        for param in &row.params {
            match param {
                Param::Place(size) => found.push((at, Some(*size))),
                Param::Array(_) | Param::Text => found.push((at, None)),
                _ => {}
            }
            at += param.types().len();
        }
        found
    }

    #[test]
    fn each_pointer_and_length_of_the_table_is_declared() {
        let host = declared();
        for row in Row::all() {
            let declaration = find(&host, &row.module, &row.name).declaration;
            let arguments = declaration.arguments().iter().map(|argument| match *argument {
                Argument::Range { at, .. } => (at, None),
                Argument::Place { at, size } => (at, Some(size)),
            });
            assert_eq!(arguments.collect::<Vec<_>>(), documented(&row), "{}", row.signature());
            assert!(declaration.costs_something(), "{}", row.signature());
        }
    }

    fn find<'a>(host: &'a Host, module: &str, name: &str) -> &'a Entry {
        let is_it = |entry: &&Entry| entry.module == module && entry.name == name;
        host.declared().iter().find(is_it).unwrap_or_else(|| panic!("{module}::{name} is not declared"))
    }

    /// The columns of the table that come from declarations: what a call costs, whether it waits, what it needs. With
    /// BLESS=1 in the environment, they are written.
    #[test]
    fn the_table_matches_the_declarations() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../ABI.md");
        let table = std::fs::read_to_string(path).unwrap();
        let host = declared();
        let mut module = "";
        let mut expected = String::new();
        for line in table.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                module = heading;
            }
            match line.strip_prefix("| `").and_then(|row| row.split_once('(')) {
                Some((name, _)) if module.starts_with("lunatic::") => {
                    expected += &row_of(line, find(&host, module, name));
                }
                _ => expected += line,
            }
            expected.push('\n');
        }
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, &expected).unwrap();
        } else {
            assert!(
                table == expected,
                "executor/ABI.md says something else; BLESS=1 writes what is declared"
            );
        }
    }

    /// A row with the columns that are declared: function, since, cost, waits, needs, what.
    fn row_of(line: &str, entry: &Entry) -> String {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", function, since, _, _, _, what, ""] = &cells[..] else { panic!("not six columns: {line}") };
        let needs: Vec<_> = entry.declaration.permissions().iter().map(|needed| needed.name()).collect();
        let waits = if entry.may_wait { "yes" } else { "" };
        let cells = [*function, since, &entry.declaration.price(), waits, &needs.join(", "), what];
        let text: String = cells
            .iter()
            .map(|cell| if cell.is_empty() { "| ".into() } else { format!("| {cell} ") })
            .collect();
        text + "|"
    }

    /// `module::name(i32, i64) -> i64` of all functions but WASI's.
    fn registered() -> BTreeSet<String> {
        let linker = declared().into_linker();
        let ours = linker.functions().filter(|(module, ..)| module.starts_with("lunatic::"));
        ours.map(|(module, name, ty)| {
            let params: Vec<_> = ty.params.iter().map(ToString::to_string).collect();
            let result: String = ty.results.iter().map(|ty| format!(" -> {ty}")).collect();
            format!("{module}::{name}({}){result}", params.join(", "))
        })
        .collect()
    }

    #[test]
    fn the_table_lists_the_registered_functions() {
        let rows = Row::all();
        let documented: BTreeSet<_> = rows.iter().map(Row::signature).collect();
        let registered = registered();
        let differ: Vec<_> = registered.symmetric_difference(&documented).collect();
        assert!(differ.is_empty(), "in one of the two only: {differ:#?}");
        assert_eq!(documented.len(), rows.len(), "nothing is there twice");
        for row in rows {
            let is_ours = row.module.starts_with("lunatic::ext");
            let known = match row.since.parse::<u32>() {
                Ok(version) => is_ours && (1..=ext::VERSION).contains(&version),
                Err(_) => !is_ours && ["0.12", "0.13"].contains(&row.since.as_str()),
            };
            assert!(known, "{} is since {}", row.signature(), row.since);
        }
    }
}
