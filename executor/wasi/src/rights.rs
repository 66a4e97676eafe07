//! Rights: what may be done with a descriptor, and with descriptors that are opened below it.
//!
//! A descriptor has two sets: its own rights (*base*), and those for what is opened below it (*inheriting*). Both
//! only shrink: a guest can give rights up and never regains them. `:ro` is implemented by rights, too: the directory
//! lacks all rights that change anything.
//!
//! An opened object gets those of the requested rights that its directory passes on and that make sense for its kind.
//! A request to read or write without the right is refused. Other rights are left out silently, because guests
//! request all rights that they know.

use std::ops::{BitAnd, BitOr};

use super::Result;
use super::errno::Errno;

/// A set of rights, with the bit numbers of witx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights(pub(super) u64);

/// The two sets of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) base: Rights,
    pub(super) inheriting: Rights,
}

const fn bit(number: u32) -> Rights {
    Rights(1 << number)
}

impl Rights {
    pub(super) const NONE: Rights = Rights(0);
    pub(super) const FD_DATASYNC: Rights = bit(0);
    pub(super) const FD_READ: Rights = bit(1);
    pub(super) const FD_SEEK: Rights = bit(2);
    pub(super) const FD_FDSTAT_SET_FLAGS: Rights = bit(3);
    pub(super) const FD_SYNC: Rights = bit(4);
    pub(super) const FD_TELL: Rights = bit(5);
    pub(super) const FD_WRITE: Rights = bit(6);
    pub(super) const FD_ADVISE: Rights = bit(7);
    pub(super) const FD_ALLOCATE: Rights = bit(8);
    pub(super) const PATH_CREATE_DIRECTORY: Rights = bit(9);
    pub(super) const PATH_CREATE_FILE: Rights = bit(10);
    pub(super) const PATH_LINK_SOURCE: Rights = bit(11);
    pub(super) const PATH_LINK_TARGET: Rights = bit(12);
    pub(super) const PATH_OPEN: Rights = bit(13);
    pub(super) const FD_READDIR: Rights = bit(14);
    pub(super) const PATH_READLINK: Rights = bit(15);
    pub(super) const PATH_RENAME_SOURCE: Rights = bit(16);
    pub(super) const PATH_RENAME_TARGET: Rights = bit(17);
    pub(super) const PATH_FILESTAT_GET: Rights = bit(18);
    pub(super) const PATH_FILESTAT_SET_SIZE: Rights = bit(19);
    pub(super) const PATH_FILESTAT_SET_TIMES: Rights = bit(20);
    pub(super) const FD_FILESTAT_GET: Rights = bit(21);
    pub(super) const FD_FILESTAT_SET_SIZE: Rights = bit(22);
    pub(super) const FD_FILESTAT_SET_TIMES: Rights = bit(23);
    pub(super) const PATH_SYMLINK: Rights = bit(24);
    pub(super) const PATH_REMOVE_DIRECTORY: Rights = bit(25);
    pub(super) const PATH_UNLINK_FILE: Rights = bit(26);
    pub(super) const POLL_FD_READWRITE: Rights = bit(27);
    pub(super) const SOCK_SHUTDOWN: Rights = bit(28);
    pub(super) const SOCK_ACCEPT: Rights = bit(29);

    /// Rights of a seekable file.
    pub(super) const FILE: Rights = all(&[
        Rights::FD_DATASYNC,
        Rights::FD_READ,
        Rights::FD_SEEK,
        Rights::FD_FDSTAT_SET_FLAGS,
        Rights::FD_SYNC,
        Rights::FD_TELL,
        Rights::FD_WRITE,
        Rights::FD_ADVISE,
        Rights::FD_ALLOCATE,
        Rights::FD_FILESTAT_GET,
        Rights::FD_FILESTAT_SET_SIZE,
        Rights::FD_FILESTAT_SET_TIMES,
        Rights::POLL_FD_READWRITE,
    ]);

    /// Rights of a directory.
    pub(super) const DIRECTORY: Rights = all(&[
        Rights::FD_DATASYNC,
        Rights::FD_FDSTAT_SET_FLAGS,
        Rights::FD_SYNC,
        Rights::PATH_CREATE_DIRECTORY,
        Rights::PATH_CREATE_FILE,
        Rights::PATH_LINK_SOURCE,
        Rights::PATH_LINK_TARGET,
        Rights::PATH_OPEN,
        Rights::FD_READDIR,
        Rights::PATH_READLINK,
        Rights::PATH_RENAME_SOURCE,
        Rights::PATH_RENAME_TARGET,
        Rights::PATH_FILESTAT_GET,
        Rights::PATH_FILESTAT_SET_SIZE,
        Rights::PATH_FILESTAT_SET_TIMES,
        Rights::FD_FILESTAT_GET,
        Rights::FD_FILESTAT_SET_TIMES,
        Rights::PATH_SYMLINK,
        Rights::PATH_REMOVE_DIRECTORY,
        Rights::PATH_UNLINK_FILE,
        Rights::POLL_FD_READWRITE,
    ]);

    /// Rights of streams: pipes, terminals, the standard streams. Guests take a descriptor that has the rights to
    /// seek or tell for a file.
    pub(super) const STREAM: Rights = all(&[
        Rights::FD_READ,
        Rights::FD_WRITE,
        Rights::FD_FDSTAT_SET_FLAGS,
        Rights::FD_FILESTAT_GET,
        Rights::POLL_FD_READWRITE,
    ]);

    /// Rights of a connection.
    pub(super) const CONNECTION: Rights = all(&[Rights::STREAM, Rights::SOCK_SHUTDOWN]);

    /// Rights of a listener.
    pub(super) const LISTENER: Rights = all(&[
        Rights::FD_FDSTAT_SET_FLAGS,
        Rights::FD_FILESTAT_GET,
        Rights::POLL_FD_READWRITE,
        Rights::SOCK_ACCEPT,
    ]);

    /// Rights that change nothing. The right to link is missing, because a link in another directory could make the
    /// file writable.
    pub(super) const READING: Rights = Rights(
        !all(&[
            Rights::FD_WRITE,
            Rights::FD_ALLOCATE,
            Rights::PATH_CREATE_DIRECTORY,
            Rights::PATH_CREATE_FILE,
            Rights::PATH_LINK_SOURCE,
            Rights::PATH_LINK_TARGET,
            Rights::PATH_RENAME_SOURCE,
            Rights::PATH_RENAME_TARGET,
            Rights::PATH_FILESTAT_SET_SIZE,
            Rights::PATH_FILESTAT_SET_TIMES,
            Rights::FD_FILESTAT_SET_SIZE,
            Rights::FD_FILESTAT_SET_TIMES,
            Rights::PATH_SYMLINK,
            Rights::PATH_REMOVE_DIRECTORY,
            Rights::PATH_UNLINK_FILE,
        ])
        .0,
    );

    /// Returns whether the set contains all of `other`.
    pub(super) fn contains(self, other: Rights) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns an error unless the set contains all of `needed`. Without the right to read or write, the errno is
    /// that of a descriptor that was opened for something else.
    pub(super) fn check(self, needed: Rights) -> Result<()> {
        if self.contains(needed) {
            return Ok(());
        }
        let missing = needed.0 & !self.0;
        let is_mode = missing & (Rights::FD_READ | Rights::FD_WRITE).0 != 0;
        Err(if is_mode { Errno::BADF } else { Errno::NOTCAPABLE })
    }
}

/// Returns the union of two sets. A function of its own, because constants cannot use operators.
const fn all(rights: &[Rights]) -> Rights {
    let (mut union, mut index) = (0, 0);
    while index < rights.len() {
        union |= rights[index].0;
        index += 1;
    }
    Rights(union)
}

impl BitAnd for Rights {
    type Output = Rights;
    fn bitand(self, other: Rights) -> Rights {
        Rights(self.0 & other.0)
    }
}

impl BitOr for Rights {
    type Output = Rights;
    fn bitor(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }
}

impl Granted {
    /// Returns the sets of an object below which nothing is opened.
    pub(super) const fn only(base: Rights) -> Granted {
        Granted { base, inheriting: Rights::NONE }
    }

    /// Returns the sets of a preopened directory.
    pub(super) fn of_preopen(is_read_only: bool) -> Granted {
        let whole = Granted {
            base: Rights::DIRECTORY,
            inheriting: Rights::DIRECTORY | Rights::FILE | Rights::STREAM,
        };
        if is_read_only {
            Granted { base: whole.base & Rights::READING, inheriting: whole.inheriting & Rights::READING }
        } else {
            whole
        }
    }

    /// Returns the sets of an object of this kind that is opened below this directory.
    ///
    /// A request for a directory that passes on the right to open, but neither the right to read nor the right to
    /// write, stands for a directory like this one: Zig makes such a request for every directory, and reads and
    /// writes below it. `fd_fdstat_set_rights` can still remove everything that a directory passes on.
    pub(super) fn below(self, asked: Granted, kind: Rights) -> Granted {
        let opens = asked.inheriting.contains(Rights::PATH_OPEN);
        let moves = asked.inheriting & (Rights::FD_READ | Rights::FD_WRITE) != Rights::NONE;
        let inheriting = if opens && !moves { self.inheriting } else { asked.inheriting & self.inheriting };
        Granted { base: asked.base & self.inheriting & kind, inheriting }
    }

    /// Removes the rights that are not in `to`.
    ///
    /// # Errors
    /// Returns `NOTCAPABLE` if `to` contains more rights than this.
    pub(super) fn narrow(&mut self, to: Granted) -> Result<()> {
        if !self.base.contains(to.base) || !self.inheriting.contains(to.inheriting) {
            return Err(Errno::NOTCAPABLE);
        }
        *self = to;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn opened_files_have_at_most_the_inheriting_rights(
            parent in any::<(u64, u64)>(), asked in any::<(u64, u64)>(), kind in any::<u64>(),
        ) {
            let granted = |(base, inheriting)| Granted { base: Rights(base), inheriting: Rights(inheriting) };
            let parent = granted(parent);
            let child = parent.below(granted(asked), Rights(kind));
            prop_assert!(parent.inheriting.contains(child.base) && Rights(kind).contains(child.base));
            prop_assert!(parent.inheriting.contains(child.inheriting));
        }

        #[test]
        fn narrowing_never_widens(from in any::<(u64, u64)>(), to in any::<(u64, u64)>()) {
            let granted = |(base, inheriting)| Granted { base: Rights(base), inheriting: Rights(inheriting) };
            let (before, mut after) = (granted(from), granted(from));
            let narrowed = after.narrow(granted(to));
            prop_assert!(before.base.contains(after.base) && before.inheriting.contains(after.inheriting));
            prop_assert_eq!(narrowed.is_ok(), after == granted(to));
        }
    }

    #[test]
    fn directories_pass_on_the_requested_useful_rights() {
        let whole = Granted::of_preopen(false);
        let ask = |inheriting| {
            whole.below(Granted { base: Rights::NONE, inheriting }, Rights::DIRECTORY).inheriting
        };
        assert_eq!(ask(Rights::NONE), Rights::NONE);
        assert_eq!(ask(Rights::FD_READ | Rights::PATH_OPEN), Rights::FD_READ | Rights::PATH_OPEN);
        assert_eq!(ask(Rights::DIRECTORY), whole.inheriting);
    }

    #[test]
    fn a_directory_that_is_only_read_passes_nothing_on_that_writes() {
        let granted = Granted::of_preopen(true);
        for right in [Rights::FD_WRITE, Rights::PATH_CREATE_FILE, Rights::PATH_LINK_SOURCE] {
            assert!(!(granted.base | granted.inheriting).contains(right), "{right:?}");
        }
        assert!(granted.base.contains(Rights::PATH_OPEN | Rights::FD_READDIR));
        assert_eq!(granted.base.check(Rights::PATH_UNLINK_FILE), Err(Errno::NOTCAPABLE));
        assert_eq!(granted.inheriting.check(Rights::FD_WRITE), Err(Errno::BADF));
    }
}
