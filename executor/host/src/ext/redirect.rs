//! `lunatic::ext::redirect`: redirects what children write.
//!
//! A number and a path select what is redirected: 1 and 2 are standard output and standard error, whatever the path;
//! 0 is the file that a child opens by that path or by another name of the file. Links lead to it too, and the child
//! cannot rename it. The child does not notice: the file seems to contain only what the child has written, and its
//! size is the number of those bytes.
//!
//! All functions trap on an unknown configuration or number, and on more than 256 paths.

use std::io;
use std::sync::Arc;

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::OpenOptions;
use lunatic_jit::{HostCall, RawValue};

use crate::Capable;
use crate::HasSockets;
use crate::capabilities::redirect::{BYTES_OF_NAMES, Connection, Sink};
use crate::declare::{CALL, Host, func, limits};
use lunatic_core::Fault;
use lunatic_core::config::ProcessConfig;
use lunatic_core::process::CONFIGURATION;
use lunatic_core::process::ProcessId;
use lunatic_resources::sys::{self, files};

use crate::Guest;
use crate::charge_for_config;
use crate::lunatic::config::below;
use crate::memory::{GuestMemory, parts};
use crate::networking::{TCP_STREAM, failed};

const MODULE: &str = "lunatic::ext::redirect";

/// What is redirected.
const PATH: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

/// The result of [`to_file`] on success.
const DONE: u32 = 0;

pub(super) fn register(host: &mut Host) {
    func!(host, MODULE, "to_process", CALL.range(2, limits::PATH, "a path"), to_process);
    func!(host, MODULE, "to_tcp_stream", CALL.range(2, limits::PATH, "a path"), to_tcp_stream);
    func!(
        host,
        MODULE,
        "to_file",
        CALL.range(2, limits::PATH, "a path").range(4, limits::PATH, "a path").place(6, 8),
        to_file
    );
}

/// The stream or file to redirect.
struct What {
    number: u32,
    path: String,
}

impl What {
    fn new(memory: &GuestMemory<'_>, number: u32, path: u32, length: u32) -> Result<What, Fault> {
        let path = memory.str(path, length)?.to_owned();
        match number {
            PATH | STDOUT | STDERR => Ok(What { number, path }),
            other => Err(Fault::Unknown { kind: "thing to redirect", id: other.into() }),
        }
    }

    fn redirect(self, config: &mut ProcessConfig, sink: Sink) -> Result<(), Fault> {
        config.take_text(self.path.len())?;
        // Charges for the names of the path, and for the list to which the parent's redirections are copied.
        let paths = config.caps().redirects.as_ref().map_or(0, |redirects| redirects.paths());
        config.charge(BYTES_OF_NAMES + paths as u64 * 32)?;
        let sink = Arc::new(sink);
        let redirects = Arc::make_mut(config.caps_mut().redirects.get_or_insert_default());
        match self.number {
            STDOUT => redirects.stdout = Some(sink),
            STDERR => redirects.stderr = Some(sink),
            _ if redirects.add_path(&self.path, sink) => {}
            _ => return Err(Fault::TooMany("redirected paths")),
        }
        Ok(())
    }
}

/// Sends each write as a message with this tag to this process.
fn to_process(
    guest: &mut Guest<'_>,
    config: u64,
    what: u32,
    path: u32,
    length: u32,
    process: u64,
    tag: i64,
) -> Result<(), Fault> {
    charge_for_config(guest, config);
    let (memory, data) = parts(guest)?;
    let what = What::new(&memory, what, path, length)?;
    let sink = Sink::Process(ProcessId::from_guest(process), tag);
    what.redirect(data.config_mut(config)?, sink)
}

/// Sends each write over a connection of the caller, which keeps the connection.
fn to_tcp_stream(
    guest: &mut Guest<'_>,
    config: u64,
    what: u32,
    path: u32,
    length: u32,
    stream: u64,
) -> Result<(), Fault> {
    charge_for_config(guest, config);
    let (memory, data) = parts(guest)?;
    let what = What::new(&memory, what, path, length)?;
    let stream = (TCP_STREAM.table)(data.sockets()).get(TCP_STREAM.name, stream)?.clone();
    let kept = data.keep(0)?;
    what.redirect(data.config_mut(config)?, Sink::Connection(Connection::new(stream, kept)))
}

/// Appends each write to a file in a directory that the caller may change. The file is created if it does not exist.
/// Returns 0, or 1 and writes the identifier of an error.
#[allow(clippy::too_many_arguments)] // The ABI's.
fn to_file(
    guest: &mut Guest<'_>,
    config: u64,
    what: u32,
    path: u32,
    length: u32,
    file: u32,
    file_len: u32,
    place: u32,
) -> Result<HostCall<u32>, Fault> {
    let (memory, data) = parts(guest)?;
    let what = What::new(&memory, what, path, length)?;
    let file = memory.str(file, file_len)?;
    memory.check(place, 8)?;
    data.configs.get(CONFIGURATION, config)?;
    let found = below(&data.process.config().caps().dirs, file).filter(|(dir, _)| !dir.is_read_only);
    let counted = data.open()?;
    data.wait_for_job(move || {
        let opened =
            found.ok_or_else(|| io::Error::from(io::ErrorKind::PermissionDenied)).and_then(|(dir, rest)| {
                sys::check_next(&*dir.dir)?;
                let mut options = OpenOptions::new();
                options.write(true).create(true).follow(FollowSymlinks::Yes);
                files::never_waiting(&mut options, true, false);
                let file = dir.dir.open_with(rest, &options)?;
                sys::note(&file);
                if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
            });
        Box::new(move |memory, data| {
            let result = match opened {
                Ok(file) => {
                    what.redirect(data.config_mut(config)?, Sink::File(file, counted))?;
                    DONE
                }
                Err(error) => failed(&mut GuestMemory(memory), data, error, place)?,
            };
            Ok(HostCall::Return(RawValue::from(u64::from(result))))
        })
    });
    Ok(HostCall::Suspend)
}
