//! A running guest with which a test exchanges lines.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::commands::{PATIENCE, command};

/// A running guest.
pub struct Talking {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Talking {
    /// Starts a module.
    ///
    /// # Panics
    /// If the command cannot be started.
    pub fn start(options: &[&str], module: &Path, args: &[&str]) -> Talking {
        let exec = command("lunatic-exec");
        let mut limited = Command::new("timeout");
        limited.env_remove("HOME").env_remove("XDG_CACHE_HOME");
        limited.arg(PATIENCE).arg(exec.get_program()).args(options).arg(module).args(args);
        limited.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = limited.spawn().expect("it runs");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Talking { child, lines }
    }

    /// Waits for a line on its standard output.
    ///
    /// # Panics
    /// If another line arrives. The panic message has the guest's standard error.
    pub fn expect(&mut self, line: &str) {
        let mut next = String::new();
        self.lines.read_line(&mut next).expect("it is text");
        if next.trim_end() != line {
            let _ = self.child.kill();
            let mut complaint = String::new();
            if let Some(stderr) = &mut self.child.stderr {
                stderr.read_to_string(&mut complaint).expect("it is text");
            }
            panic!("{next:?} instead of {line:?}: {complaint}");
        }
    }

    /// Takes the guest's standard input.
    ///
    /// # Panics
    /// If it was taken before.
    pub fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("it is taken once")
    }

    /// Reads the address at which the command listens, which it prints first. Can be called once.
    ///
    /// # Panics
    /// If the command prints something else.
    pub fn address(&mut self) -> String {
        let mut complaints = BufReader::new(self.child.stderr.take().expect("it is piped"));
        let mut line = String::new();
        complaints.read_line(&mut line).expect("it is text");
        self.child.stderr = Some(complaints.into_inner());
        let address = line.trim_end().strip_prefix("lunatic-exec: listening at ");
        address.unwrap_or_else(|| panic!("it does not say where: {line}")).to_owned()
    }

    /// Connects to the address at which the command listens. Can be called once.
    ///
    /// # Panics
    /// As [`Talking::address`], and if the connection fails.
    pub fn connect(&mut self) -> TcpStream {
        TcpStream::connect(self.address()).expect("it listens")
    }

    /// Waits for the guest's end. Returns its status.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn end(mut self) -> Option<i32> {
        self.child.wait().expect("it was started").code()
    }
}
