//! The fields of a NAL unit (ITU-T H.264 7.2 and 9.1).

/// Reads from the first bit on. Every method gives None at the end.
pub(crate) struct Bits {
    bytes: Vec<u8>,
    position: usize,
}

impl Bits {
    /// Takes the emulation prevention bytes out.
    pub(crate) fn new(nal: &[u8]) -> Self {
        let (mut bytes, mut zeros) = (Vec::with_capacity(nal.len()), 0);
        for &byte in nal {
            if zeros >= 2 && byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            bytes.push(byte);
        }
        Self { bytes, position: 0 }
    }

    /// `u(1)`.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.position / 8)?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Some(bit == 1)
    }

    /// `u(n)` of at most 32 bits.
    pub(crate) fn number(&mut self, bits: u32) -> Option<u32> {
        (0..bits).try_fold(0, |value, _| Some(value << 1 | u32::from(self.flag()?)))
    }

    /// `ue(v)`, of less than 32 bits.
    pub(crate) fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.number(zeros)?)
    }

    /// `se(v)`.
    pub(crate) fn signed(&mut self) -> Option<i64> {
        let code = i64::from(self.unsigned()?);
        Some(if code % 2 == 1 { (code + 1) / 2 } else { -code / 2 })
    }

    /// All that is read from, with more bits put in where it has been read to, and emulation prevention bytes.
    pub(crate) fn with(&self, more: &[bool]) -> Vec<u8> {
        let all = self
            .bytes
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
        let mut bits: Vec<bool> = all.collect();
        bits.splice(self.position..self.position, more.iter().copied());
        // The last bit that is set ends the unit; zeros fill the byte.
        bits.truncate(bits.iter().rposition(|&bit| bit).map_or(0, |last| last + 1));
        let (mut bytes, mut zeros) = (Vec::with_capacity(self.bytes.len() + 2), 0);
        for eight in bits.chunks(8) {
            let byte = (0..8).fold(0, |byte, at| byte << 1 | u8::from(eight.get(at) == Some(&true)));
            if zeros >= 2 && byte <= 3 {
                bytes.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            bytes.push(byte);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_to_the_end() {
        // 1 010 011 00100 00101 00110 1, and then zeros.
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1001_1010, 0]);
        assert_eq!([(); 4].map(|()| bits.unsigned()), [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!([(); 2].map(|()| bits.signed()), [Some(-2), Some(3)]);
        assert_eq!(bits.flag(), Some(true));
        assert_eq!(bits.unsigned(), None);
        let most = [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe];
        assert_eq!(Bits::new(&most).unsigned(), Some(u32::MAX - 1));
        assert_eq!(Bits::new(&[0, 0, 0, 0, 0xff]).unsigned(), None);
    }

    #[test]
    fn bits_are_put_in_the_middle() {
        let mut bits = Bits::new(&[0b1010_0110, 0, 0, 3, 1, 0b1000_0000]);
        bits.number(3);
        // 101, 11, and 00110 with what follows.
        let expected = [0b1011_1001, 0b1000_0000, 0, 0, 0b0110_0000];
        assert_eq!(bits.with(&[true, true]), expected);
        assert_eq!(bits.with(&[]), [0b1010_0110, 0, 0, 3, 1, 0b1000_0000]);
        bits.number(5);
        assert_eq!(bits.with(&[false; 7]), [0b1010_0110, 0, 0, 3, 0, 0b0000_0011]);
    }

    #[test]
    fn emulation_prevention_is_taken_out() {
        let mut bits = Bits::new(&[0, 0, 3, 1, 0, 0, 3, 3, 3]);
        assert_eq!(bits.number(24), Some(1));
        assert_eq!(bits.number(32), Some(0x0303));
        assert_eq!(bits.flag(), None);
    }
}
