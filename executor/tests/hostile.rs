//! Guests of ill will, and what they find: nothing that the node holds for them grows without limit, and none of its
//! threads waits for them for ever.

mod common;

use std::time::Duration;

use common::{start, workers};
use lunatic_executor::{PreopenedDir, RuntimeConfig};

/// Longer than what is tested takes on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// A guest with imports of WASI besides those of this list.
fn wasi(imports: &[(&str, &str)], body: &str) -> String {
    let imports: String = imports
        .iter()
        .map(|(name, kind)| {
            format!(
                r#"(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {kind}) (result i32)))"#
            )
        })
        .collect();
    common::guest(body).replacen("(module", &format!("(module {imports}"), 1)
}

/// A named pipe that nobody reads cannot be opened to be written without waiting, and nobody has to open what only gets
/// another time.
#[cfg(unix)]
#[test]
fn times_of_a_named_pipe_are_set_without_waiting_for_its_other_end() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let dir = PreopenedDir { host: directory.path().into(), guest: "data".into(), is_read_only: false };
    let config = RuntimeConfig { dirs: vec![dir], ..workers(1) };
    let running = start(
        config,
        &wasi(
            &[("path_filestat_set_times", "i32 i32 i32 i32 i64 i64 i32")],
            r#"(data (i32.const 1024) "fifo")
               (func (export "_start")
                 (call $exit (call $path_filestat_set_times (i32.const 3) (i32.const 1) (i32.const 1024)
                   (i32.const 4) (i64.const 0) (i64.const 5000000000) (i32.const 4))))"#,
        ),
    );
    assert_eq!(running.ended.recv_timeout(SOON), Ok(0));
    let modified = std::fs::metadata(&fifo).unwrap().modified().unwrap();
    assert_eq!(modified.duration_since(std::time::UNIX_EPOCH).unwrap(), Duration::from_secs(5));
}
