//! How much is read.

/// What [`Reader`](crate::Reader) and [`read_frames`](crate::read_frames) take on: a file that exceeds it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadLimits {
    /// The most frames. By default 1024.
    pub frames: u32,
    /// The most pixels of either side. By default 8192. A picture may have no more than 9437184 pixels in any case, which is
    /// level 5.2 of H.264.
    pub side: u32,
    /// The most bytes of all RGB8 frames together, which [`read_frames`](crate::read_frames) keeps in memory. By default
    /// 4 GiB. A [`Reader`](crate::Reader) keeps no frames and does not heed it.
    pub bytes: u64,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            frames: 1024,
            side: 8192,
            bytes: 4 << 30,
        }
    }
}

impl ReadLimits {
    /// The same with another limit of [`frames`](Self::frames).
    #[must_use]
    pub const fn with_frames(mut self, frames: u32) -> Self {
        self.frames = frames;
        self
    }

    /// The same with another limit of the [`side`](Self::side).
    #[must_use]
    pub const fn with_side(mut self, pixels: u32) -> Self {
        self.side = pixels;
        self
    }

    /// The same with another limit of [`bytes`](Self::bytes).
    #[must_use]
    pub const fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }
}
