//! OpenH264's decoder, given nothing but what has been looked at: slices and parameter sets, whole and within their bounds.
//!
//! Each sample yields its own picture, in the order of decoding. OpenH264's reordering is not used: it guesses from the low
//! bits of picture order counts, where the container has the times, and pictures that are flushed out of it are never freed.
//! It does not reorder where the profile forbids it, and looks at the profile for nothing else that matters here, so that it
//! is told another one, see [`sps::without_reordering`].

use openh264::decoder::{DecodedYUV, Decoder};
use openh264::formats::YUVSource;

use crate::bitstream::{IDR_SLICE, PPS, SLICE, SPS};
use crate::demux::SampleEntry;
use crate::fault::Fault;
use crate::sps::{self, Sps};

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Decodes sample by sample, a picture each.
pub(crate) struct FrameDecoder {
    decoder: Decoder,
    length_size: usize,
    sps: Sps,
    /// For the decoder: start codes and NAL units.
    packet: Vec<u8>,
    /// The one at work, for messages.
    frame: u32,
    /// Whether there was a picture that decoding can start with.
    started: bool,
}

impl FrameDecoder {
    /// A decoder for samples of this entry.
    pub(crate) fn new(entry: &SampleEntry) -> Result<Self, Fault> {
        let [first, ..] = entry.parameter_sets.as_slice() else {
            return Err(Fault::Malformed("it has no sequence parameter set"));
        };
        let mut decoder = Self {
            decoder: Decoder::new().map_err(|error| failed_at(0, error))?,
            length_size: entry.length_size,
            sps: Sps::parse(first)?,
            packet: Vec::new(),
            frame: 0,
            started: false,
        };
        for set in &entry.parameter_sets {
            decoder.push(set)?;
        }
        Ok(decoder)
    }

    /// What pictures are like.
    pub(crate) fn sps(&self) -> &Sps {
        &self.sps
    }

    /// The most bytes that a sample of this size of pictures can sensibly have: twice that of the pixels uncoded.
    pub(crate) fn largest_sample(&self) -> u32 {
        self.sps.width * self.sps.height * 3 + (64 << 10)
    }

    /// Decodes a sample: NAL units, each after its length. Messages call it by this number.
    pub(crate) fn decode(&mut self, mut sample: &[u8], number: u32) -> Result<DecodedYUV<'_>, Fault> {
        self.frame = number;
        while !sample.is_empty() {
            let (nal, rest) = split_nal(sample, self.length_size)?;
            self.push(nal)?;
            sample = rest;
        }
        let frame = number;
        let picture = self
            .decoder
            .decode(&self.packet)
            .map_err(|error| failed_at(frame, error))?;
        self.packet.clear();
        let picture = picture.ok_or_else(|| failed_at(frame, "it holds no whole picture"))?;
        let size = (self.sps.width as usize, self.sps.height as usize);
        match picture.dimensions() == size {
            true => Ok(picture),
            false => Err(failed_at(frame, "it has another size")),
        }
    }

    /// Adds a NAL unit to the packet, if the decoder needs it.
    fn push(&mut self, nal: &[u8]) -> Result<(), Fault> {
        let Some(&header) = nal.first() else {
            return Ok(());
        };
        match header & 0x1f {
            SPS if Sps::parse(nal)? != self.sps => {
                return Err(Fault::unsupported(
                    "its pictures change their size or colours on the way",
                ));
            }
            SLICE if !self.started => {
                return Err(Fault::unsupported(
                    "it does not start with a keyframe that stands alone (IDR), as after a cut without encoding",
                ));
            }
            PPS if sps::has_matrices(nal) => return Err(Fault::unsupported(sps::OWN_MATRICES)),
            IDR_SLICE => self.started = true,
            SPS | PPS | SLICE => {}
            2..=4 => {
                return Err(Fault::unsupported("its slices are partitioned (Extended profile)"));
            }
            // Delimiters, messages, extensions, padding.
            _ => return Ok(()),
        }
        if nal.windows(3).any(|three| three[..2] == [0, 0] && three[2] <= 2) {
            return Err(failed_at(self.frame, "a NAL unit has a start code in it"));
        }
        self.packet.extend(START_CODE);
        match header & 0x1f {
            SPS => self.packet.extend(sps::without_reordering(nal)),
            _ => self.packet.extend(nal),
        }
        Ok(())
    }
}

/// The first NAL unit of a sample, and the rest.
fn split_nal(sample: &[u8], length_size: usize) -> Result<(&[u8], &[u8]), Fault> {
    let fault = || Fault::Malformed("a NAL unit reaches over the end of its sample");
    let (length, rest) = sample.split_at_checked(length_size).ok_or_else(fault)?;
    let length = length.iter().fold(0, |value, &byte| value << 8 | usize::from(byte));
    rest.split_at_checked(length).ok_or_else(fault)
}

fn failed_at(frame: u32, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Fault {
    Fault::Decoder {
        frame,
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nal_units_are_split_by_lengths_of_any_size() {
        for (size, sample) in [
            (1, &[2, 7, 8, 9][..]),
            (2, &[0, 2, 7, 8, 9]),
            (4, &[0, 0, 0, 2, 7, 8, 9]),
        ] {
            assert_eq!(split_nal(sample, size).unwrap(), (&[7, 8][..], &[9][..]));
            assert!(split_nal(&sample[..size + 1], size).is_err());
            assert!(split_nal(&sample[..size - 1], size).is_err());
        }
        assert!(split_nal(&[0xff; 9], 4).is_err());
    }
}
