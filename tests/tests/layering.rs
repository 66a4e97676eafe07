//! The direction of dependency between the crates, and where `unsafe` may be.
//!
//! Cargo refuses circles and nothing else: a crate could depend on any crate below it. This list has the crates that each crate may
//! use. A new edge needs a reason, which belongs in ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::path::PathBuf;

use lunatic_tests::guests::root;
use lunatic_tests::sources::rust_files;

/// Each crate's folder and the crates of ours that it may depend on, lowest first.
const MAY_USE: [(&str, &[&str]); 14] = [
    ("instrument", &[]),
    ("jit", &["instrument"]),
    ("executor/resources", &[]),
    ("executor/metrics", &["resources"]),
    ("executor/scheduler", &["resources"]),
    ("executor/net", &["resources", "scheduler"]),
    ("executor/stdio", &["resources"]),
    ("executor/sqlite", &["resources"]),
    ("executor/core", &["jit", "resources", "metrics", "scheduler", "stdio"]),
    ("executor/host", &["jit", "resources", "metrics", "scheduler", "net", "sqlite", "core"]),
    ("executor/wasi", &["jit", "resources", "scheduler", "net", "stdio", "core", "host"]),
    ("executor/simulation", &["resources", "scheduler", "stdio", "core"]),
    (
        "executor",
        &[
            "instrument",
            "jit",
            "resources",
            "metrics",
            "scheduler",
            "net",
            "stdio",
            "core",
            "host",
            "wasi",
            "simulation",
        ],
    ),
    ("cli", &["instrument", "executor"]),
];

/// Crates that need neither Cranelift, nor SQLite, nor TLS, so that their tests are built in seconds.
const LIGHT: [&str; 5] =
    ["executor/resources", "executor/metrics", "executor/scheduler", "executor/net", "executor/stdio"];

/// Files in which `unsafe` may be, outside of `jit`, which has a test of its own.
const UNSAFE: [&str; 3] = [
    "executor/scheduler/src/prefetch.rs",
    "executor/scheduler/src/signal_queue.rs",
    "executor/sqlite/src/ffi/",
];

/// The lines of a crate's sources, without tests, above which the crate has to be split: about 6,000.
const MAX_LINES: usize = 6_400;

/// The dependencies of a crate without those of its tests.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let of = |table: &toml::Table| match table.get("dependencies") {
        Some(toml::Value::Table(dependencies)) => dependencies.keys().cloned().collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    let mut all: BTreeSet<String> = of(&manifest).into_iter().collect();
    if let Some(toml::Value::Table(targets)) = manifest.get("target") {
        all.extend(targets.values().filter_map(toml::Value::as_table).flat_map(of));
    }
    all
}

fn ours(folder: &str) -> BTreeSet<String> {
    let name = |dependency: String| dependency.strip_prefix("lunatic-").map(String::from);
    dependencies(folder).into_iter().filter_map(name).collect()
}

#[test]
fn each_crate_knows_only_crates_below_it() {
    for (folder, allowed) in MAY_USE {
        let used = ours(folder);
        let beyond: Vec<_> = used.iter().filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(beyond.is_empty(), "{folder} must not depend on {beyond:?}");
        let superfluous: Vec<_> = allowed.iter().filter(|name| !used.contains(**name)).collect();
        assert!(
            superfluous.is_empty(),
            "{folder} may depend on {superfluous:?} and does not: shorten the list"
        );
    }
}

#[test]
fn the_list_goes_from_below_to_above() {
    let mut below: Vec<&str> = Vec::new();
    for (folder, allowed) in MAY_USE {
        assert!(allowed.iter().all(|name| below.contains(name)), "{folder} comes before what it uses");
        below.push(folder.rsplit('/').next().unwrap());
    }
}

#[test]
fn light_crates_build_without_the_heavy_libraries() {
    for folder in LIGHT {
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let heavy = ["cranelift-codegen", "libsqlite3-sys", "lunatic-jit", "lunatic-sqlite"];
        assert!(heavy.iter().all(|name| !dependencies(folder).contains(*name)), "{folder}");
        let rustls = manifest.lines().find(|line| line.starts_with("rustls"));
        assert!(rustls.is_none_or(|line| line.contains("optional = true")), "{folder}");
    }
}

#[test]
fn no_crate_depends_on_another_runtime() {
    for (folder, _) in MAY_USE {
        let used = dependencies(folder);
        for peer in ["wasmtime", "wasmer", "wasmi", "tokio"] {
            assert!(!used.contains(peer), "{folder} depends on {peer}");
        }
    }
}

/// The sources of a crate, without those of crates in folders below.
fn sources(folder: &str) -> Vec<(String, String)> {
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
        (name, std::fs::read_to_string(&path).unwrap())
    };
    rust_files(&root().join(folder).join("src")).into_iter().map(read).collect()
}

#[test]
fn unsafe_code_is_where_it_may_be() {
    for (folder, _) in MAY_USE.into_iter().filter(|(folder, _)| *folder != "jit") {
        for (name, text) in sources(folder) {
            let code = text.lines().map(|line| line.split("//").next().unwrap_or(line));
            let is_unsafe = code.into_iter().any(|line| {
                line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl")
            });
            assert!(!is_unsafe || UNSAFE.iter().any(|place| name.starts_with(place)), "{name}");
        }
        let has_places = UNSAFE.iter().any(|place| place.starts_with(&format!("{folder}/src")));
        let root_file = format!("{folder}/src/lib.rs");
        let text = sources(folder).into_iter().find(|(name, _)| *name == root_file).map(|(_, text)| text);
        let level = if has_places { "#![deny(unsafe_code)]" } else { "#![forbid(unsafe_code)]" };
        assert!(text.is_some_and(|text| text.contains(level)), "{root_file} says {level}");
    }
}

#[test]
fn no_crate_of_the_executor_is_larger_than_it_may_be() {
    for (folder, _) in MAY_USE.into_iter().filter(|(folder, _)| folder.starts_with("executor")) {
        let of_file = |(name, text): &(String, String)| {
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
            if name.ends_with("tests.rs") { 0 } else { code.lines().count() }
        };
        let lines: usize = sources(folder).iter().map(of_file).sum();
        assert!(lines <= MAX_LINES, "{folder} has {lines} lines");
    }
}
