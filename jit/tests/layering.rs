//! The layers of this crate's modules, and the files that may contain `unsafe`.
//!
//! `environ` is below `compiler` and `runtime`, which do not name each other; `api` and `cache` are above both. Cargo
//! cannot see a forbidden edge between modules of one crate, so this test reads the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module with the modules that it may name.
const ALLOWED: &[(&str, &[&str])] = &[
    ("environ", &["environ"]),
    ("compiler", &["compiler", "environ"]),
    ("runtime", &["runtime", "environ"]),
    ("cache", &["cache", "runtime", "environ"]),
    ("api", &["api", "compiler", "runtime", "environ"]),
];

/// The files with `unsafe` code. A file is added here only with a reason that its header states.
const UNSAFE: &[&str] = &[
    "runtime/code/image.rs",
    "runtime/instantiate.rs",
    "runtime/perf/prefetch.rs",
    "runtime/perf/stack_switch.rs",
    "runtime/perf/zeroing.rs",
    "runtime/precompiled.rs",
    "runtime/store/call.rs",
    "runtime/store/caller.rs",
    "runtime/store/exports.rs",
    "runtime/store/host_func.rs",
    "runtime/store/linked.rs",
    "runtime/store/mod.rs",
    "runtime/store/pool.rs",
    "runtime/sys/interpreted.rs",
    "runtime/sys/mod.rs",
    "runtime/sys/unix/backing.rs",
    "runtime/sys/unix/fault.rs",
    "runtime/sys/unix/mapping.rs",
    "runtime/sys/unix/pagemap.rs",
    "runtime/sys/unix/private.rs",
    "runtime/sys/unix/reset.rs",
    "runtime/vm/activation.rs",
    "runtime/vm/image.rs",
    "runtime/vm/instance.rs",
    "runtime/vm/libcalls.rs",
    "runtime/vm/memory.rs",
    "runtime/vm/stack.rs",
    "runtime/vm/table.rs",
    "runtime/vm/trap.rs",
];

fn sources() -> Vec<(PathBuf, String)> {
    fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("the sources are readable").flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let relative = |path: &PathBuf| path.strip_prefix(&root).expect("it is below the root").to_owned();
    files.iter().map(|path| (relative(path), fs::read_to_string(path).expect("it is readable"))).collect()
}

/// A source without comments, without string literals, and without its modules of tests.
fn code(source: &str) -> String {
    let mut code = String::new();
    let mut lines = source.lines().peekable();
    while let Some(line) = lines.next() {
        let is_tests = line.trim() == "#[cfg(test)]"
            && lines.peek().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        if is_tests {
            // Up to the brace that closes the module, in the first column.
            lines.by_ref().find(|line| *line == "}");
            continue;
        }
        let line = line.split("//").next().unwrap_or_default();
        // Every second part of a line is inside quotes. Literals of several lines are rare, and name no paths.
        code.extend(line.split('"').step_by(2));
        code.push('\n');
    }
    code
}

/// Files that are compiled for tests only.
fn is_test(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    ["tests.rs", "owners.rs", "speculation.rs"].contains(&name)
}

/// The modules at the root of the crate that code names, by `crate::name` and by `use crate::{name::…}`.
fn named_modules(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate::` and `lunatic_crate::` are other paths.
        if code[..at].ends_with(|before: char| before == '_' || before == '$' || before.is_alphanumeric()) {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(group_heads(group)),
            None => names.extend(identifier(rest)),
        }
    }
    names
}

fn identifier(text: &str) -> Option<String> {
    let end = text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// The first identifier of each item of a group of imports, up to its closing brace.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut is_start, mut heads) = (0, true, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_start = true,
            _ if is_start && depth == 0 && !character.is_whitespace() => {
                heads.extend(identifier(&group[at..]));
                is_start = false;
            }
            _ => {}
        }
    }
    heads
}

/// The forbidden edges of a source, in words.
fn forbidden_edges(path: &Path, source: &str) -> Vec<String> {
    let first = path.components().next().expect("a path has a component").as_os_str().to_string_lossy();
    let layer = first.trim_end_matches(".rs");
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == layer) else { return Vec::new() };
    let named = named_modules(&code(source)).into_iter();
    let forbidden = named.filter(|name| !allowed.contains(&name.as_str()));
    forbidden.map(|name| format!("{}: {layer} names crate::{name}", path.display())).collect()
}

fn has_unsafe(source: &str) -> bool {
    code(source).split(|c: char| c != '_' && !c.is_alphanumeric()).any(|word| word == "unsafe")
}

#[test]
fn modules_name_only_the_layers_below() {
    let sources = sources();
    let all = sources.iter().filter(|(path, _)| !is_test(path));
    let edges: Vec<_> = all.flat_map(|(path, source)| forbidden_edges(path, source)).collect();
    assert!(edges.is_empty(), "forbidden paths:\n{}", edges.join("\n"));
    // Every file of the crate belongs to a layer.
    let outside = sources.iter().map(|(path, _)| path).filter(|path| {
        let first = path.components().next().expect("a path has a component").as_os_str().to_string_lossy();
        !is_test(path)
            && first != "lib.rs"
            && !ALLOWED.iter().any(|(name, _)| *name == first.trim_end_matches(".rs"))
    });
    assert_eq!(outside.collect::<Vec<_>>(), Vec::<&PathBuf>::new(), "files outside of all layers");
}

#[test]
fn forbidden_paths_are_found() {
    let planted = [
        ("compiler/link.rs", "use crate::runtime::engine::Engine;"),
        ("runtime/engine.rs", "fn f() { crate::compiler::translate::f() }"),
        ("environ/types.rs", "use crate::{\n    environ::value::{ValType, Value},\n    runtime::sys,\n};"),
        ("runtime/module.rs", "use crate::Cache;"),
        ("cache/mod.rs", "pub(in crate::compiler) fn f() {}"),
        (
            "compiler/link.rs",
            "#[cfg(test)]\nmod tests {\n    fn f() {}\n}\nuse crate::runtime::engine::Engine;",
        ),
    ];
    for (path, source) in planted {
        assert_eq!(forbidden_edges(Path::new(path), source).len(), 1, "{path}: {source}");
    }
    let allowed = [
        ("compiler/link.rs", "use crate::environ::{error::CompileError, artifact::{Artifact, Fixup}};"),
        ("runtime/engine.rs", "// crate::compiler\nlet text = \"crate::compiler\";"),
        ("environ/types.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::Engine;\n}"),
        ("api.rs", "use crate::compiler::NativeCompiler;"),
    ];
    for (path, source) in allowed {
        assert_eq!(forbidden_edges(Path::new(path), source), Vec::<String>::new(), "{path}: {source}");
    }
}

#[test]
fn unsafe_code_is_only_in_the_listed_files() {
    let found: BTreeSet<String> = sources()
        .iter()
        .filter(|(path, source)| !is_test(path) && has_unsafe(source))
        .map(|(path, _)| path.to_string_lossy().into_owned())
        .collect();
    let listed: BTreeSet<String> = UNSAFE.iter().map(|path| path.to_string()).collect();
    assert_eq!(found, listed);
    assert!(has_unsafe("unsafe { f() }") && !has_unsafe("// unsafe\n#![deny(unsafe_code)]"));
}
