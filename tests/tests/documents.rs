//! The documents match the sources: the tests and paths that they name exist, and README.md shows an example without changes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use lunatic_tests::guests::root;
use lunatic_tests::sources::rust_files;

/// Documents whose tables name test functions.
const DOCUMENTS: &[&str] = &["docs/guarantees.md", "docs/hostile.md"];

/// The possible names of tests in the Rust sources: `fn NAME`, and the first word of each other line, because macros generate tests
/// from lines such as `NAME` or `NAME => …`.
fn names() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in rust_files(root()) {
        for line in fs::read_to_string(&file).expect("sources are UTF-8").lines().map(str::trim) {
            let word = line.strip_prefix("fn ").unwrap_or(line);
            let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(word.len());
            found.insert(word[..end].to_owned());
        }
    }
    found
}

#[test]
fn every_test_that_a_document_names_exists() {
    let existing = names();
    let mut named = 0;
    for document in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).expect("the document exists");
        for row in text.lines().filter(|line| line.starts_with('|')) {
            let tests = row.rsplit(" | ").next().expect("a split has a last part");
            for test in tests.split('`').skip(1).step_by(2).filter(|word| !word.contains(['/', '.'])) {
                if test.len() > 15 {
                    assert!(
                        existing.contains(test),
                        "{document} names the test {test}, which does not exist"
                    );
                    named += 1;
                }
            }
        }
    }
    assert!(named > 100, "the tables were not found: {named} names");
}

/// The documents at the root and below `docs`.
fn documents() -> Vec<PathBuf> {
    let directories = [root().to_owned(), root().join("docs"), root().join("docs/architecture")];
    let entries =
        directories.iter().flat_map(|directory| fs::read_dir(directory).expect("it exists").flatten());
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

#[test]
fn every_path_that_a_document_names_exists() {
    let folders: Vec<String> = fs::read_dir(root())
        .expect("it exists")
        .flatten()
        .filter_map(|entry| Some(format!("{}/", entry.file_name().to_str()?)))
        .collect();
    let mut named = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("documents are UTF-8");
        let quoted = text.split('`').skip(1).step_by(2);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let path = document.parent().expect("a file").join(link.split('#').next().expect("a first part"));
            assert!(path.exists(), "{}: the link {link} leads nowhere", document.display());
            named += 1;
        }
        for path in quoted.filter(|path| folders.iter().any(|folder| path.starts_with(folder))) {
            if !path.contains([' ', '*', ':', '…', '{']) && !path.starts_with("target/") {
                assert!(
                    root().join(path).exists(),
                    "{} names {path}, which does not exist",
                    document.display()
                );
                named += 1;
            }
        }
    }
    assert!(named > 50, "the paths were not found: {named}");
}

#[test]
fn the_program_in_the_readme_is_the_example() {
    let readme = fs::read_to_string(root().join("README.md")).expect("it exists");
    let example = fs::read_to_string(root().join("examples/counter/src/main.rs")).expect("it exists");
    assert!(readme.contains(&format!("```rust\n{example}```")), "README.md and examples/counter differ");
    assert!(readme.lines().count() <= 150, "README.md has {} lines", readme.lines().count());
}
