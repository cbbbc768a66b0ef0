//! Clips to encode, and what comes back of them.

use std::io::{self, Cursor, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use openh264::decoder::{DecodedYUV, Decoder};
use openh264::formats::YUVSource;
use t2v_mp4::{OutputFormat, VideoSpec, Writer};

use crate::boxes::Movie;

/// An RGB8 frame whose pixels are a function of (x, y).
pub(crate) fn frame(spec: &VideoSpec, pixel: impl Fn(f64, f64) -> [f64; 3]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(spec.frame_len());
    for y in 0..spec.height {
        for x in 0..spec.width {
            rgb.extend(pixel(f64::from(x), f64::from(y)).map(|c| c.round() as u8));
        }
    }
    rgb
}

/// Colours that change gently over the picture and with time.
pub(crate) fn smooth(spec: &VideoSpec, time: u32) -> Vec<u8> {
    let t = f64::from(time);
    let wave = |v: f64| 127.5 + 100.0 * v.sin();
    frame(spec, |x, y| {
        [
            wave((x + 2.0 * t) / 25.0),
            wave((y - t) / 31.0 + 1.0),
            wave((x + y + t) / 40.0 + 2.0),
        ]
    })
}

/// Noise, another one each time.
pub(crate) fn noise(spec: &VideoSpec, time: u32) -> Vec<u8> {
    let mut state = u64::from(time) * 0x9e37_79b9 + 1;
    (0..spec.frame_len())
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// A single colour.
pub(crate) fn flat(spec: &VideoSpec, colour: [u8; 3]) -> Vec<u8> {
    colour.repeat((spec.width * spec.height) as usize)
}

/// Writes a clip of `count` frames and reads the file back.
pub(crate) fn write(path: &Path, spec: &VideoSpec, count: u32, picture: impl Fn(&VideoSpec, u32) -> Vec<u8>) -> Movie {
    let mut writer = Writer::create(path, spec.clone()).unwrap();
    for time in 0..count {
        writer.push(&picture(spec, time)).unwrap();
    }
    assert_eq!(writer.frames(), count);
    writer.finish().unwrap();
    Movie::parse(std::fs::read(path).unwrap())
}

/// [`write`] into a folder of its own.
pub(crate) fn encode(spec: &VideoSpec, count: u32, picture: impl Fn(&VideoSpec, u32) -> Vec<u8>) -> Movie {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("clip.mp4"), spec, count, picture)
}

/// A file in memory that can still be read when the writer has gone.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Cursor<Vec<u8>>>>);

impl Memory {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0.lock().unwrap().get_ref().clone()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Memory {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.lock().unwrap().seek(to)
    }
}

/// Writes a clip in any format into memory.
pub(crate) fn to_memory(
    format: OutputFormat,
    spec: &VideoSpec,
    count: u32,
    picture: impl Fn(&VideoSpec, u32) -> Vec<u8>,
) -> Vec<u8> {
    let memory = Memory::default();
    let mut writer = Writer::stream(format, memory.clone(), spec.clone()).unwrap();
    for time in 0..count {
        writer.push(&picture(spec, time)).unwrap();
    }
    writer.finish().unwrap();
    memory.into_bytes()
}

/// A decoded picture: luma, Cb, Cr, without padding.
pub(crate) struct Picture {
    pub(crate) size: (usize, usize),
    pub(crate) planes: [Vec<u8>; 3],
}

impl Picture {
    fn new(yuv: &DecodedYUV<'_>) -> Self {
        let (width, height) = yuv.dimensions();
        let (y, u, v) = yuv.strides();
        let plane = |plane: &[u8], stride: usize, width: usize, height: usize| {
            let rows = plane.chunks(stride).take(height);
            rows.flat_map(|row| row[..width].to_vec()).collect()
        };
        Self {
            size: (width, height),
            planes: [
                plane(yuv.y(), y, width, height),
                plane(yuv.u(), u, width / 2, height / 2),
                plane(yuv.v(), v, width / 2, height / 2),
            ],
        }
    }

    /// [`to_rgb_in`](Self::to_rgb_in) limited range.
    pub(crate) fn to_rgb(&self) -> Vec<u8> {
        self.to_rgb_in(false)
    }

    /// By BT.709's formulas, in limited or full range, with chroma interpolated from where it is: on even columns, between
    /// rows.
    pub(crate) fn to_rgb_in(&self, full_range: bool) -> Vec<u8> {
        let (black, luma, chroma) = if full_range {
            (0.0, 255.0, 255.0)
        } else {
            (16.0, 219.0, 224.0)
        };
        let (width, height) = self.size;
        let mut rgb = Vec::with_capacity(width * height * 3);
        for (row, column) in (0..height).flat_map(|row| (0..width).map(move |x| (row, x))) {
            let y = (f64::from(self.planes[0][row * width + column]) - black) / luma;
            let cb = (self.chroma(1, column, row) - 128.0) / chroma;
            let cr = (self.chroma(2, column, row) - 128.0) / chroma;
            let (r, b) = (y + 1.5748 * cr, y + 1.8556 * cb);
            let g = (y - 0.2126 * r - 0.0722 * b) / 0.7152;
            rgb.extend([r, g, b].map(|c| (c * 255.0).round().clamp(0.0, 255.0) as u8));
        }
        rgb
    }

    fn chroma(&self, plane: usize, column: usize, row: usize) -> f64 {
        let (width, height) = (self.size.0 / 2, self.size.1 / 2);
        let at = |x: usize, y: usize| f64::from(self.planes[plane][y.min(height - 1) * width + x.min(width - 1)]);
        let (x, y) = (column / 2, row / 2);
        let across = |y: usize| (at(x, y) + at(x + column % 2, y)) / 2.0;
        let beside = if row.is_multiple_of(2) {
            y.saturating_sub(1)
        } else {
            y + 1
        };
        0.75 * across(y) + 0.25 * across(beside)
    }
}

/// Decodes all samples.
pub(crate) fn decode(movie: &Movie) -> Vec<Picture> {
    let mut decoder = Decoder::new().unwrap();
    let mut pictures = Vec::new();
    for sample in 0..movie.samples.len() {
        let mut packet = Vec::new();
        let sets = [movie.sps.as_slice(), movie.pps.as_slice()];
        let sets = sets.into_iter().filter(|_| sample == 0);
        for nal in sets.chain(movie.nals(sample)) {
            packet.extend([0, 0, 0, 1]);
            packet.extend(nal);
        }
        if let Some(yuv) = decoder.decode(&packet).unwrap() {
            pictures.push(Picture::new(&yuv));
        }
    }
    let rest = decoder.flush_remaining().unwrap();
    pictures.extend(rest.iter().map(Picture::new));
    pictures
}

/// Peak signal-to-noise ratio in dB.
pub(crate) fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares = a.iter().zip(b).map(|(&a, &b)| f64::from(a.abs_diff(b)).powi(2));
    let mean = squares.sum::<f64>() / a.len() as f64;
    10.0 * (255.0 * 255.0 / mean).log10()
}
