//! Clips to encode, and what comes back of them.

use std::path::Path;

use openh264::decoder::{DecodedYUV, Decoder};
use openh264::formats::YUVSource;
use t2v_mp4::{VideoSpec, Writer};

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
pub(crate) fn write(path: &Path, spec: VideoSpec, count: u32, picture: impl Fn(&VideoSpec, u32) -> Vec<u8>) -> Movie {
    let mut writer = Writer::create(path, spec).unwrap();
    for time in 0..count {
        writer.push(&picture(&spec, time)).unwrap();
    }
    assert_eq!(writer.frames(), count);
    writer.finish().unwrap();
    Movie::parse(std::fs::read(path).unwrap())
}

/// [`write`] into a folder of its own.
pub(crate) fn encode(spec: VideoSpec, count: u32, picture: impl Fn(&VideoSpec, u32) -> Vec<u8>) -> Movie {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("clip.mp4"), spec, count, picture)
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

    /// By BT.709's formulas, in limited range.
    pub(crate) fn to_rgb(&self) -> Vec<u8> {
        let (width, height) = self.size;
        let mut rgb = Vec::with_capacity(width * height * 3);
        for (row, column) in (0..height).flat_map(|row| (0..width).map(move |x| (row, x))) {
            let chroma = row / 2 * (width / 2) + column / 2;
            let y = (f64::from(self.planes[0][row * width + column]) - 16.0) / 219.0;
            let cb = (f64::from(self.planes[1][chroma]) - 128.0) / 224.0;
            let cr = (f64::from(self.planes[2][chroma]) - 128.0) / 224.0;
            let (r, b) = (y + 1.5748 * cr, y + 1.8556 * cb);
            let g = (y - 0.2126 * r - 0.0722 * b) / 0.7152;
            rgb.extend([r, g, b].map(|c| (c * 255.0).round().clamp(0.0, 255.0) as u8));
        }
        rgb
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
