//! A process's descriptors. The table is made when it is first used: most processes never do.

use std::sync::Arc;

use cap_std::fs::{Dir, File};

use crate::config::ProcessConfig;

use super::Result;
use super::errno::Errno;

/// Descriptors that a process may have open.
const MAX_FDS: usize = 4096;

/// What a descriptor stands for. Cheap to clone: a job on the pool holds one while it runs.
#[derive(Clone)]
pub(super) enum Fd {
    Stdin,
    Stdout,
    Stderr,
    Dir {
        dir: Arc<Dir>,
        /// The name that the process knows it by from its beginning.
        preopen: Option<String>,
    },
    File(Arc<File>),
}

/// See the module.
#[derive(Default)]
pub(crate) struct FdTable {
    fds: Option<Vec<Option<Fd>>>,
}

impl FdTable {
    /// What a descriptor stands for.
    pub(super) fn get(&mut self, config: &ProcessConfig, fd: u32) -> Result<Fd> {
        self.slots(config).get(fd as usize).cloned().flatten().ok_or(Errno::BADF)
    }

    /// A directory.
    pub(super) fn dir(&mut self, config: &ProcessConfig, fd: u32) -> Result<Arc<Dir>> {
        match self.get(config, fd)? {
            Fd::Dir { dir, .. } => Ok(dir),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// A regular file.
    pub(super) fn file(&mut self, config: &ProcessConfig, fd: u32) -> Result<Arc<File>> {
        match self.get(config, fd)? {
            Fd::File(file) => Ok(file),
            Fd::Dir { .. } => Err(Errno::ISDIR),
            Fd::Stdin | Fd::Stdout | Fd::Stderr => Err(Errno::SPIPE),
        }
    }

    /// Adds a descriptor at the lowest free number.
    pub(super) fn add(&mut self, config: &ProcessConfig, fd: Fd) -> Result<u32> {
        let slots = self.slots(config);
        let number = slots.iter().position(Option::is_none).unwrap_or(slots.len());
        if number >= MAX_FDS.min(config.max_resources as usize) {
            return Err(Errno::MFILE);
        }
        if number == slots.len() {
            slots.push(None);
        }
        slots[number] = Some(fd);
        Ok(number as u32)
    }

    /// Closes a descriptor.
    pub(super) fn close(&mut self, config: &ProcessConfig, fd: u32) -> Result<()> {
        let slot = self.slots(config).get_mut(fd as usize).ok_or(Errno::BADF)?;
        slot.take().map(drop).ok_or(Errno::BADF)
    }

    /// Moves a descriptor to another's number, which is closed.
    pub(super) fn renumber(&mut self, config: &ProcessConfig, from: u32, to: u32) -> Result<()> {
        self.get(config, to)?;
        let fd = self.get(config, from)?;
        let slots = self.slots(config);
        slots[from as usize] = None;
        slots[to as usize] = Some(fd);
        Ok(())
    }

    fn slots(&mut self, config: &ProcessConfig) -> &mut Vec<Option<Fd>> {
        self.fds.get_or_insert_with(|| {
            let streams = [Fd::Stdin, Fd::Stdout, Fd::Stderr];
            let dirs = config
                .dirs
                .iter()
                .map(|dir| Fd::Dir { dir: dir.dir.clone(), preopen: Some(dir.name.clone()) });
            streams.into_iter().chain(dirs).map(Some).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::everything;

    use super::*;

    #[test]
    fn the_lowest_free_number_is_given() {
        let config = everything();
        let mut table = FdTable::default();
        table.close(&config, 1).unwrap();
        assert_eq!(table.close(&config, 1), Err(Errno::BADF));
        assert_eq!(table.add(&config, Fd::Stderr), Ok(1));
        assert_eq!(table.add(&config, Fd::Stderr), Ok(3));
        assert_eq!(table.close(&config, u32::MAX), Err(Errno::BADF));
    }

    #[test]
    fn there_is_a_limit() {
        let config = everything();
        let mut table = FdTable::default();
        assert!((3..MAX_FDS).all(|_| table.add(&config, Fd::Stdin).is_ok()));
        assert_eq!(table.add(&config, Fd::Stdin), Err(Errno::MFILE));
    }
}
