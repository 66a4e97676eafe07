//! `path_rename` compared with the system's own rename: trailing slashes, links, existing targets.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use common::{run, workers};
use lunatic_executor::PreopenedDir;

/// Creates files, directories, and links to them.
fn make(at: &Path) {
    fs::write(at.join("file"), "file").unwrap();
    fs::write(at.join("other"), "other").unwrap();
    for dir in ["dir", "empty", "full"] {
        fs::create_dir(at.join(dir)).unwrap();
    }
    fs::write(at.join("full/inside"), "inside").unwrap();
    symlink("dir", at.join("to-dir")).unwrap();
    symlink("file", at.join("to-file")).unwrap();
    symlink("nothing", at.join("to-nothing")).unwrap();
}

/// Lists a directory: names, kinds, and contents.
fn listing(at: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(at).unwrap() {
        let entry = entry.unwrap();
        let (name, kind) = (entry.file_name().into_string().unwrap(), entry.file_type().unwrap());
        if kind.is_symlink() {
            found.push(format!("{name} -> {}", fs::read_link(entry.path()).unwrap().display()));
        } else if kind.is_dir() {
            found.push(format!("{name}/"));
            found.extend(listing(&entry.path()).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            found.push(format!("{name}: {}", fs::read_to_string(entry.path()).unwrap()));
        }
    }
    found.sort();
    found
}

/// The errno of a rename by a guest.
fn guest_renames(at: &Path, from: &str, to: &str) -> i32 {
    let guest = format!(
        r#"(module
          (memory (export "memory") 1)
          (data (i32.const 0) "{from}")
          (data (i32.const 100) "{to}")
          (func (export "_start") (call $exit (call $path_rename (i32.const 3) (i32.const 0) (i32.const {})
            (i32.const 3) (i32.const 100) (i32.const {})))))"#,
        from.len(),
        to.len()
    );
    let mut config = workers(1);
    config.dirs.push(PreopenedDir { host: at.into(), guest: "data".into(), is_read_only: false });
    run(config, &guest).status
}

/// The errno of the system's rename, as a WASI number.
fn system_renames(at: &Path, from: &str, to: &str) -> i32 {
    // Joining keeps the trailing slash of the path.
    match fs::rename(at.join(from), at.join(to)).map_err(|error| error.raw_os_error().unwrap()) {
        Ok(()) => 0,
        Err(libc::ENOENT) => 44,
        Err(libc::ENOTDIR) => 54,
        Err(libc::ENOTEMPTY) => 55,
        Err(libc::EISDIR) => 31,
        Err(libc::EINVAL) => 28,
        Err(other) => panic!("{from} to {to}: {}", std::io::Error::from_raw_os_error(other)),
    }
}

#[test]
fn rename_treats_trailing_slashes_as_the_system_does() {
    let names = ["file", "other", "dir", "empty", "full", "to-dir", "to-file", "to-nothing", "missing"];
    let slashes = ["", "/"];
    let forms: Vec<String> =
        names.iter().flat_map(|name| slashes.map(|slashes| format!("{name}{slashes}"))).collect();
    for from in &forms {
        for to in
            forms.iter().map(String::as_str).chain(["new", "new/", "./new/", "missing/new/", "dir/new/"])
        {
            // Both do the same with names that have no trailing slash.
            if !from.ends_with('/') && !to.ends_with('/') {
                continue;
            }
            let (guests, systems) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            make(guests.path());
            make(systems.path());
            let (guest, system) =
                (guest_renames(guests.path(), from, to), system_renames(systems.path(), from, to));
            assert_eq!(guest, system, "{from} to {to}");
            assert_eq!(listing(guests.path()), listing(systems.path()), "{from} to {to}");
        }
    }
}
