//! Output that cannot be written.

mod common;

use std::io::{ErrorKind, Write};

use common::{Captured, guest, workers};
use lunatic_executor::{Parts, Runtime};

/// A sink that accepts this number of bytes, and then fails.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.min(bytes.len()) {
            0 => Err(ErrorKind::StorageFull.into()),
            count => {
                self.0 -= count;
                Ok(count)
            }
        }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a guest whose standard output accepts `room` bytes. Returns its status and its standard error.
fn run(room: usize, body: &str) -> (i32, String) {
    let stderr = Captured::default();
    let parts = Parts { stdout: Box::new(Full(room)), stderr: Box::new(stderr.clone()), ..Parts::default() };
    let runtime = Runtime::with_parts(workers(1), parts).expect("a runtime");
    let program = runtime.load(&wat::parse_str(guest(body)).expect("text")).expect("a program");
    let status = runtime.run(&program).0;
    (status, stderr.text())
}

#[test]
fn output_lost_after_the_write_causes_a_message_and_status_1() {
    const HELLO: &str = r#"(data (i32.const 1024) "hello\n")
        (func (export "_start") (call $say (i32.const 1024) (i32.const 6)))"#;
    assert_eq!(run(6, HELLO), (0, String::new()));
    let (status, message) = run(2, HELLO);
    assert_eq!(status, 1, "{message}");
    assert!(
        message.starts_with("standard output: ") && message.ends_with("the last 4 bytes of it are lost\n")
    );
}

#[test]
fn a_program_that_fails_keeps_its_status_when_its_output_is_lost() {
    let (status, message) = run(
        0,
        r#"(func (export "_start") (call $say (i32.const 1024) (i32.const 6)) (call $exit (i32.const 7)))"#,
    );
    assert_eq!(status, 7, "{message}");
    assert!(message.ends_with("the last 6 bytes of it are lost\n"), "{message}");
}
