//! Pictures and videos from files: what a generation may start from.
//!
//! The key decision: a file comes from anybody, so its size is known and limited before it is decoded: sides, bytes of a
//! picture, frames and bytes of a whole clip. What a file is, is told by its first bytes, not by its name; pictures are turned as
//! they say that they are to be shown.

mod clips;
mod error;
mod init_media;
mod limits;
mod pictures;
#[cfg(test)]
mod tests;

pub use error::MediaError;
pub use init_media::InitMedia;
pub use pictures::{open_mask, open_picture, picture_files};
