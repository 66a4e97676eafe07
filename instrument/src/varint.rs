//! Numbers of variable length, for tables in which most numbers are small: LEB128, and zigzag for signed ones.

/// Maps small differences of either sign to small numbers.
pub fn zigzag(difference: i32) -> u32 {
    ((difference << 1) ^ (difference >> 31)) as u32
}

/// Returns the difference that [`zigzag`] has mapped to `number`.
pub fn unzigzag(number: u32) -> i32 {
    (number >> 1) as i32 ^ -((number & 1) as i32)
}

/// Writes seven bits in each byte, the lowest first. The eighth bit says that more follow.
pub fn write_number(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Reads a number and removes it from the front of `bytes`. Returns `None` if it is cut or longer than 32 bits.
pub fn read_number(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0;
    for shift in (0..32).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_length_numbers_round_trip() {
        for difference in [0, 1, -1, 63, -64, 64, i32::MAX, i32::MIN] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, zigzag(difference));
            assert_eq!(read_number(&mut &*bytes).map(unzigzag), Some(difference));
            assert_eq!(read_number(&mut &bytes[..bytes.len() - 1]), None);
        }
    }
}
