//! Describes compiled functions for profilers, in the format that Linux's perf reads.

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::runtime::module::Module;

impl Module {
    /// Writes a line for each function and trampoline: start and size in hexadecimal digits, and a name.
    ///
    /// # Errors
    /// Returns the errors of `out`.
    pub fn write_perf_map(&self, out: &mut dyn Write) -> io::Result<()> {
        let code = &self.inner.code;
        let mut lines = String::new();
        for compiled in 0..code.functions() {
            let name = match self.inner.wasm_function(compiled) {
                Some(function) => {
                    let name = self.inner.info.function_name(function);
                    name.unwrap_or_else(|| format!("<function {function}>"))
                }
                None => "<trampoline>".into(),
            };
            let start = code.address(compiled) as usize;
            // Writing to a string does not fail.
            let _ = writeln!(lines, "{start:x} {:x} {}", code.size(compiled), in_one_line(&name));
        }
        out.write_all(lines.as_bytes())
    }
}

/// Escapes line breaks: a guest chooses its names, and must not add lines.
fn in_one_line(name: &str) -> String {
    let mut line = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use crate::{Engine, EngineConfig, Module};

    #[test]
    fn every_function_has_one_line() {
        let text = "(module
            (import \"host\" \"f\" (func))
            (func $_ZN3app4main17h0123456789abcdefE (export \"main\"))
            (func $\"evil\\0adead 1 fake\")
            (func))";
        let engine = Engine::new(EngineConfig::default()).expect("the engine works here");
        let module = Module::compile(&engine, &wat::parse_str(text).expect("text")).expect("valid");
        let mut map = Vec::new();
        module.write_perf_map(&mut map).expect("written");
        let map = String::from_utf8(map).expect("text");
        let lines: Vec<Vec<&str>> = map.lines().map(|line| line.splitn(3, ' ').collect()).collect();
        let names: Vec<&str> = lines.iter().map(|line| line[2]).collect();
        let trampoline = "<trampoline>";
        // After the functions: the trampoline of the import, the yield stub, and the entry trampoline for the
        // exported type.
        assert_eq!(
            names,
            ["app::main", "evil\\ndead 1 fake", "<function 3>", trampoline, trampoline, trampoline]
        );
        for line in &lines {
            assert!(usize::from_str_radix(line[0], 16).is_ok_and(|start| start > 0), "{map}");
            assert!(usize::from_str_radix(line[1], 16).is_ok_and(|size| size > 0), "{map}");
        }
    }
}
