//! Descriptors whose writes are redirected. They look to their process like a standard stream, or like a file that
//! contains only what the process has written.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lunatic_jit::HostCall;

use lunatic_core::process::{Envelope, Message, ProcessData, ProcessId, Reason};
use lunatic_host::capabilities::redirect::Sink;
use lunatic_host::memory::GuestMemory;
use lunatic_net::{Stream, TryIo};

use super::errno::Errno;
use super::poll::Standard;
use super::table::NONBLOCK;
use super::{Result, blocking, returned, until_ready};

/// A redirected descriptor. See the module documentation.
#[derive(Clone)]
pub(super) struct Redirected {
    pub(super) sink: Arc<Sink>,
    /// The stream that it looks like; `None` for a file.
    pub(super) stream: Option<Standard>,
    /// Bytes written.
    written: Arc<AtomicU64>,
}

impl Redirected {
    pub(super) fn new(sink: &Arc<Sink>, stream: Option<Standard>) -> Redirected {
        Redirected { sink: sink.clone(), stream, written: Arc::default() }
    }

    /// Returns the apparent size of the file, which is also its end.
    pub(super) fn size(&self) -> u64 {
        // Relaxed: one process writes and reads it.
        self.written.load(Ordering::Relaxed)
    }

    /// Writes all of the bytes.
    pub(super) fn write(
        self,
        memory: &mut GuestMemory<'_>,
        data: &mut ProcessData,
        content: Vec<u8>,
        flags: u16,
        result: u32,
    ) -> Result<HostCall<()>> {
        let count = content.len() as u32;
        match &*self.sink {
            Sink::Process(process, tag) => {
                let is_congested = send(data, *process, *tag, &content)?;
                self.wrote(count);
                memory.write_u32(result, count)?;
                if !is_congested {
                    return Ok(HostCall::Return(()));
                }
                // The receiver of the message runs first.
                data.wait_for(Reason::NextTurn(Box::new(|_, _| Ok(returned(0)))), None);
                Ok(HostCall::Suspend)
            }
            Sink::File(..) => {
                let sink = self.sink.clone();
                let job = move || match &*sink {
                    Sink::File(file, _) => (&*file).write_all(&content),
                    _ => Ok(()),
                };
                blocking(data, job, move |memory, _, ()| {
                    self.wrote(count);
                    Ok(memory.write_u32(result, count)?)
                })
            }
            Sink::Connection(connection) => {
                let source = connection.stream().source().clone();
                let mut is_taken = false;
                until_ready(memory, data, source, flags, move |memory, _| {
                    let Sink::Connection(connection) = &*self.sink else { return Ok(TryIo::Done(())) };
                    loop {
                        if !is_taken && connection.write(&content) {
                            is_taken = true;
                            self.wrote(count);
                            memory.write_u32(result, count)?;
                        }
                        match connection.flush()? {
                            // The connection accepts bytes again.
                            TryIo::Done(()) if !is_taken => {}
                            // The bytes were accepted, also for a guest that does not wait until they are sent.
                            TryIo::Blocked(_) if is_taken && flags & NONBLOCK != 0 => {
                                return Ok(TryIo::Done(()));
                            }
                            attempt => return Ok(attempt),
                        }
                    }
                })
            }
        }
    }

    fn wrote(&self, count: u32) {
        self.written.fetch_add(count.into(), Ordering::Relaxed);
    }
}

/// Sends what was written as a message, unless it is empty. Returns whether the receiver is congested. A receiver
/// that has ended is like a closed pipe.
/// gone is a reader that is gone.
fn send(data: &mut ProcessData, to: ProcessId, tag: i64, content: &[u8]) -> Result<bool> {
    if content.is_empty() {
        return Ok(false);
    }
    let mut envelope = Envelope::blank(tag, content.len());
    if let Message::Data(message) = envelope.message_mut() {
        message.write(content, 0);
    }
    data.send(to, envelope).map(|sent| sent.is_congested).map_err(|_| Errno::PIPE)
}
