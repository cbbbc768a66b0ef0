//! tiny-world, the embedded model: what it knows, and a judge of what it makes.

mod judge;
mod outline;
mod score;
mod template;
mod world;

pub use judge::{Judge, Verdict};
pub use score::{Score, judged_clip};
pub use world::{
    Attributes, BACKGROUNDS, COLOURS, FRAMES, KNOWN_COLOURS, KNOWN_SHAPES, MOTIONS, Rgb, SHAPES, SIZE, draw_clip,
};
