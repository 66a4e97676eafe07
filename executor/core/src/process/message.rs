//! Messages that processes send to each other.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::exit::Termination;
use super::free_list;
use super::id::ProcessId;
use super::signal::{Signal, SignalNode};
use lunatic_scheduler::Queued;

/// What a message costs besides its bytes, counted against the receiver's limit.
pub(super) const MESSAGE_OVERHEAD: usize = size_of::<Queued<Signal>>();

// What a short message costs in all; `malloc` allocates 112 bytes for it.
const _: () = assert!(MESSAGE_OVERHEAD <= 104);

/// Bytes that are stored in the message itself; longer messages allocate. Most messages are a number or two.
const INLINE: usize = 48;

/// The tag that means "no tag".
pub const NO_TAG: i64 = 0;

/// A message in a mailbox.
pub enum Message {
    /// A process has sent it.
    Data(DataMessage),
    /// A linked process died, or a process sent an exit signal.
    LinkDied {
        /// The tag of the link; 0 if there was no link.
        tag: i64,
        /// Which process ended, and how; or which process sent the exit signal, and its reason.
        death: Death,
    },
    /// A monitored process died.
    ProcessDied(Death),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// The process that ended or sent an exit signal. [`ProcessId::NONE`] stands for the world outside.
    pub process: ProcessId,
    /// The reference of the monitor; 0 for links.
    pub reference: u64,
    /// The way in which it ended.
    pub termination: Termination,
}

/// Bytes, and the resources that travel with them.
#[derive(Default)]
pub struct DataMessage {
    /// The tag by which a receiver may select the message; 0 for none.
    pub tag: i64,
    data: SmallVec<[u8; INLINE]>,
    read: usize,
    /// Resources that travel with the bytes. Only the sender and the receiver know their types. Most messages have
    /// none, and the vector would be as large as the rest of the message.
    #[allow(clippy::box_collection)] // One word instead of three in every message.
    resources: Option<Box<Vec<Option<Resource>>>>,
}

/// A message in its [`SignalNode`], as it is pushed to an inbox.
pub struct Envelope(SignalNode);

/// A resource on its way from one process to another.
pub(super) type Resource = Arc<dyn Any + Send + Sync>;

impl Envelope {
    /// Creates a message to be written, from the free list if there is one.
    pub fn blank(tag: i64, capacity: usize) -> Envelope {
        let Some(mut envelope) = free_list::take() else {
            return Envelope::new(Message::Data(DataMessage::new(tag, capacity)));
        };
        envelope.write_again(tag, capacity);
        envelope
    }

    /// Makes this envelope a message to be written. Returns whether that is possible: only data messages can be
    /// reused.
    pub fn write_again(&mut self, tag: i64, capacity: usize) -> bool {
        let Message::Data(message) = self.message_mut() else { return false };
        message.reset(tag, capacity);
        true
    }

    /// Puts the envelope into the free list.
    pub fn discard(mut self) {
        let Message::Data(message) = self.message_mut() else { return };
        // Resources and long bytes are freed now, not when the envelope is reused.
        if message.data.spilled() || message.resources.is_some() {
            message.reset(NO_TAG, 0);
        }
        free_list::keep(self);
    }

    /// Creates an envelope for a message.
    pub fn new(message: Message) -> Envelope {
        Envelope(Queued::new(Signal::Message(message)))
    }

    /// Converts a signal to an envelope, or returns it if it is no message.
    pub fn of(signal_node: SignalNode) -> Result<Envelope, SignalNode> {
        if matches!(signal_node.content, Signal::Message(_)) {
            Ok(Envelope(signal_node))
        } else {
            Err(signal_node)
        }
    }

    /// Returns the message.
    pub fn message(&self) -> &Message {
        match &self.0.content {
            Signal::Message(message) => message,
            _ => unreachable!("both ways to make one see to it"),
        }
    }

    /// Returns the message, to be changed.
    pub fn message_mut(&mut self) -> &mut Message {
        match &mut self.0.content {
            Signal::Message(message) => message,
            _ => unreachable!("both ways to make one see to it"),
        }
    }
}

impl From<Envelope> for SignalNode {
    fn from(envelope: Envelope) -> SignalNode {
        envelope.0
    }
}

impl Message {
    /// Returns the tag that a selective receive compares.
    pub fn tag(&self) -> i64 {
        match self {
            Message::Data(message) => message.tag,
            Message::LinkDied { tag, .. } => *tag,
            Message::ProcessDied(_) => NO_TAG,
        }
    }

    /// Returns what the message counts against its receiver's limit, in bytes.
    pub fn size(&self) -> usize {
        match self {
            Message::Data(message) => {
                let allocated = if message.data.spilled() { message.data.capacity() } else { 0 };
                let resources = message.resources.as_ref().map_or(0, |resources| resources.len());
                allocated + MESSAGE_OVERHEAD * (1 + resources)
            }
            _ => MESSAGE_OVERHEAD,
        }
    }
}

/// For a trace: names the message without its content.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Data(message) => {
                write!(f, "a message with the tag {} and {} bytes", message.tag, message.len())
            }
            _ => f.write_str("a message"),
        }
    }
}

impl DataMessage {
    /// Creates an empty message.
    pub fn new(tag: i64, capacity: usize) -> DataMessage {
        DataMessage { tag, data: SmallVec::with_capacity(capacity), ..DataMessage::default() }
    }

    /// Makes this an empty message again.
    pub fn reset(&mut self, tag: i64, capacity: usize) {
        if self.data.spilled() || capacity > INLINE {
            *self = DataMessage::new(tag, capacity);
            return;
        }
        (self.tag, self.read, self.resources) = (tag, 0, None);
        self.data.clear();
    }

    /// Appends bytes. `to_come` is the number of bytes that this write and the following ones will append.
    pub fn write(&mut self, bytes: &[u8], to_come: u32) {
        /// From this size on, at most half as much again is reserved: unused capacity takes no memory, but moving the
        /// message takes time.
        const LARGE: usize = 1 << 20;
        let to_come = to_come as usize;
        if to_come > self.data.capacity() - self.data.len() && self.data.len() + to_come > LARGE {
            self.data.reserve_exact(to_come.max(self.data.len() / 2));
        }
        self.data.extend_from_slice(bytes);
    }

    /// Copies the next bytes into the buffer. Returns their number.
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        let rest = &self.data[self.read.min(self.data.len())..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        count
    }

    /// Sets where the next read begins. Beyond the end, it reads nothing.
    pub fn seek(&mut self, position: u64) {
        self.read = usize::try_from(position).unwrap_or(usize::MAX).min(self.data.len());
    }

    /// Returns all of its bytes, independent of the read position.
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// Returns whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Returns how many resources it has or had.
    pub fn resources(&self) -> usize {
        self.resources.as_ref().map_or(0, |resources| resources.len())
    }

    /// Adds a resource. Returns its index.
    pub fn push_resource(&mut self, resource: Resource) -> usize {
        let resources = self.resources.get_or_insert_default();
        resources.push(Some(resource));
        resources.len() - 1
    }

    /// Takes a resource of this type. A resource of another type stays in place.
    pub fn take_resource<T: Any + Send + Sync>(&mut self, index: u64) -> Option<Arc<T>> {
        let slot = self.resources.as_mut()?.get_mut(usize::try_from(index).ok()?)?;
        let resource = slot.take()?;
        match resource.downcast() {
            Ok(resource) => Some(resource),
            Err(resource) => {
                *slot = Some(resource);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_goes_on_where_it_stopped() {
        let mut message = DataMessage::new(1, 0);
        message.write(b"hello ", 0);
        message.write(b"world", 0);
        let mut buffer = [0; 8];
        assert_eq!(message.read(&mut buffer), 8);
        assert_eq!(message.read(&mut buffer), 3);
        assert_eq!(message.read(&mut buffer), 0);
        message.seek(u64::MAX);
        assert_eq!(message.read(&mut buffer), 0);
        message.seek(6);
        assert_eq!((message.read(&mut buffer), &buffer[..5]), (5, &b"world"[..]));
    }

    #[test]
    fn a_message_that_begins_anew_has_nothing_of_the_old_one() {
        for (size, capacity) in [(3, 0), (3, INLINE + 1), (INLINE + 1, 0)] {
            let mut message = DataMessage::new(1, 0);
            message.write(&vec![7; size], 0);
            message.push_resource(Arc::new(7u32));
            assert_eq!(message.read(&mut [0; 2]), 2);
            message.reset(2, capacity);
            message.write(b"new", 0);
            let mut buffer = [0; 8];
            assert_eq!((message.read(&mut buffer), &buffer[..3], message.tag), (3, &b"new"[..], 2));
            assert!(message.take_resource::<u32>(0).is_none());
        }
    }

    #[test]
    fn a_resource_is_taken_once_and_only_as_its_own_kind() {
        let mut message = DataMessage::new(0, 0);
        let index = message.push_resource(Arc::new(7u32)) as u64;
        assert!(message.take_resource::<u64>(index).is_none());
        assert_eq!(message.take_resource::<u32>(index).as_deref(), Some(&7));
        assert!(message.take_resource::<u32>(index).is_none());
        assert!(message.take_resource::<u32>(u64::MAX).is_none());
    }
}
