//! tiny-world, the embedded model: what it knows, and a judge of what it makes.

mod judge;
mod outline;
mod template;
mod world;

pub use judge::{Judge, Verdict};
pub use world::{Attributes, BACKGROUNDS, COLOURS, FRAMES, MOTIONS, Rgb, SHAPES, SIZE, draw_clip};
