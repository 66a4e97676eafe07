//! Rights: what may be done with a descriptor, and with those that are opened below it.
//!
//! A descriptor has two sets, of its own (*base*) and for what is opened below it (*inheriting*). Both only narrow: a
//! guest can give rights up, and gets none back. `:ro` is rights, too: a directory without those that change anything.
//!
//! What is opened gets of what was asked for that which its directory passes on and that makes sense for its kind. Who asks
//! to read or write, and may not, is refused; the rest is left out without a word, as guests ask for all they know of.

use std::ops::{BitAnd, BitOr};

use super::Result;
use super::errno::Errno;

/// A set of rights, by the bits of witx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights(pub(super) u64);

/// A descriptor's two sets.
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

    /// What a file that can be sought in may have.
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

    /// What a directory may have.
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

    /// What streams may have that cannot be sought in: pipes, terminals, the standard streams. A guest takes one that may
    /// seek or tell for a file.
    pub(super) const STREAM: Rights = all(&[
        Rights::FD_READ,
        Rights::FD_WRITE,
        Rights::FD_FDSTAT_SET_FLAGS,
        Rights::FD_FILESTAT_GET,
        Rights::POLL_FD_READWRITE,
    ]);

    /// What a connection may have.
    pub(super) const CONNECTION: Rights = all(&[Rights::STREAM, Rights::SOCK_SHUTDOWN]);

    /// What a listener may have.
    pub(super) const LISTENER: Rights = all(&[
        Rights::FD_FDSTAT_SET_FLAGS,
        Rights::FD_FILESTAT_GET,
        Rights::POLL_FD_READWRITE,
        Rights::SOCK_ACCEPT,
    ]);

    /// What changes nothing. A link to a file from another directory could be written to there.
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

    /// Whether all of `other` are in it.
    pub(super) fn contains(self, other: Rights) -> bool {
        self.0 & other.0 == other.0
    }

    /// Refuses unless all of `needed` are in it. Who may not read or write is told what others tell of a descriptor that
    /// was opened for something else.
    pub(super) fn check(self, needed: Rights) -> Result<()> {
        if self.contains(needed) {
            return Ok(());
        }
        let missing = needed.0 & !self.0;
        let is_mode = missing & (Rights::FD_READ | Rights::FD_WRITE).0 != 0;
        Err(if is_mode { Errno::BADF } else { Errno::NOTCAPABLE })
    }
}

/// A union, for constants.
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
    /// Those of something that nothing is opened below.
    pub(super) const fn only(base: Rights) -> Granted {
        Granted { base, inheriting: Rights::NONE }
    }

    /// Those of a directory that a process has from its beginning.
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

    /// Those of something of a kind that is opened below this.
    ///
    /// Who asks for a directory that passes on the right to open, and neither that to read nor that to write, means one like
    /// this: Zig asks so for every directory, and goes on to read and write below it. To narrow what a directory passes on
    /// to nothing, there is `fd_fdstat_set_rights`.
    pub(super) fn below(self, asked: Granted, kind: Rights) -> Granted {
        let opens = asked.inheriting.contains(Rights::PATH_OPEN);
        let moves = asked.inheriting & (Rights::FD_READ | Rights::FD_WRITE) != Rights::NONE;
        let inheriting = if opens && !moves { self.inheriting } else { asked.inheriting & self.inheriting };
        Granted { base: asked.base & self.inheriting & kind, inheriting }
    }

    /// Gives up what is not in `to`.
    ///
    /// # Errors
    /// `NOTCAPABLE` for more than there is.
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
        fn what_is_opened_has_no_more_than_its_directory_passes_on(
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
    fn what_a_directory_passes_on_is_what_is_asked_for_if_that_is_of_use() {
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
