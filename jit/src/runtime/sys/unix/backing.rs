//! An anonymous file: bytes that many mappings begin with and that are in memory once.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr;

use super::Mapping;

/// The content of mappings. They are private: what is written to one is not visible in another.
#[derive(Debug)]
pub(crate) struct Backing(File);

impl Backing {
    /// Creates a file of zeroes. What is neither written nor read takes no memory.
    pub(crate) fn new(size: usize) -> io::Result<Backing> {
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        // SAFETY: the name is a constant, which the kernel copies.
        let descriptor = unsafe { libc::memfd_create(c"memory image".as_ptr(), flags) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just created, and belongs to nothing else.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
        file.set_len(size as u64)?;
        // A page of a mapping behind the end of the file would fault, so the size is sealed. SAFETY: the
        // arguments are numbers.
        if unsafe {
            libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW)
        } != 0
        {
            return Err(io::Error::last_os_error());
        }
        Ok(Backing(file))
    }

    /// Writes where no mapping was read or written yet. Mappings that were may not show it.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset as u64)
    }

    /// Maps the first `size` bytes, readable and writable. Writes stay in the mapping.
    pub(crate) fn map(&self, size: usize) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_NORESERVE;
        // SAFETY: a mapping at an address of the kernel's choice touches nothing that exists.
        let address = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, self.0.as_raw_fd(), 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was just mapped, and belongs to nothing else.
        Ok(unsafe { Mapping::from_raw(address as usize, size) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::sys::{Reset, discard, page_size, reset};

    fn bytes(mapping: &mut Mapping) -> &mut [u8] {
        // SAFETY: the range is mapped, and borrowed with the mapping.
        unsafe { std::slice::from_raw_parts_mut(mapping.address() as *mut u8, mapping.size()) }
    }

    #[test]
    fn mappings_share_content_and_keep_their_writes() {
        let page = page_size();
        let backing = Backing::new(4 * page).unwrap();
        backing.write(page, b"content").unwrap();
        let [mut one, mut other] = [(); 2].map(|()| backing.map(4 * page).unwrap());
        bytes(&mut one)[page..][..7].copy_from_slice(b"changed");
        bytes(&mut one)[3 * page] = 1;
        assert_eq!(&bytes(&mut other)[page..][..8], b"content\0");
        assert_eq!(bytes(&mut other)[3 * page], 0);
        // SAFETY: the mapping is this test's.
        assert!(matches!(unsafe { discard(one.address(), one.size()) }, Reset::GivenBack));
        assert_eq!(&bytes(&mut one)[page..][..7], b"content");
        assert_eq!(bytes(&mut one)[3 * page], 0);
    }

    #[test]
    fn pages_that_were_only_read_are_not_resident() {
        let page = page_size();
        let backing = Backing::new(8 * page).unwrap();
        backing.write(0, &vec![7; 4 * page]).unwrap();
        let mut mapping = backing.map(8 * page).unwrap();
        assert!((0..8).all(|at| bytes(&mut mapping)[at * page] == if at < 4 { 7 } else { 0 }));
        bytes(&mut mapping)[2 * page] = 8;
        // SAFETY: the mapping is this test's.
        let resident = unsafe { reset(mapping.address(), mapping.size()) }.resident();
        // Where the system does not report these pages, they are given back.
        let runs = resident.map(|resident| resident.runs().collect::<Vec<_>>());
        assert!(runs.is_none_or(|runs| runs == [(2 * page, page)]));
        assert!(bytes(&mut mapping)[3 * page] == 7);
    }
}
