//! `lunatic::ext::*`: what this runtime offers beyond Lunatic's functions.
//!
//! Lunatic's functions keep their types and meaning; what they cannot say is here, a file for each namespace. The
//! namespaces only grow: a function that was once in a release keeps its name, type and meaning, and
//! `lunatic::ext::version` says how far they have grown. ARCHITECTURE.md has the table of all functions with the
//! version that introduced each; a test compares it with what is registered.

mod alias;
mod config;
mod death;
mod exit;
mod mailbox;
mod monitor;
mod network;
mod process;
mod timer;

use lunatic_jit::Linker;

use crate::process::ProcessData;

use super::Guest;

/// Grows with every release that adds a function.
const VERSION: u32 = 3;

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    linker.func("lunatic::ext", "version", |_: &mut Guest<'_>| VERSION);
    alias::register(linker);
    config::register(linker);
    death::register(linker);
    exit::register(linker);
    mailbox::register(linker);
    monitor::register(linker);
    network::register(linker);
    process::register(linker);
    timer::register(linker);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// What the table says: a function and its type in the first column of a row, its version in the second.
    const TABLE: &str = include_str!("../../../../ARCHITECTURE.md");

    /// `name(i32, i64) -> i64`, without the parameters' names.
    fn without_names(signature: &str) -> String {
        let (name, rest) = signature.split_once('(').expect("a function has parameters, or ()");
        let (params, result) = rest.split_once(')').expect("what was opened is closed");
        let types: Vec<_> =
            params.split(", ").map(|param| param.rsplit(": ").next().unwrap_or(param)).collect();
        format!("{name}({}){result}", types.join(", "))
    }

    fn documented() -> BTreeSet<String> {
        let (_, table) = TABLE.split_once("| `lunatic::ext::…` | since |").expect("there is a table");
        let rows = table.lines().skip(2).map_while(|line| line.strip_prefix("| `"));
        rows.map(|row| {
            let (signature, rest) = row.split_once("` | ").expect("a row has columns");
            let since: u32 = rest.split(' ').next().expect("a version").parse().expect("a number");
            assert!((1..=super::VERSION).contains(&since), "{signature} is from the future");
            without_names(signature)
        })
        .collect()
    }

    fn registered() -> BTreeSet<String> {
        let linker = crate::host::linker();
        let ours = linker.functions().filter_map(|(module, name, ty)| {
            let space = module.strip_prefix("lunatic::ext")?;
            let space = space.strip_prefix("::").map(|space| format!("{space}::")).unwrap_or_default();
            let params: Vec<_> = ty.params.iter().map(ToString::to_string).collect();
            let result: String = ty.results.iter().map(|ty| format!(" -> {ty}")).collect();
            Some(format!("{space}{name}({}){result}", params.join(", ")))
        });
        ours.collect()
    }

    #[test]
    fn what_is_registered_is_what_is_documented() {
        assert_eq!(registered(), documented());
    }
}
