//! What tiny-world knows and can be taught, and a drawing of it: the ground truth on which the judge is validated.
//!
//! Mirrors `assets/tiny-world/training/world.py`, which drew the training clips. Lengths are in pixels of the frame.

use std::f32::consts::{PI, TAU};

use super::outline::Outline;

/// Frames of a clip.
pub const FRAMES: usize = 16;
/// Width and height of a frame.
pub const SIZE: usize = 64;
/// Samples of a pixel in each direction.
const SAMPLES: usize = 3;

/// Red, green and blue, 0 to 255.
pub type Rgb = [f32; 3];

/// Names and values of the colours. The last is one that tiny-world does not know, and can be taught.
pub const COLOURS: [(&str, Rgb); 9] = [
    ("red", [220.0, 40.0, 40.0]),
    ("green", [40.0, 170.0, 70.0]),
    ("blue", [50.0, 90.0, 220.0]),
    ("yellow", [245.0, 210.0, 50.0]),
    ("purple", [150.0, 60.0, 190.0]),
    ("orange", [245.0, 140.0, 40.0]),
    ("pink", [245.0, 130.0, 180.0]),
    ("white", [245.0, 245.0, 245.0]),
    ("teal", [50.0, 128.0, 155.0]),
];
/// How many of [`COLOURS`] tiny-world knows.
pub const KNOWN_COLOURS: usize = 8;
/// Names of the shapes. The last is one that tiny-world does not know, and can be taught.
pub const SHAPES: [&str; 8] = [
    "ball", "square", "triangle", "star", "heart", "ring", "diamond", "cross",
];
/// How many of [`SHAPES`] tiny-world knows.
pub const KNOWN_SHAPES: usize = 7;
/// Names of the motions.
pub const MOTIONS: [&str; 8] = [
    "moving left",
    "moving right",
    "rising",
    "falling",
    "bouncing",
    "spinning",
    "growing",
    "shrinking",
];
/// Names of the backgrounds.
pub const BACKGROUNDS: [&str; 6] = [
    "on a black background",
    "in a blue sky",
    "over the sea",
    "at night",
    "in the snow",
    "in the desert at sunset",
];

/// What a clip shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Place in [`COLOURS`].
    pub colour: usize,
    /// Place in [`SHAPES`].
    pub shape: usize,
    /// Place in [`MOTIONS`].
    pub motion: usize,
    /// Place in [`BACKGROUNDS`].
    pub background: usize,
}

impl Attributes {
    /// Every combination of what tiny-world knows.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..KNOWN_COLOURS).flat_map(|colour| (0..KNOWN_SHAPES).flat_map(move |shape| Self::of(colour, shape)))
    }

    /// Every motion of a colour and shape, on every background.
    pub fn of(colour: usize, shape: usize) -> impl Iterator<Item = Self> {
        let count = MOTIONS.len() * BACKGROUNDS.len();
        (0..count).map(move |i| Self {
            colour,
            shape,
            motion: i / BACKGROUNDS.len(),
            background: i % BACKGROUNDS.len(),
        })
    }

    /// Whether the model never saw this colour, shape and motion together.
    #[must_use]
    pub fn is_held_out(&self) -> bool {
        let key = [COLOURS[self.colour].0, SHAPES[self.shape], MOTIONS[self.motion]].join("|");
        crc32fast::hash(key.as_bytes()).is_multiple_of(10)
    }

    /// The plainest caption.
    #[must_use]
    pub fn prompt(&self) -> String {
        let colour = COLOURS[self.colour].0;
        let article = if colour == "orange" { "an" } else { "a" };
        let (shape, motion) = (SHAPES[self.shape], MOTIONS[self.motion]);
        format!("{article} {colour} {shape} {motion} {}", BACKGROUNDS[self.background])
    }
}

struct Chance(fastrand::Rng);

impl Chance {
    fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.0.f32()
    }
}

fn mix(a: Rgb, b: Rgb, t: f32) -> Rgb {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * t)
}

/// The still part of a background at height `y`.
#[must_use]
pub(super) fn still(background: usize, y: f32) -> Rgb {
    let n = SIZE as f32;
    let gradient =
        |top: Rgb, bottom: Rgb, from: f32, to: f32| mix(top, bottom, ((y - from) / (to - from)).clamp(0.0, 1.0));
    let (sea, dunes) = (n * 5.0 / 8.0, n * 11.0 / 16.0);
    match background {
        0 => [10.0, 10.0, 12.0],
        1 => gradient([90.0, 160.0, 235.0], [190.0, 225.0, 250.0], 0.0, n),
        2 if y < sea => gradient([150.0, 205.0, 245.0], [225.0, 240.0, 250.0], 0.0, sea),
        2 => gradient([40.0, 120.0, 180.0], [15.0, 60.0, 120.0], sea, n),
        3 => gradient([8.0, 10.0, 40.0], [40.0, 40.0, 95.0], 0.0, n),
        4 if y < n * 0.75 => gradient([175.0, 190.0, 205.0], [205.0, 215.0, 225.0], 0.0, n),
        4 => [240.0, 244.0, 248.0],
        _ if y < dunes => gradient([120.0, 60.0, 120.0], [250.0, 160.0, 80.0], 0.0, dunes),
        _ => gradient([205.0, 150.0, 85.0], [170.0, 115.0, 60.0], dunes, n),
    }
}

/// The colour of what moves in a background, or stands in it at random places: clouds, waves, stars, flakes, the sun.
#[must_use]
pub(super) fn detail(background: usize) -> Option<Rgb> {
    [
        None,
        Some([250.0, 252.0, 255.0]),
        Some([120.0, 180.0, 220.0]),
        Some([250.0, 250.0, 220.0]),
        Some([255.0, 255.0, 255.0]),
        Some([255.0, 225.0, 130.0]),
    ][background]
}

/// Where the details of one background are.
struct Details {
    background: usize,
    /// Centres and radii of clouds, stars or flakes.
    spots: Vec<[f32; 3]>,
    wave_phase: f32,
    sun: f32,
}

impl Details {
    fn draw(background: usize, chance: &mut Chance) -> Self {
        let n = SIZE as f32;
        let (count, depth, radii) = match background {
            1 => (3, 0.5, [3.5, 6.5]),
            3 => (8, 0.8, [0.75, 1.25]),
            4 => (9, 1.0, [1.125, 1.75]),
            _ => (0, 0.0, [0.0; 2]),
        };
        let spots = (0..count)
            .map(|_| {
                let (x, y) = (chance.between(0.0, n), chance.between(0.0, n * depth));
                [x, y, chance.between(radii[0], radii[1])]
            })
            .collect();
        Self {
            background,
            spots,
            wave_phase: chance.between(0.0, TAU),
            sun: chance.between(n * 0.2, n * 0.8),
        }
    }

    fn covers(&self, x: f32, y: f32, t: f32) -> bool {
        let n = SIZE as f32;
        let within = |cx: f32, cy: f32, rx: f32, ry: f32| ((x - cx) / rx).powi(2) + ((y - cy) / ry).powi(2) < 1.0;
        match self.background {
            1 => self.spots.iter().any(|&[cx, cy, r]| {
                let cx = (cx + t * 5.0) % (n + 15.0) - 7.5;
                [-1.0_f32, 0.0, 1.0].iter().any(|k| {
                    let lift = k.abs() * r * 0.075;
                    within(cx + k * r * 0.9, cy + lift, r * 0.8, r * 0.55 - lift)
                })
            }),
            2 => (0..3).any(|row| {
                let wave = (x * 4.0 / 18.0 + self.wave_phase + t * TAU + row as f32).sin();
                (y - (n * 5.0 / 8.0 + 4.0 + row as f32 * 6.0 + wave)).abs() < 0.5
            }),
            3 => self.spots.iter().any(|&[cx, cy, r]| within(cx, cy, r, r)),
            4 => self
                .spots
                .iter()
                .any(|&[cx, cy, r]| within(cx, (cy + t * 17.5) % n, r, r)),
            5 => y < n * 0.55 + 2.5 && within(self.sun, n * 0.55 + 2.5, 8.5, 8.5),
            _ => false,
        }
    }
}

/// The subject in one frame.
struct Subject {
    outline: Outline,
    centre: [f32; 2],
    colour: Rgb,
    angle: f32,
    /// A spinning ring carries a mark.
    marked: bool,
}

impl Subject {
    fn colour_at(&self, x: f32, y: f32) -> Option<Rgb> {
        let (x, y) = (x - self.centre[0], y - self.centre[1]);
        let depth = self.outline.depth(x, y);
        if depth <= 0.0 {
            return None;
        }
        let (r, dark) = (self.outline.radius, self.colour.map(|v| v * 0.72));
        let near = |distance: f32, angle: f32, size: f32| {
            (x - distance * angle.cos()).hypot(y - distance * angle.sin()) < size
        };
        Some(match SHAPES[self.outline.shape] {
            "ring" if self.marked && near(r * 0.82, self.angle, r * 0.16) => dark,
            "ring" => self.colour,
            "ball" if near(r * 0.45, self.angle - 2.2, r * 0.22) => mix(self.colour, [255.0; 3], 0.75),
            _ if depth < 1.0 => dark,
            _ => self.colour,
        })
    }
}

/// Draws a clip: frames in time order, rows from the top, red, green and blue 0 to 255.
#[must_use]
pub fn draw_clip(attributes: Attributes, seed: u64) -> Vec<Rgb> {
    let mut chance = Chance(fastrand::Rng::with_seed(seed));
    let details = Details::draw(attributes.background, &mut chance);
    let n = SIZE as f32;
    let r0 = chance.between(0.17, 0.23) * n;
    let (x0, y0) = (chance.between(0.35, 0.65) * n, chance.between(0.35, 0.6) * n);
    let (speed, phase) = (chance.between(0.45, 0.6), chance.between(0.0, TAU));
    let spin = if chance.0.bool() { 1.0 } else { -1.0 };
    let mut clip = Vec::with_capacity(FRAMES * SIZE * SIZE);
    for frame in 0..FRAMES {
        let t = frame as f32 / (FRAMES - 1) as f32;
        let (mut x, mut y, mut r, mut angle) = (x0, y0, r0, 0.0);
        let path = speed * (t - 0.5) * n;
        match MOTIONS[attributes.motion] {
            "moving left" => x = n * 0.5 - path,
            "moving right" => x = n * 0.5 + path,
            "rising" => y = n * 0.5 - path,
            "falling" => y = n * 0.5 + path,
            "bouncing" => y = n * 0.72 - (phase + t * TAU).sin().abs() * n * 0.42,
            "spinning" => angle = spin * t * PI * 1.5,
            "growing" => r = r0 * (0.45 + t * 1.15),
            _ => r = r0 * (1.6 - t * 1.15),
        }
        let subject = Subject {
            outline: Outline::new(attributes.shape, r, angle),
            centre: [x, y],
            colour: COLOURS[attributes.colour].1,
            angle,
            marked: MOTIONS[attributes.motion] == "spinning",
        };
        for row in 0..SIZE {
            for column in 0..SIZE {
                let mut sum = [0.0; 3];
                for sample in 0..SAMPLES * SAMPLES {
                    let x = column as f32 + ((sample % SAMPLES) as f32 + 0.5) / SAMPLES as f32;
                    let y = row as f32 + ((sample / SAMPLES) as f32 + 0.5) / SAMPLES as f32;
                    let colour = subject.colour_at(x, y).unwrap_or_else(|| {
                        detail(attributes.background)
                            .filter(|_| details.covers(x, y, t))
                            .unwrap_or_else(|| still(attributes.background, y))
                    });
                    (0..3).for_each(|i| sum[i] += colour[i] / (SAMPLES * SAMPLES) as f32);
                }
                clip.push(sum);
            }
        }
    }
    clip
}
