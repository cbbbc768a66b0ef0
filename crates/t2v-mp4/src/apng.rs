//! Animated PNG: each frame compressed by `png`, and its chunks put into the animation's
//! (<https://www.w3.org/TR/png-3/#apng-frame-based-animation>).

use png::{BitDepth, ColorType, Compression, Encoder, EncodingError, SrgbRenderingIntent};

use crate::delay::delay;
use crate::error::{Mp4Error, Result};
use crate::format::OutputFormat;
use crate::output::Output;
use crate::rate::FrameRate;
use crate::spec::VideoSpec;
use crate::writer::FrameSink;

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// Writes an animation that repeats for ever.
pub(crate) struct ApngSink {
    spec: VideoSpec,
    output: Output,
    /// Where `acTL` is, whose number of frames is not yet known.
    control: u64,
    frames: u32,
    /// Of the next `fcTL` or `fdAT` chunk.
    sequence: u32,
}

impl ApngSink {
    pub(crate) fn new(output: Output, spec: &VideoSpec) -> Result<Self> {
        Ok(Self {
            spec: spec.clone(),
            output,
            control: 0,
            frames: 0,
            sequence: 0,
        })
    }

    fn next_sequence(&mut self) -> [u8; 4] {
        self.sequence += 1;
        (self.sequence - 1).to_be_bytes()
    }

    /// `fcTL`: the frame fills the picture, stays as long as its delay, and replaces what was there.
    fn write_frame_control(&mut self, frame: u32) -> Result<()> {
        let (num, den) = frame_delay(frame, self.spec.frame_rate);
        let mut control = self.next_sequence().to_vec();
        control.extend(self.spec.width.to_be_bytes());
        control.extend(self.spec.height.to_be_bytes());
        control.extend([0; 8]);
        control.extend(num.to_be_bytes());
        control.extend(den.to_be_bytes());
        control.extend([0; 2]);
        self.output.write(&chunk(b"fcTL", &[&control]))
    }

    fn write_image(&mut self, data: &[u8]) -> Result<()> {
        let chunk = match self.frames {
            0 => chunk(b"IDAT", &[data]),
            _ => chunk(b"fdAT", &[&self.next_sequence(), data]),
        };
        self.output.write(&chunk)
    }
}

impl FrameSink for ApngSink {
    fn push(&mut self, frame: u32, rgb: &[u8]) -> Result<()> {
        let wrong = |source: EncodingError| Mp4Error::Picture {
            frame,
            format: OutputFormat::Apng,
            source: Box::new(source),
        };
        let png = encode_png(&self.spec, rgb).map_err(wrong)?;
        let mut control = Some(()).filter(|()| frame > 0);
        if control.is_some() {
            self.write_frame_control(frame)?;
        } else {
            self.output.write(&SIGNATURE)?;
        }
        for (kind, data) in chunks(&png) {
            match kind {
                b"IDAT" => {
                    if control.is_none() {
                        self.control = self.output.position();
                        self.output.write(&animation_control(1))?;
                        self.write_frame_control(frame)?;
                        control = Some(());
                    }
                    self.write_image(data)?;
                }
                b"IEND" => {}
                _ if frame == 0 => self.output.write(&chunk(kind, &[data]))?,
                _ => {}
            }
        }
        self.frames += 1;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.output.write(&chunk(b"IEND", &[]))?;
        self.output.patch(self.control, &animation_control(self.frames))?;
        self.output.persist()
    }
}

/// A still PNG in sRGB with the metadata as text.
pub(crate) fn encode_png(spec: &VideoSpec, rgb: &[u8]) -> Result<Vec<u8>, EncodingError> {
    let mut png = Vec::new();
    let mut encoder = Encoder::new(&mut png, spec.width, spec.height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Balanced);
    encoder.set_source_srgb(SrgbRenderingIntent::Perceptual);
    for (key, value) in spec.metadata.iter() {
        encoder.add_itxt_chunk(key.to_owned(), value.to_owned())?;
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(png)
}

/// A fraction of a second: exactly the rate's inverse where it fits 16 bits, or else thousandths.
fn frame_delay(frame: u32, rate: FrameRate) -> (u16, u16) {
    match (u16::try_from(rate.den()), u16::try_from(rate.num())) {
        (Ok(num), Ok(den)) => (num, den),
        _ => (u16::try_from(delay(frame, rate, 1000)).unwrap_or(u16::MAX), 1000),
    }
}

/// `acTL`: the number of frames, repeated for ever.
fn animation_control(frames: u32) -> Vec<u8> {
    chunk(b"acTL", &[&frames.to_be_bytes(), &[0; 4]])
}

/// A chunk with its length and checksum.
fn chunk(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let data = parts.concat();
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(kind);
    checksum.update(&data);
    let length = data.len() as u32;
    let checksum = checksum.finalize().to_be_bytes();
    [&length.to_be_bytes()[..], kind, &data, &checksum].concat()
}

/// The chunks of a PNG file of our own: type and data.
fn chunks(png: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = png.get(SIGNATURE.len()..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (kind, after) = after.split_first_chunk::<4>()?;
        let (data, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        rest = after.get(4..)?;
        Some((kind, data))
    })
}
