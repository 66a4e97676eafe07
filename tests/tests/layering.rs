//! The crates use each other in one direction.
//!
//! Cargo forbids circles of dependencies, but accepts any other edge. The table lists which crates of this workspace each crate may
//! use. Development dependencies are not restricted.

use std::collections::BTreeSet;
use std::path::Path;

use lunatic_tests::guests::root;

/// The directory of each crate, and the crates of this workspace that it may depend on.
const LAYERS: &[(&str, &[&str])] = &[
    ("instrument", &[]),
    ("jit", &["lunatic-instrument"]),
    ("executor/resources", &[]),
    ("executor/scheduler", &["lunatic-resources"]),
    ("executor/net", &["lunatic-resources", "lunatic-scheduler"]),
    ("executor/stdio", &["lunatic-resources"]),
    ("executor/sqlite", &["lunatic-resources"]),
    ("executor/core", &["lunatic-jit", "lunatic-resources", "lunatic-scheduler", "lunatic-stdio"]),
    (
        "executor/host",
        &[CORE, "lunatic-jit", "lunatic-net", "lunatic-resources", "lunatic-scheduler", "lunatic-sqlite"],
    ),
    (
        "executor/wasi",
        &[
            CORE,
            HOST,
            "lunatic-jit",
            "lunatic-net",
            "lunatic-resources",
            "lunatic-scheduler",
            "lunatic-stdio",
        ],
    ),
    ("executor/simulation", &[CORE, "lunatic-jit", "lunatic-scheduler", "lunatic-stdio"]),
    (
        "executor",
        &[
            "lunatic-instrument",
            "lunatic-jit",
            "lunatic-resources",
            "lunatic-scheduler",
            "lunatic-net",
            "lunatic-stdio",
            CORE,
            HOST,
            "lunatic-wasi",
            "lunatic-simulation",
        ],
    ),
    ("cli", &["lunatic-instrument", "lunatic-executor"]),
];

const CORE: &str = "lunatic-core";
const HOST: &str = "lunatic-host";

/// The crates of this workspace among the dependencies in a manifest.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut shipped = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            shipped = line.contains("dependencies]") && !line.contains("dev-dependencies");
        } else if shipped && line.starts_with("lunatic-") {
            let name = line.split(['.', ' ', '=']).next().expect("a split has a first part");
            found.push(name.to_owned());
        }
    }
    found
}

/// The edges of a manifest that the table does not allow.
fn forbidden(manifest: &str, allowed: &[&str]) -> Vec<String> {
    dependencies(manifest).into_iter().filter(|name| !allowed.contains(&name.as_str())).collect()
}

#[test]
fn crates_depend_on_lower_layers_only() {
    for (directory, allowed) in LAYERS {
        let manifest = root().join(directory).join("Cargo.toml");
        let manifest = std::fs::read_to_string(&manifest).expect("each crate of the table has a manifest");
        assert_eq!(
            forbidden(&manifest, allowed),
            [""; 0],
            "{directory} depends on crates that it must not use"
        );
    }
}

#[test]
fn every_published_crate_is_in_the_table() {
    let mut manifests = BTreeSet::new();
    collect(root(), 2, &mut manifests);
    assert!(manifests.len() >= LAYERS.len(), "the crates were not found: {manifests:?}");
    for directory in manifests {
        let listed = LAYERS.iter().any(|(listed, _)| *listed == directory);
        assert!(listed, "{directory} is not in the table of layers");
    }
}

#[test]
fn a_planted_edge_is_found() {
    let manifest =
        "[dependencies]\nlunatic-jit.workspace = true\n\n[dev-dependencies]\nlunatic-cli.workspace = true\n";
    assert_eq!(forbidden(manifest, &["lunatic-instrument"]), ["lunatic-jit"]);
    let of_one_target = "[target.'cfg(unix)'.dependencies]\nlunatic-host = { path = \"../host\" }\n";
    assert_eq!(forbidden(of_one_target, &[]), ["lunatic-host"]);
}

/// The directories of the published packages below a directory, relative to the root.
fn collect(directory: &Path, depth: usize, manifests: &mut BTreeSet<String>) {
    let entries = std::fs::read_dir(directory).expect("the repository can be read").flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| path.is_dir() && !path.ends_with("target")) {
        if let Ok(manifest) = std::fs::read_to_string(path.join("Cargo.toml"))
            && manifest.contains("publish.workspace = true")
        {
            let relative = path.strip_prefix(root()).expect("it is below the root");
            manifests.insert(relative.display().to_string());
        }
        if depth > 1 {
            collect(&path, depth - 1, manifests);
        }
    }
}
