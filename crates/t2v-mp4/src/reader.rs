//! Reads the frames of a video back.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::vec::IntoIter;

use crate::decoder::FrameDecoder;
use crate::demux::{MOST_HELD, Sample, VideoTrack};
use crate::error::{Mp4Error, Result};
use crate::fault::Fault;
use crate::limits::ReadLimits;
use crate::orientation::Orientation;
use crate::rate::FrameRate;
use crate::rgb::RgbConverter;

/// A whole video in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Clip {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames a second.
    pub frame_rate: FrameRate,
    /// RGB8 frames of `width * height * 3` values each, row by row.
    pub frames: Vec<Vec<u8>>,
}

/// Reads all frames of an MP4 file into memory. A [`Reader`] takes what it can read, and one frame at a time.
///
/// ```no_run
/// use t2v_mp4::{ReadLimits, read_frames};
///
/// # fn main() -> Result<(), t2v_mp4::Mp4Error> {
/// let clip = read_frames("in.mp4", ReadLimits::default().with_frames(128))?;
/// println!("{} frames of {}x{} pixels", clip.frames.len(), clip.width, clip.height);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As for [`Reader::open`] and for the reader's items, and [`Mp4Error::ReadLimit`] if all frames together have more bytes
/// than allowed.
pub fn read_frames(path: impl AsRef<Path>, limits: ReadLimits) -> Result<Clip> {
    let path = path.as_ref();
    let reader = Reader::open(path, limits)?;
    let (width, height, frame_rate) = (reader.width(), reader.height(), reader.frame_rate());
    let actual = u64::from(reader.frames()) * u64::from(width) * u64::from(height) * 3;
    if actual > limits.bytes {
        let (what, limit) = ("bytes of pixels", limits.bytes);
        return Err(Fault::of(path)(Fault::Limit { what, actual, limit }));
    }
    let frames = reader.collect::<Result<_>>()?;
    Ok(Clip {
        width,
        height,
        frame_rate,
        frames,
    })
}

/// Reads frame by frame, as an iterator of RGB8 pixels.
///
/// What it reads: an MP4 or QuickTime (`.mov`) file, fragmented or not, whose first video track is progressive 8-bit 4:2:0
/// H.264 (`avc1`) in Baseline, Main or High profile, as a [`Writer`](crate::Writer), cameras and `ffmpeg -pix_fmt yuv420p`
/// write it. Other tracks do not matter.
///
/// Frames come in the order in which they are shown (`ctts`), those that the edit list shows, turned and mirrored as the
/// track says (`tkhd`). Each comes once, however long it is shown: of a video whose rate varies, the
/// [frame rate](Reader::frame_rate) is the mean. A clean aperture (`clap`) is cut out, so that odd sizes come back as they
/// went in. The shape of pixels is not heeded.
///
/// Colours are converted by the matrix and range that `colr` or else the stream tells: BT.709 or BT.601; where neither does,
/// BT.709 for pictures above 1279×576 and BT.601 below, limited range. Chroma is interpolated from where the stream has it.
///
/// The file may be anything: no memory is taken on its word alone. After an error there are no more frames.
///
/// ```no_run
/// use t2v_mp4::{ReadLimits, Reader};
///
/// # fn main() -> Result<(), t2v_mp4::Mp4Error> {
/// let reader = Reader::open("in.mp4", ReadLimits::default())?;
/// println!("{} frames, {} a second", reader.frames(), reader.frame_rate());
/// for frame in reader {
///     let rgb: Vec<u8> = frame?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct Reader<R> {
    source: R,
    /// For messages.
    path: PathBuf,
    decoder: FrameDecoder,
    converter: RgbConverter,
    /// Left, top, width, height of what is shown, before it is turned.
    window: [u32; 4],
    orientation: Orientation,
    frame_rate: FrameRate,
    frames: u32,
    /// The number of the frame that comes next.
    next: u32,
    samples: IntoIter<Sample>,
    sample: Vec<u8>,
    /// Frames that are decoded before they are shown, by their numbers: at most [`MOST_HELD`].
    held: BTreeMap<u32, Vec<u8>>,
}

impl Reader<BufReader<File>> {
    /// Opens a file and reads its index.
    ///
    /// # Errors
    ///
    /// [`Mp4Error::Unsupported`] for a video of another kind; [`Mp4Error::ReadLimit`] for one of more frames or larger sides
    /// than allowed; [`Mp4Error::Malformed`] if it is not an MP4 file, or damaged; [`Mp4Error::Io`] if it cannot be read.
    pub fn open(path: impl AsRef<Path>, limits: ReadLimits) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(Mp4Error::io("open", path))?;
        Self::start(BufReader::new(file), path, limits)
    }
}

impl<R: Read + Seek> Reader<R> {
    /// [`open`](Reader::open)s anything that is like a file.
    ///
    /// # Errors
    ///
    /// As for `open`.
    pub fn new(source: R, limits: ReadLimits) -> Result<Self> {
        Self::start(source, Path::new("the input stream"), limits)
    }

    fn start(mut source: R, path: &Path, limits: ReadLimits) -> Result<Self> {
        let mut prepare = || {
            let track = VideoTrack::read(&mut source, &limits)?;
            let decoder = FrameDecoder::new(&track.entry)?;
            let size = (decoder.sps().width, decoder.sps().height);
            let longer = size.0.max(size.1);
            if longer > limits.side {
                let (what, actual, limit) = ("pixels in a side", longer.into(), limits.side.into());
                return Err(Fault::Limit { what, actual, limit });
            }
            let window = match track.entry.clean_aperture {
                Some(aperture) => aperture.window(size)?,
                None => [0, 0, size.0, size.1],
            };
            let converter = RgbConverter::new(track.entry.colour, decoder.sps())?;
            Ok((track, decoder, window, converter))
        };
        let (track, decoder, window, converter) = prepare().map_err(Fault::of(path))?;
        Ok(Self {
            source,
            path: path.to_path_buf(),
            decoder,
            converter,
            window,
            orientation: track.orientation,
            frame_rate: track.frame_rate,
            frames: track.frames,
            next: 0,
            samples: track.samples.into_iter(),
            sample: Vec::new(),
            held: BTreeMap::new(),
        })
    }

    /// Pixels in a row.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.shown_size().0
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.shown_size().1
    }

    /// Frames a second; their mean, where they differ in duration.
    #[must_use]
    pub fn frame_rate(&self) -> FrameRate {
        self.frame_rate
    }

    /// The number of frames of the whole video.
    #[must_use]
    pub fn frames(&self) -> u32 {
        self.frames
    }

    fn shown_size(&self) -> (u32, u32) {
        let [_, _, width, height] = self.window;
        self.orientation.size((width, height))
    }

    /// The next frame, for which others may have to be decoded first; None at the end.
    fn read_next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        loop {
            if let Some(frame) = self.held.remove(&self.next) {
                self.next += 1;
                return Ok(Some(frame));
            }
            let Some(sample) = self.samples.next() else {
                return Ok(None);
            };
            let frame = self.read(sample)?;
            if let (Some(number), Some(frame)) = (sample.number, frame) {
                debug_assert!(self.held.len() <= MOST_HELD);
                self.held.insert(number, frame);
            }
        }
    }

    /// Decodes a sample, and makes a frame of it if it is shown.
    fn read(&mut self, sample: Sample) -> Result<Option<Vec<u8>>, Fault> {
        if sample.size > self.decoder.largest_sample() {
            return Err(Fault::Malformed("a sample is larger than any picture of its size"));
        }
        self.source.seek(SeekFrom::Start(sample.offset))?;
        self.sample.resize(sample.size as usize, 0);
        self.source.read_exact(&mut self.sample)?;
        let picture = self.decoder.decode(&self.sample, sample.number.unwrap_or(self.next))?;
        let [_, _, width, height] = self.window;
        Ok(sample.number.map(|_| {
            let frame = self.converter.convert(&picture, self.window);
            self.orientation.apply(frame, (width, height))
        }))
    }
}

/// The frames in order: `width * height * 3` values each, row by row.
///
/// An item is [`Mp4Error::Decoder`] or [`Mp4Error::Malformed`] if the frame is damaged, [`Mp4Error::Unsupported`] if it is of
/// a kind that its file did not announce, [`Mp4Error::Io`] if it cannot be read.
impl<R: Read + Seek> Iterator for Reader<R> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.read_next();
        if frame.is_err() {
            self.samples = Vec::new().into_iter();
            self.held.clear();
            self.next = self.frames;
        }
        frame.map_err(Fault::of(&self.path)).transpose()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.frames - self.next) as usize;
        (left.min(1), Some(left))
    }
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("path", &self.path)
            .field("window", &self.window)
            .field("frame_rate", &self.frame_rate)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}
