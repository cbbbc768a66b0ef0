//! Encodes clips, then reads the files back with an MP4 parser of the tests' own and with
//! OpenH264's decoder. No other program is needed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod boxes;
mod clip;
mod container;
mod demux;
mod files;
mod formats;
mod frames;
mod metadata;
mod picture;
mod read_back;
