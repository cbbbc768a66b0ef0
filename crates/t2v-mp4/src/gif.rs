//! GIF: each frame with a palette of its own.

use std::io;

use gif::{AnyExtension, Encoder, EncodingError, Frame, Repeat};
use quantette::color_space::{oklab_to_srgb8, srgb8_to_oklab};
use quantette::deps::palette::{Srgb, cast};
use quantette::dither::FloydSteinberg;
use quantette::kmeans::{Kmeans, KmeansOptions};
use quantette::wu::{BinnerF32x3, WuF32x3};
use quantette::{ImageRef, PaletteSize};

use crate::delay::delay;
use crate::error::{Mp4Error, Result};
use crate::format::OutputFormat;
use crate::output::Output;
use crate::spec::VideoSpec;
use crate::writer::FrameSink;

/// The label of a comment (GIF89a, 24).
const COMMENT: u8 = 0xfe;
/// The longest part of a comment.
const SUB_BLOCK: usize = 255;

/// The histogram of colours: finer than `quantette`'s own, in which a sky is a handful of bins.
const BINS: BinnerF32x3<64, 64, 64> = BinnerF32x3::new(BinnerF32x3::<64, 64, 64>::OKLAB_COMPONENT_RANGES_FROM_SRGB8);

/// Writes an animation that repeats for ever.
pub(crate) struct GifSink {
    spec: VideoSpec,
    encoder: Encoder<GifOutput>,
}

impl GifSink {
    pub(crate) fn new(output: Output, spec: &VideoSpec) -> Result<Self> {
        let (width, height) = sides(spec);
        let start = || {
            let mut encoder = Encoder::new(GifOutput(output), width, height, &[])?;
            encoder.set_repeat(Repeat::Infinite)?;
            if !spec.metadata.is_empty() {
                let json = spec.metadata.to_json();
                let parts: Vec<&[u8]> = json.as_bytes().chunks(SUB_BLOCK).collect();
                encoder.write_raw_extension(AnyExtension(COMMENT), &parts)?;
            }
            Ok(encoder)
        };
        Ok(Self {
            encoder: start().map_err(|error| failed(0, error))?,
            spec: spec.clone(),
        })
    }
}

impl FrameSink for GifSink {
    fn push(&mut self, frame: u32, rgb: &[u8]) -> Result<()> {
        let (width, height) = sides(&self.spec);
        let (palette, pixels) = quantise(&self.spec, rgb);
        let mut picture = Frame::from_palette_pixels(width, height, pixels, palette, None);
        picture.delay = u16::try_from(delay(frame, self.spec.frame_rate, 100)).unwrap_or(u16::MAX);
        self.encoder.write_frame(&picture).map_err(|error| failed(frame, error))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let output = self.encoder.into_inner().map_err(|error| failed(0, error))?;
        output.0.persist()
    }
}

fn sides(spec: &VideoSpec) -> (u16, u16) {
    let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
    (side(spec.width), side(spec.height))
}

fn failed(frame: u32, error: EncodingError) -> Mp4Error {
    Mp4Error::Picture {
        frame,
        format: OutputFormat::Gif,
        source: Box::new(error),
    }
}

/// The palette, three bytes a colour, and the pixels as numbers in it.
///
/// In Oklab, where distances are what is seen: Wu's method finds 256 colours, k-means moves them to where they serve best,
/// and Floyd and Steinberg's dithering spreads what remains.
fn quantise(spec: &VideoSpec, rgb: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let colours: &[Srgb<u8>] = cast::from_component_slice(rgb);
    let indexed = ImageRef::new(spec.width, spec.height, colours).ok().and_then(|image| {
        let image = image.map_ref(srgb8_to_oklab);
        let first = WuF32x3::run_image(image.as_ref(), BINS)?.palette(PaletteSize::MAX);
        let palette = Kmeans::run_image(image.as_ref(), first, KmeansOptions::new()).into_color_map();
        Some(FloydSteinberg::new().dither_image_to_indexed(image.as_ref(), palette))
    });
    // There is always an image, since frames have the right length.
    let (palette, pixels) = indexed.unwrap_or_default().into_parts();
    let palette = oklab_to_srgb8(&palette);
    let palette = palette
        .iter()
        .flat_map(|colour| [colour.red, colour.green, colour.blue]);
    (palette.collect(), pixels)
}

/// The output as the encoder wants it.
struct GifOutput(Output);

impl io::Write for GifOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
