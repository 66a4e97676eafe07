//! The name section of a module: names of functions, for backtraces and profilers, and the global that is the
//! guest's own stack pointer.

use std::collections::HashMap;
use std::fmt::{self, Display, Write};
use std::sync::OnceLock;

use wasmparser::{BinaryReader, Name, NameSectionReader};

/// The content of the name section. It is parsed when a name is first needed: most modules run without.
#[derive(Debug, Default)]
pub(crate) struct Names {
    section: Vec<u8>,
    names: OnceLock<HashMap<u32, Box<str>>>,
    stack_pointer: OnceLock<Option<u32>>,
}

/// The name that LLVM's linker gives to the global with the end of the stack in linear memory
/// (tool-conventions, "C stack").
const STACK_POINTER: &str = "__stack_pointer";

impl Names {
    /// Keeps the content of a name section.
    pub(crate) fn new(section: &[u8]) -> Names {
        Names { section: section.into(), ..Names::default() }
    }

    /// Returns the bytes that it takes, including the names once they are parsed.
    pub(crate) fn host_bytes(&self) -> usize {
        2 * self.section.len()
    }

    /// Returns the name of a function as it is in the section.
    pub(crate) fn get(&self, function: u32) -> Option<&str> {
        self.names.get_or_init(|| read(&self.section)).get(&function).map(|name| &**name)
    }

    /// Returns the global that is named as a stack pointer. It may not exist: the section is not validated.
    pub(crate) fn stack_pointer(&self) -> Option<u32> {
        *self.stack_pointer.get_or_init(|| {
            let globals = sections(&self.section).filter_map(|names| match names {
                Name::Global(globals) => Some(globals),
                _ => None,
            });
            let mut names = globals.flat_map(|globals| globals.into_iter().map_while(Result::ok));
            names.find(|naming| naming.name == STACK_POINTER).map(|naming| naming.index)
        })
    }
}

/// The largest length of a demangled name in bytes. A few mangled bytes may stand for a megabyte, because
/// parts of a name may refer to other parts.
const MAX_NAME: usize = 400;

/// Returns a name as it is shown: demangled if it is a Rust name, and shortened if it is long.
pub(crate) fn demangled(name: &str) -> String {
    shortened(format_args!("{:#}", rustc_demangle::demangle(name)), MAX_NAME)
}

/// Returns a text that ends with an ellipsis if it would exceed `most` bytes. No longer text is created on
/// the way.
pub(crate) fn shortened(text: impl Display, most: usize) -> String {
    let mut shortened = Shortened { text: String::new(), most };
    if write!(shortened, "{text}").is_err() {
        shortened.text.push('…');
    }
    shortened.text
}

/// Accepts text up to a limit, and fails beyond it.
struct Shortened {
    text: String,
    most: usize,
}

impl fmt::Write for Shortened {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let fits = more.floor_char_boundary(self.most - self.text.len());
        self.text.push_str(&more[..fits]);
        if fits < more.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Returns the parts of a name section. From the first malformed part on, the section is ignored.
fn sections(section: &[u8]) -> impl Iterator<Item = Name<'_>> {
    NameSectionReader::new(BinaryReader::new(section, 0)).map_while(Result::ok)
}

fn read(section: &[u8]) -> HashMap<u32, Box<str>> {
    let functions = sections(section).filter_map(|names| match names {
        Name::Function(functions) => Some(functions),
        _ => None,
    });
    let names = functions.flat_map(|functions| functions.into_iter().map_while(Result::ok));
    names.map(|name| (name.index, name.name.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_demangled_names_are_truncated_while_demangling() {
        // Each tuple contains the previous one twice: forty of them would be a terabyte.
        let mut name = String::from("_RIC1aTuuE");
        let mut before = 4;
        for _ in 0..40 {
            let here = name.len() - 2;
            let reference = base_62(before);
            name += &format!("TB{reference}B{reference}E");
            before = here;
        }
        name.push('E');
        let cut = demangled(&name);
        assert!(cut.starts_with("a::<(") && cut.ends_with('…'), "{cut}");
        assert!(cut.len() <= MAX_NAME + '…'.len_utf8(), "{} bytes", cut.len());
        let long = "ä".repeat(MAX_NAME);
        let cut = demangled(&long);
        assert!(cut.len() <= MAX_NAME + '…'.len_utf8() && cut.ends_with("ä…"), "{cut}");
        assert_eq!(demangled("_ZN4core3fmt5write17h0123456789abcdefE"), "core::fmt::write");
    }

    /// Returns a number as mangled names encode it.
    fn base_62(number: usize) -> String {
        const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let Some(mut number) = number.checked_sub(1) else { return "_".into() };
        let mut digits = vec![b'_', DIGITS[number % 62]];
        while number >= 62 {
            number /= 62;
            digits.push(DIGITS[number % 62]);
        }
        digits.into_iter().rev().map(char::from).collect::<String>().replace('_', "") + "_"
    }
}
