//! The guest's memory as host functions see it. Every access is checked, and no computation overflows.

use lunatic_jit::Caller;

use lunatic_core::Fault;
use lunatic_core::ProcessData;

/// The memory of a guest that has called a host function.
pub struct GuestMemory<'a>(pub &'a mut [u8]);

/// Returns the memory and the data of the calling process.
///
/// # Errors
/// Returns [`Fault::NoMemory`] if the module exports no memory.
#[inline]
pub fn parts<'a>(
    guest: &'a mut Caller<'_, ProcessData>,
) -> Result<(GuestMemory<'a>, &'a mut ProcessData), Fault> {
    let (memory, data) = guest.memory_and_data().ok_or(Fault::NoMemory)?;
    Ok((GuestMemory(memory), data))
}

impl GuestMemory<'_> {
    /// Returns a range of bytes.
    #[inline]
    pub fn bytes(&self, pointer: u32, length: u32) -> Result<&[u8], Fault> {
        let start = pointer as usize;
        let range = start..start.saturating_add(length as usize);
        self.0.get(range).ok_or(Fault::BadPointer { pointer, length: length.into() })
    }

    /// Returns a range of bytes to write to.
    #[inline]
    pub fn bytes_mut(&mut self, pointer: u32, length: u32) -> Result<&mut [u8], Fault> {
        let start = pointer as usize;
        let range = start..start.saturating_add(length as usize);
        self.0.get_mut(range).ok_or(Fault::BadPointer { pointer, length: length.into() })
    }

    /// Returns an array of `count` elements of `size` bytes each, as bytes.
    #[inline]
    pub fn array(&self, pointer: u32, count: u32, size: u32) -> Result<&[u8], Fault> {
        let length = u64::from(count) * u64::from(size);
        let fault = Fault::BadPointer { pointer, length };
        let length = u32::try_from(length).map_err(|_| fault)?;
        self.bytes(pointer, length)
    }

    /// Returns a string.
    #[inline]
    pub fn str(&self, pointer: u32, length: u32) -> Result<&str, Fault> {
        std::str::from_utf8(self.bytes(pointer, length)?).map_err(|_| Fault::NotUtf8)
    }

    /// Returns the bytes of a value of fixed size.
    #[inline]
    pub fn read<const N: usize>(&self, pointer: u32) -> Result<[u8; N], Fault> {
        let bytes = self.bytes(pointer, N as u32)?;
        Ok(bytes.try_into().expect("the slice has the length it was asked for"))
    }

    /// Returns a little-endian number.
    #[inline]
    pub fn read_u32(&self, pointer: u32) -> Result<u32, Fault> {
        self.read(pointer).map(u32::from_le_bytes)
    }

    /// Returns a little-endian number.
    #[inline]
    pub fn read_u64(&self, pointer: u32) -> Result<u64, Fault> {
        self.read(pointer).map(u64::from_le_bytes)
    }

    /// Writes bytes.
    #[inline]
    pub fn write(&mut self, pointer: u32, bytes: &[u8]) -> Result<(), Fault> {
        let length = bytes.len() as u64;
        let fault = Fault::BadPointer { pointer, length };
        let length = u32::try_from(length).map_err(|_| fault)?;
        self.bytes_mut(pointer, length)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Writes a little-endian number.
    #[inline]
    pub fn write_u32(&mut self, pointer: u32, value: u32) -> Result<(), Fault> {
        self.write(pointer, &value.to_le_bytes())
    }

    /// Writes a little-endian number.
    #[inline]
    pub fn write_u64(&mut self, pointer: u32, value: u64) -> Result<(), Fault> {
        self.write(pointer, &value.to_le_bytes())
    }

    /// Checks that a range can be written, before a function has any effect.
    #[inline]
    pub fn check(&self, pointer: u32, length: u32) -> Result<(), Fault> {
        self.bytes(pointer, length).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_range_outside_is_given_out(pointer in any::<u32>(), length in any::<u32>(), size in 0usize..300) {
            let mut bytes = vec![0; size];
            let memory = GuestMemory(&mut bytes);
            let inside = u64::from(pointer) + u64::from(length) <= size as u64;
            prop_assert_eq!(memory.bytes(pointer, length).is_ok(), inside);
            prop_assert_eq!(memory.array(pointer, length, 8).is_ok(),
                u64::from(pointer) + u64::from(length) * 8 <= size as u64);
        }
    }

    #[test]
    fn the_edges() {
        let mut bytes = [0; 16];
        let mut memory = GuestMemory(&mut bytes);
        assert!(memory.write_u64(8, u64::MAX).is_ok());
        assert!(memory.write_u64(9, 0).is_err());
        assert_eq!(memory.read_u64(8), Ok(u64::MAX));
        assert!(memory.bytes(16, 0).is_ok());
        assert!(memory.bytes(17, 0).is_err());
        assert!(memory.bytes(u32::MAX, u32::MAX).is_err());
    }
}
