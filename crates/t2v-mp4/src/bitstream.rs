//! From the encoder's byte stream (ITU-T H.264 Annex B) to MP4 samples (ISO/IEC 14496-15 5.3).

/// Bytes of the length in front of each NAL unit of a sample.
pub(crate) const LENGTH_SIZE: usize = 4;

pub(crate) const SLICE: u8 = 1;
pub(crate) const IDR_SLICE: u8 = 5;
pub(crate) const SPS: u8 = 7;
pub(crate) const PPS: u8 = 8;

/// The sequence and the picture parameter set, without start codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParameterSets {
    pub(crate) sps: Vec<u8>,
    pub(crate) pps: Vec<u8>,
}

/// One picture's NAL units, sorted.
#[derive(Debug, Default)]
pub(crate) struct AccessUnit {
    /// What belongs into the sample, each NAL unit after its length.
    pub(crate) sample: Vec<u8>,
    /// Whether decoding can start here.
    pub(crate) is_sync: bool,
    slices: usize,
    sps: Vec<u8>,
    pps: Vec<u8>,
}

impl AccessUnit {
    /// Empties it, keeping its memory.
    pub(crate) fn clear(&mut self) {
        self.sample.clear();
        self.sps.clear();
        self.pps.clear();
        self.is_sync = false;
        self.slices = 0;
    }

    /// Adds a NAL unit with or without its start code.
    pub(crate) fn push(&mut self, nal: &[u8]) -> Result<(), &'static str> {
        let nal = without_start_code(nal);
        let Some(&header) = nal.first() else {
            return Err("an empty NAL unit");
        };
        match header & 0x1f {
            SPS => replace(&mut self.sps, nal),
            PPS => replace(&mut self.pps, nal),
            kind => {
                self.slices += usize::from(kind == SLICE || kind == IDR_SLICE);
                self.is_sync |= kind == IDR_SLICE;
                let length = u32::try_from(nal.len()).map_err(|_| "a NAL unit above 4 GiB")?;
                self.sample.extend_from_slice(&length.to_be_bytes());
                self.sample.extend_from_slice(nal);
                Ok(())
            }
        }
    }

    /// Whether there is a picture in it at all.
    pub(crate) fn has_picture(&self) -> bool {
        self.slices > 0
    }

    /// The parameter sets, if they come with this picture.
    pub(crate) fn parameter_sets(&self) -> Result<Option<ParameterSets>, &'static str> {
        match (self.sps.len(), self.pps.len()) {
            (0, 0) => Ok(None),
            // `avcC` repeats the three bytes after the SPS's header, and counts in 16 bits.
            (4..=0xffff, 1..=0xffff) => Ok(Some(ParameterSets {
                sps: self.sps.clone(),
                pps: self.pps.clone(),
            })),
            _ => Err("a parameter set is missing or has an impossible length"),
        }
    }
}

fn replace(slot: &mut Vec<u8>, nal: &[u8]) -> Result<(), &'static str> {
    if !slot.is_empty() {
        return Err("more than one parameter set of a kind");
    }
    slot.extend_from_slice(nal);
    Ok(())
}

fn without_start_code(nal: &[u8]) -> &[u8] {
    match nal {
        [0, 0, 0, 1, rest @ ..] | [0, 0, 1, rest @ ..] => rest,
        _ => nal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_sets_leave_the_sample() {
        let mut unit = AccessUnit::default();
        for nal in [
            &[0, 0, 0, 1, 0x67, 66, 0xc0, 10][..],
            &[0, 0, 1, 0x68, 1],
            &[0, 0, 0, 1, 0x65, 9, 9],
        ] {
            unit.push(nal).unwrap();
        }
        assert_eq!(unit.sample, [0, 0, 0, 3, 0x65, 9, 9]);
        assert!(unit.is_sync && unit.has_picture());
        let sets = unit.parameter_sets().unwrap().unwrap();
        assert_eq!(sets.sps, [0x67, 66, 0xc0, 10]);
        assert_eq!(sets.pps, [0x68, 1]);

        unit.clear();
        unit.push(&[0, 0, 0, 1, 0x41, 7]).unwrap();
        assert!(!unit.is_sync && unit.has_picture());
        assert_eq!(unit.parameter_sets().unwrap(), None);
    }

    #[test]
    fn malformed_units_are_refused() {
        let mut unit = AccessUnit::default();
        assert!(unit.push(&[0, 0, 0, 1]).is_err());
        unit.push(&[0x67, 66]).unwrap();
        assert!(unit.push(&[0x67, 66]).is_err());
        assert!(unit.parameter_sets().is_err());
        assert!(!unit.has_picture());
    }
}
