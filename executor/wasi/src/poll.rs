//! `poll_oneoff`: waiting for the first of several events.
//!
//! A subscription has 48 bytes: user data (8), tag (1, at 8); then for a clock: its number (4, at 16), timeout (8, at
//! 24), precision (8), flags (2, at 40); for a descriptor: its number (4, at 16). The first version of WASI has 56
//! bytes, with another number (8, at 16) before a clock. An event has 32 bytes: user data (8), errno (2, at 8), type
//! (1, at 10); then for a descriptor: bytes (8, at 16), flags (2, at 24).
//!
//! A call reports all events that are ready at that time. Files always are. The number of bytes is exact for standard
//! input; for others it says that there is one byte, or the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lunatic_jit::HostCall;

use crate::table::FdTable;
use lunatic_core::process::{Finish, ProcessData, Reason, Signal};
use lunatic_host::capabilities::redirect::Sink;
use lunatic_host::declare::{Host, LOOK, func};
use lunatic_host::memory::GuestMemory;
use lunatic_host::net;
use lunatic_host::{CALL, Guest};
use lunatic_net::{Direction, Source, Stream};

use super::clock::{MONOTONIC, now};
use super::errno::Errno;
use super::rights::Rights;
use super::table::Fd;
use super::{Result, Version, finished, suspend};

const EVENT: u32 = 32;

/// Subscriptions in one call.
const MAX_SUBSCRIPTIONS: u32 = 4096;

const TAG_CLOCK: u8 = 0;
const TAG_READ: u8 = 1;
const TAG_WRITE: u8 = 2;

/// The flag by which a timeout is a time of the clock instead of a duration.
const ABSOLUTE: u16 = 1;

pub(super) fn register(host: &mut Host, version: Version) {
    func!(
        host,
        version.module(),
        "poll_oneoff",
        LOOK,
        move |guest: &mut Guest<'_>, subscriptions: u32, events: u32, count: u32, result: u32| {
            // Each subscription is checked, which costs as much as a call.
            guest.charge(CALL * u64::from(count.min(MAX_SUBSCRIPTIONS)));
            suspend(guest, |memory, data| {
                let polling = Polling::new(memory, data, version, (subscriptions, count), events, result)?;
                polling.look(memory, data)
            })
        }
    );
}

/// An event in the form in which it is written.
struct Event {
    user_data: [u8; 8],
    errno: u32,
    tag: u8,
    bytes: u64,
}

/// A subscription to a clock.
struct Alarm {
    user_data: [u8; 8],
    deadline: u64,
}

/// A subscription to a descriptor.
struct Wanted {
    user_data: [u8; 8],
    tag: u8,
    fd: Result<Fd>,
}

/// A call in progress.
struct Polling {
    alarms: Vec<Alarm>,
    wanted: Vec<Wanted>,
    /// Errors of single subscriptions to clocks.
    errors: Vec<Event>,
    events: u32,
    result: u32,
}

impl Polling {
    fn new(
        memory: &GuestMemory<'_>,
        data: &mut ProcessData,
        version: Version,
        (subscriptions, count): (u32, u32),
        events: u32,
        result: u32,
    ) -> Result<Polling> {
        if count == 0 || count > MAX_SUBSCRIPTIONS {
            return Err(Errno::INVAL);
        }
        let size = version.subscription();
        memory.array(subscriptions, count, size)?;
        memory.array(events, count, EVENT)?;
        memory.check(result, 4)?;
        let (alarms, wanted, errors) = (Vec::new(), Vec::new(), Vec::new());
        let mut polling = Polling { alarms, wanted, errors, events, result };
        for index in 0..count {
            let at = subscriptions + index * size;
            let user_data = memory.read(at)?;
            let [tag] = memory.read(at + 8)?;
            match tag {
                TAG_CLOCK => match deadline(memory, data, at + version.clock()) {
                    Ok(deadline) => polling.alarms.push(Alarm { user_data, deadline }),
                    Err(errno) => {
                        polling.errors.push(Event { user_data, errno: errno.number(), tag, bytes: 0 });
                    }
                },
                TAG_READ | TAG_WRITE => {
                    let fd = descriptor(data, memory.read_u32(at + 16)?, tag);
                    polling.wanted.push(Wanted { user_data, tag, fd });
                }
                _ => return Err(Errno::INVAL),
            }
        }
        Ok(polling)
    }

    /// Reports what is ready. Waits if nothing is.
    fn look(mut self, memory: &mut GuestMemory<'_>, data: &mut ProcessData) -> Result<HostCall<()>> {
        let mut ready = std::mem::take(&mut self.errors);
        ready.extend(self.wanted.iter().filter_map(|wanted| wanted.event(data)));
        let now = data.node().clock.now();
        let due = self.alarms.iter().filter(|alarm| alarm.deadline <= now);
        ready.extend(due.map(|alarm| Event {
            user_data: alarm.user_data,
            errno: 0,
            tag: TAG_CLOCK,
            bytes: 0,
        }));
        if !ready.is_empty() {
            write(memory, &ready, self.events, self.result)?;
            return Ok(HostCall::Return(()));
        }
        self.wait(data);
        Ok(HostCall::Suspend)
    }

    /// Waits until one of the subscriptions may be ready, and checks again.
    fn wait(self, data: &mut ProcessData) {
        let first = self.alarms.iter().map(|alarm| alarm.deadline).min();
        let waited: Vec<_> = self.wanted.iter().filter_map(|wanted| wanted.waited(data)).collect();
        let again: Finish = Box::new(move |memory, data| finished(self.look(&mut GuestMemory(memory), data)));
        if waited.is_empty() {
            data.wait_for(Reason::Time(again), first);
            return;
        }
        let number = data.wait_for(Reason::Readiness(again), first);
        for waited in waited {
            match waited {
                Waited::Source(source, direction) => {
                    data.also_wait_for(|waiter| source.wait(direction, waiter), number)
                }
                Waited::Standard(stream) => watch(data, stream, Some(number)),
            }
        }
    }
}

/// What reports that a descriptor may be ready.
enum Waited {
    Source(Arc<Source>, Direction),
    Standard(Standard),
}

impl Wanted {
    /// What a descriptor has to report.
    fn event(&self, data: &ProcessData) -> Option<Event> {
        let ready = self.fd.as_ref().map_err(|errno| *errno).and_then(|fd| self.is_ready(fd, data));
        let (errno, bytes) = match ready {
            Ok(bytes) => (0, bytes?),
            Err(errno) => (errno.number(), 0),
        };
        Some(Event { user_data: self.user_data, errno, tag: self.tag, bytes })
    }

    /// Returns how many bytes there are, or how much space; `None` if the process has to wait.
    fn is_ready(&self, fd: &Fd, data: &ProcessData) -> Result<Option<u64>> {
        let node = data.node();
        let some = |is_ready: bool| is_ready.then_some(1);
        Ok(match fd {
            Fd::Stdin => node.stdin.available().map(|bytes| bytes as u64),
            Fd::Stdout => some(node.stdout.has_room()),
            Fd::Stderr => some(node.stderr.has_room()),
            Fd::File(_) | Fd::Dir(_) => some(true),
            // Nothing can be read, which is reported at once.
            Fd::Redirected(_) if self.tag == TAG_READ => some(true),
            Fd::Redirected(to) => match &*to.sink {
                Sink::Connection(connection) => some(connection.stream().is_ready(Direction::Write)?),
                Sink::File(..) | Sink::Process(..) => some(true),
            },
            Fd::Pipe(pipe) => some(pipe.is_ready(self.direction())?),
            Fd::Connection(stream) => some(stream.is_ready(self.direction())?),
            Fd::Listener(listener) => some(listener.get(net(node))?.is_ready()?),
        })
    }

    fn waited(&self, data: &ProcessData) -> Option<Waited> {
        let source = |source: &Arc<Source>| Waited::Source(source.clone(), self.direction());
        Some(match self.fd.as_ref().ok()? {
            Fd::Stdin => Waited::Standard(Standard::Input),
            Fd::Stdout => Waited::Standard(Standard::Output),
            Fd::Stderr => Waited::Standard(Standard::Error),
            Fd::Pipe(pipe) => source(pipe.source()),
            Fd::Connection(stream) => source(stream.source()),
            // The check has registered the stream already.
            Fd::Listener(listener) => source(listener.get(net(data.node())).ok()?.source()),
            Fd::Redirected(to) => match &*to.sink {
                Sink::Connection(connection) => source(connection.stream().source()),
                Sink::File(..) | Sink::Process(..) => return None,
            },
            Fd::File(_) | Fd::Dir(_) => return None,
        })
    }

    fn direction(&self) -> Direction {
        if self.tag == TAG_READ { Direction::Read } else { Direction::Write }
    }
}

/// A descriptor that can be waited for.
fn descriptor(data: &mut ProcessData, fd: u32, tag: u8) -> Result<Fd> {
    let entry = FdTable::of(data).entry(fd)?;
    let direction = match (&entry.fd, tag) {
        (Fd::Listener(_), TAG_READ) => Rights::SOCK_ACCEPT,
        (_, TAG_READ) => Rights::FD_READ,
        _ => Rights::FD_WRITE,
    };
    // A directory can be neither read nor written, so waiting for it is an error.
    if !matches!(entry.fd, Fd::Dir(_)) {
        entry.rights.base.check(direction)?;
    }
    entry.rights.base.check(Rights::POLL_FD_READWRITE)?;
    Ok(entry.fd.clone())
}

/// Returns when a subscription to a clock is due, on the node's clock.
fn deadline(memory: &GuestMemory<'_>, data: &ProcessData, at: u32) -> Result<u64> {
    let clock = memory.read_u32(at)?;
    let timeout = memory.read_u64(at + 8)?;
    let flags = u16::from_le_bytes(memory.read(at + 24)?);
    if flags & !ABSOLUTE != 0 {
        return Err(Errno::INVAL);
    }
    let reading = now(data, clock)?;
    let left = if flags & ABSOLUTE != 0 { timeout.saturating_sub(reading) } else { timeout };
    Ok(now(data, MONOTONIC)?.saturating_add(left))
}

fn write(memory: &mut GuestMemory<'_>, ready: &[Event], events: u32, result: u32) -> Result<()> {
    for (index, event) in ready.iter().enumerate() {
        let mut bytes = [0; EVENT as usize];
        bytes[..8].copy_from_slice(&event.user_data);
        bytes[8..10].copy_from_slice(&(event.errno as u16).to_le_bytes());
        bytes[10] = event.tag;
        bytes[16..24].copy_from_slice(&event.bytes.to_le_bytes());
        memory.write(events + index as u32 * EVENT, &bytes)?;
    }
    memory.write_u32(result, ready.len() as u32)?;
    Ok(())
}

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standard {
    Input,
    Output,
    Error,
}

/// Whether a standard stream was asked to report to the process that it is ready, and for which wait. This is kept
/// from call to call: a silent stream is asked once, however often the process polls.
#[derive(Default)]
pub(super) struct Watch {
    wait: AtomicU64,
    is_set: AtomicBool,
}

/// The waits of a process start with 1, so 0 stands for none.
const NO_WAIT: u64 = 0;

/// Asks a standard stream to report to the process, if there is a wait. In any case, tells the stream that its input
/// is wanted.
pub(super) fn watch(data: &mut ProcessData, stream: Standard, wait: Option<u64>) {
    let watch = FdTable::of(data).watch(stream);
    // SeqCst, all four operations: either the answer of the stream below has removed the mark when it is read here,
    // or the answer reads this number.
    watch.wait.store(wait.unwrap_or(NO_WAIT), Ordering::SeqCst);
    if watch.is_set.swap(true, Ordering::SeqCst) {
        return;
    }
    // The identifier and not the process, which the stream would otherwise keep alive for long after its end.
    let (node, id) = (data.node().clone(), data.id());
    let sender = node.clone();
    // The process owns this and drops it when it ends.
    let owner = Arc::downgrade(&watch);
    let told = owner.clone();
    let tell = Box::new(move || {
        let Some(watch) = told.upgrade() else { return };
        watch.is_set.store(false, Ordering::SeqCst);
        let wait = watch.wait.load(Ordering::SeqCst);
        // A process that has ended needs no notification.
        let _ = sender.send(id, Signal::Ready { wait });
    });
    match stream {
        Standard::Input => node.stdin.when_ready(owner, tell),
        Standard::Output => node.stdout.when_room(owner, tell),
        Standard::Error => node.stderr.when_room(owner, tell),
    }
}

impl Version {
    /// Bytes of a subscription.
    fn subscription(self) -> u32 {
        match self {
            Version::Unstable => 56,
            Version::Preview1 => 48,
        }
    }

    /// The position of the clock in a subscription.
    fn clock(self) -> u32 {
        match self {
            Version::Unstable => 24,
            Version::Preview1 => 16,
        }
    }
}
