//! Animated WebP: each frame compressed without loss by `image-webp`, and its data put into the animation's chunks
//! (<https://developers.google.com/speed/webp/docs/riff_container>).

use image_webp::{ColorType, WebPEncoder};

use crate::delay::delay;
use crate::error::{Mp4Error, Result};
use crate::format::OutputFormat;
use crate::metadata::Metadata;
use crate::output::Output;
use crate::spec::VideoSpec;
use crate::writer::FrameSink;

/// Bytes before the first chunk: `RIFF`, the size, `WEBP`.
const HEADER: usize = 12;
/// There is an animation.
const ANIMATED: u8 = 0x02;
/// There is an `XMP ` chunk.
const HAS_XMP: u8 = 0x04;
/// The frame replaces what was there, and stays.
const REPLACE: u8 = 0x02;

/// Writes an animation that repeats for ever.
pub(crate) struct WebpSink {
    spec: VideoSpec,
    output: Output,
}

impl WebpSink {
    pub(crate) fn new(mut output: Output, spec: &VideoSpec) -> Result<Self> {
        let xmp = if spec.metadata.is_empty() { 0 } else { HAS_XMP };
        // The size follows at the end.
        output.write(b"RIFF\0\0\0\0WEBP")?;
        let canvas = [&[ANIMATED | xmp, 0, 0, 0][..], &side(spec.width), &side(spec.height)].concat();
        output.write(&chunk(b"VP8X", &canvas))?;
        // A black background, which never shows, and no end to repeating.
        output.write(&chunk(b"ANIM", &[0, 0, 0, 255, 0, 0]))?;
        let spec = spec.clone();
        Ok(Self { spec, output })
    }
}

impl FrameSink for WebpSink {
    fn push(&mut self, frame: u32, rgb: &[u8]) -> Result<()> {
        let mut still = Vec::new();
        let encoded = WebPEncoder::new(&mut still).encode(rgb, self.spec.width, self.spec.height, ColorType::Rgb8);
        encoded.map_err(|source| Mp4Error::Picture {
            frame,
            format: OutputFormat::WebP,
            source: Box::new(source),
        })?;
        let milliseconds = delay(frame, self.spec.frame_rate, 1000).to_le_bytes();
        let mut data = vec![0; 6];
        data.extend(side(self.spec.width));
        data.extend(side(self.spec.height));
        data.extend(&milliseconds[..3]);
        data.push(REPLACE);
        data.extend(&still[HEADER..]);
        self.output.write(&chunk(b"ANMF", &data))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if !self.spec.metadata.is_empty() {
            self.output
                .write(&chunk(b"XMP ", xmp(&self.spec.metadata).as_bytes()))?;
        }
        let size = u32::try_from(self.output.position() - 8).map_err(|_| Mp4Error::FileTooLarge {
            path: self.output.path().to_path_buf(),
            format: OutputFormat::WebP,
        })?;
        self.output.patch(4, &size.to_le_bytes())?;
        self.output.persist()
    }
}

/// A side of the picture, less one, in 24 bits.
fn side(side: u32) -> [u8; 3] {
    let [a, b, c, _] = (side - 1).to_le_bytes();
    [a, b, c]
}

/// A chunk, filled up to an even length.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = data.len() as u32;
    let padding: &[u8] = if data.len().is_multiple_of(2) { &[] } else { &[0] };
    [kind, &length.to_le_bytes()[..], data, padding].concat()
}

/// All entries as JSON, as the description of an XMP packet.
fn xmp(metadata: &Metadata) -> String {
    let json = metadata.to_json();
    let text = json.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\
         <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\
         <rdf:Description rdf:about=\"\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\">\
         <dc:description><rdf:Alt><rdf:li xml:lang=\"x-default\">{text}</rdf:li></rdf:Alt></dc:description>\
         </rdf:Description></rdf:RDF></x:xmpmeta>"
    )
}
