//! What processes send each other.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::exit::Termination;
use super::free_list;
use super::id::ProcessId;
use super::signal::{Signal, SignalNode};
use lunatic_scheduler::Queued;

/// What an entry in a mailbox costs besides its bytes, counted against the owner's limit.
pub(super) const MESSAGE_OVERHEAD: usize = size_of::<Queued<Signal>>();

// What a short message costs, all included; `malloc` gives 112 bytes for it.
const _: () = assert!(MESSAGE_OVERHEAD <= 104);

/// Bytes that are part of the message itself; more are allocated. Most messages are a number or two.
const INLINE: usize = 48;

/// No tag: an untagged message, or any message where a pattern is asked for.
pub const NO_TAG: i64 = 0;

/// An entry of a mailbox.
pub enum Message {
    /// Sent by a process.
    Data(DataMessage),
    /// A linked process died, or someone sent an exit signal.
    LinkDied {
        /// The tag that the link was made with; none if there was no link.
        tag: i64,
        /// Whose end it was, and how it ended or wants the receiver to.
        death: Death,
    },
    /// A monitored process died.
    ProcessDied(Death),
}

/// What there is to know of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// Who ended, or sent an exit signal. [`ProcessId::NONE`] for the world outside.
    pub process: ProcessId,
    /// The monitor's reference; 0 for links.
    pub reference: u64,
    /// How.
    pub termination: Termination,
}

/// Bytes, and the resources that travel with them.
#[derive(Default)]
pub struct DataMessage {
    /// By which a receiver may ask for it; 0 for none.
    pub tag: i64,
    data: SmallVec<[u8; INLINE]>,
    read: usize,
    /// What travels with the bytes, known to whoever pushes and takes it and to no one in between. Most messages have
    /// none: their vector would be as large as the rest.
    #[allow(clippy::box_collection)] // One word instead of three in every message.
    resources: Option<Box<Vec<Option<Resource>>>>,
}

/// A message in its [`SignalNode`].
pub struct Envelope(SignalNode);

/// A resource on its way from one process to another.
pub(super) type Resource = Arc<dyn Any + Send + Sync>;

impl Envelope {
    /// A message to be written.
    pub fn blank(tag: i64, capacity: usize) -> Envelope {
        let Some(mut envelope) = free_list::take() else {
            return Envelope::new(Message::Data(DataMessage::new(tag, capacity)));
        };
        envelope.write_again(tag, capacity);
        envelope
    }

    /// Makes it a message to be written. Whether it could be: only data is.
    pub fn write_again(&mut self, tag: i64, capacity: usize) -> bool {
        let Message::Data(message) = self.message_mut() else { return false };
        message.reset(tag, capacity);
        true
    }

    /// Nobody wants it any more.
    pub fn discard(mut self) {
        let Message::Data(message) = self.message_mut() else { return };
        // What it carries goes now, not when it is written again.
        if message.data.spilled() || message.resources.is_some() {
            message.reset(NO_TAG, 0);
        }
        free_list::keep(self);
    }

    /// A message that nobody has sent.
    pub fn new(message: Message) -> Envelope {
        Envelope(Queued::new(Signal::Message(message)))
    }

    /// What has arrived as an envelope, if it is one.
    pub fn of(signal_node: SignalNode) -> Result<Envelope, SignalNode> {
        if matches!(signal_node.content, Signal::Message(_)) {
            Ok(Envelope(signal_node))
        } else {
            Err(signal_node)
        }
    }

    /// The message.
    pub fn message(&self) -> &Message {
        match &self.0.content {
            Signal::Message(message) => message,
            _ => unreachable!("both ways to make one see to it"),
        }
    }

    /// The message.
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
    /// The tag that a selective receive compares.
    pub fn tag(&self) -> i64 {
        match self {
            Message::Data(message) => message.tag,
            Message::LinkDied { tag, .. } => *tag,
            Message::ProcessDied(_) => NO_TAG,
        }
    }

    /// What the message counts against its receiver's limit.
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

/// For a trace: what it is, not what is in it.
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
    /// An empty message.
    pub fn new(tag: i64, capacity: usize) -> DataMessage {
        DataMessage { tag, data: SmallVec::with_capacity(capacity), ..DataMessage::default() }
    }

    /// Makes it a new message in the place of the old one.
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
        /// Bytes from which on no more than half as much again is reserved: unused room takes no memory, but moving the
        /// message takes time.
        const LARGE: usize = 1 << 20;
        let to_come = to_come as usize;
        if to_come > self.data.capacity() - self.data.len() && self.data.len() + to_come > LARGE {
            self.data.reserve_exact(to_come.max(self.data.len() / 2));
        }
        self.data.extend_from_slice(bytes);
    }

    /// Copies what comes next into the buffer; returns how much.
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        let rest = &self.data[self.read.min(self.data.len())..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        count
    }

    /// Where the next read begins; beyond the end it finds nothing.
    pub fn seek(&mut self, position: u64) {
        self.read = usize::try_from(position).unwrap_or(usize::MAX).min(self.data.len());
    }

    /// All of its bytes, wherever reading has come to.
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// How many resources it has or had.
    pub fn resources(&self) -> usize {
        self.resources.as_ref().map_or(0, |resources| resources.len())
    }

    /// Adds a resource; returns its index.
    pub fn push_resource(&mut self, resource: Resource) -> usize {
        let resources = self.resources.get_or_insert_default();
        resources.push(Some(resource));
        resources.len() - 1
    }

    /// Takes a resource of a type; another's stays where it is.
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
    fn a_resource_is_taken_once_and_only_as_what_it_is() {
        let mut message = DataMessage::new(0, 0);
        let index = message.push_resource(Arc::new(7u32)) as u64;
        assert!(message.take_resource::<u64>(index).is_none());
        assert_eq!(message.take_resource::<u32>(index).as_deref(), Some(&7));
        assert!(message.take_resource::<u32>(index).is_none());
        assert!(message.take_resource::<u32>(u64::MAX).is_none());
    }
}
