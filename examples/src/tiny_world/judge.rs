//! Reads a clip and says what it shows, by measurement alone: no network, no knowledge of the prompt.
//!
//! The background is the one whose still picture is nearest to the median of the frames. The colour is the one that most
//! pixels are nearest to, of those that are not background. The shape is the one whose outline, laid over the frames at
//! its best place, size and angle, leaves least unexplained. The motion is read from the places, sizes and angles.

use std::{f32::consts::TAU, fmt};

use super::{
    outline::Outline,
    template::{Fit, Likeness, Templates},
    world::{BACKGROUNDS, COLOURS, KNOWN_COLOURS, KNOWN_SHAPES, MOTIONS, Rgb, SHAPES, SIZE, detail, still},
};

/// Mean distance of a channel from the still picture above which a background is none of them.
const STRANGE_BACKGROUND: f32 = 40.0;
/// Distance from a colour, of 0 to 441, above which a pixel does not have it.
const STRANGE_COLOUR: f32 = 80.0;
/// Pixels of a colour that a frame must have on average before it counts.
const FEWEST_PIXELS: f32 = 12.0;

/// What a clip shows, `None` for what can't be made out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Place in [`COLOURS`].
    pub colour: Option<usize>,
    /// Place in [`SHAPES`].
    pub shape: Option<usize>,
    /// Place in [`MOTIONS`].
    pub motion: Option<usize>,
    /// Place in [`BACKGROUNDS`].
    pub background: Option<usize>,
}

impl fmt::Display for Verdict {
    /// As a prompt would say it, with what can't be made out named as such.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colour = self.colour.map_or("no colour", |i| COLOURS[i].0);
        let shape = self.shape.map_or("no shape", |i| SHAPES[i]);
        let motion = self.motion.map_or("without a known motion", |i| MOTIONS[i]);
        let background = self.background.map_or("on an unknown background", |i| BACKGROUNDS[i]);
        write!(f, "{colour} {shape} {motion} {background}")
    }
}

/// Judges clips. It holds templates of its shapes, which take a second to make.
pub struct Judge {
    templates: Templates,
    /// How many of [`COLOURS`] it tells apart.
    colours: usize,
}

impl Default for Judge {
    fn default() -> Self {
        Self::new()
    }
}

fn distance(a: Rgb, b: Rgb) -> f32 {
    ((a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2) + (a[2] - b[2]).powi(2)).sqrt()
}

fn row(pixel: usize) -> f32 {
    (pixel / SIZE) as f32 + 0.5
}

/// A line through values at evenly spaced times: its change over the clip, and the standard deviation from it.
struct Line {
    change: f32,
    deviation: f32,
}

impl Line {
    fn through(values: &[f32]) -> Self {
        let n = values.len().max(2) as f32;
        let mean = values.iter().sum::<f32>() / n;
        let middle = (n - 1.0) / 2.0;
        let times = || (0..values.len()).map(|i| i as f32 - middle);
        let slope =
            values.iter().zip(times()).map(|(v, t)| v * t).sum::<f32>() / times().map(|t| t * t).sum::<f32>().max(1.0);
        let squares = values
            .iter()
            .zip(times())
            .map(|(v, t)| (v - mean - slope * t).powi(2))
            .sum::<f32>();
        Self {
            change: slope * (n - 1.0),
            deviation: (squares / n).sqrt(),
        }
    }
}

impl Judge {
    /// A judge of what tiny-world knows.
    #[must_use]
    pub fn new() -> Self {
        Self::of(KNOWN_COLOURS, KNOWN_SHAPES)
    }

    /// A judge who has also heard of what tiny-world can be taught, and must tell that from all else.
    #[must_use]
    pub fn of_all() -> Self {
        Self::of(COLOURS.len(), SHAPES.len())
    }

    /// A judge of the first `colours` of [`COLOURS`] and `shapes` of [`SHAPES`].
    fn of(colours: usize, shapes: usize) -> Self {
        Self {
            templates: Templates::new(shapes),
            colours,
        }
    }

    /// Judges a clip of [`SIZE`] x [`SIZE`] frames, as [`draw_clip`](super::draw_clip) gives them.
    #[must_use]
    pub fn judge(&self, clip: &[Rgb]) -> Verdict {
        let frames: Vec<&[Rgb]> = clip.chunks_exact(SIZE * SIZE).collect();
        let nothing = Verdict {
            colour: None,
            shape: None,
            motion: None,
            background: None,
        };
        let Some((background, strange)) = background(&frames) else {
            return nothing;
        };
        let verdict = Verdict {
            background: (!strange).then_some(background),
            ..nothing
        };
        let Some(colour) = colour(&frames, background, self.colours) else {
            return verdict;
        };
        let likenesses: Vec<Likeness> = frames.iter().map(|frame| likeness(frame, colour, background)).collect();
        let places: Vec<Fit> = likenesses.iter().map(|l| self.templates.locate(l)).collect();
        let upright = self.best_shape(&likenesses, &places, false);
        let moved = translation_or_growth(&upright.1);
        let (shape, fits) = if moved.is_some() {
            upright
        } else {
            self.best_shape(&likenesses, &places, true)
        };
        let motion = moved.or_else(|| is_spinning(&frames, colour, shape, &fits).then_some("spinning"));
        Verdict {
            colour: Some(colour),
            shape: Some(shape),
            motion: motion.and_then(|name| MOTIONS.iter().position(|m| *m == name)),
            ..verdict
        }
    }

    fn best_shape(&self, likenesses: &[Likeness], places: &[Fit], turned: bool) -> (usize, Vec<Fit>) {
        let fits_of = |shape| -> Vec<Fit> {
            let fit = |i: usize, near: Fit| self.templates.fit(&likenesses[i], shape, near, turned);
            let mut fits: Vec<Fit> = places.iter().enumerate().map(|(i, place)| fit(i, *place)).collect();
            // A fit that went astray is put right from the frame before or after it.
            let last = fits.len().saturating_sub(1);
            let neighbours = (1..=last)
                .map(|i| (i, i - 1))
                .chain((0..last).rev().map(|i| (i, i + 1)));
            for (i, neighbour) in neighbours {
                let other = fit(i, fits[neighbour]);
                if other.error < fits[i].error {
                    fits[i] = other;
                }
            }
            fits
        };
        let error = |fits: &[Fit]| fits.iter().map(|f| f.error).sum::<f32>();
        (1..self.templates.shapes()).fold((0, fits_of(0)), |best, shape| {
            let fits = fits_of(shape);
            if error(&fits) < error(&best.1) {
                (shape, fits)
            } else {
                best
            }
        })
    }
}

/// The background, and whether it is far from all that are known.
fn background(frames: &[&[Rgb]]) -> Option<(usize, bool)> {
    let median: Vec<Rgb> = (0..SIZE * SIZE)
        .map(|pixel| {
            std::array::from_fn(|channel| {
                let mut values: Vec<f32> = frames.iter().map(|f| f[pixel][channel]).collect();
                values.sort_by(f32::total_cmp);
                values.get(values.len() / 2).copied().unwrap_or(0.0)
            })
        })
        .collect();
    let off = |background: usize| {
        let mut offs: Vec<f32> = median
            .iter()
            .enumerate()
            .map(|(pixel, colour)| distance(*colour, still(background, row(pixel))) / 3.0_f32.sqrt())
            .collect();
        // The best two thirds: a subject that stands still covers a third at most.
        offs.sort_by(f32::total_cmp);
        offs.truncate(offs.len() * 2 / 3);
        offs.iter().sum::<f32>() / offs.len() as f32
    };
    (0..BACKGROUNDS.len())
        .map(|background| (background, off(background)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(background, off)| (background, off > STRANGE_BACKGROUND))
}

fn from_background(pixel: Rgb, background: usize, row: f32, with_details: bool) -> f32 {
    let still = distance(pixel, still(background, row));
    match detail(background).filter(|_| with_details) {
        Some(detail) => still.min(distance(pixel, detail)),
        None => still,
    }
}

/// The colour of the subject, of the first `colours`. Clouds, stars and flakes are white too, so white is what is left where no
/// other colour is.
fn colour(frames: &[&[Rgb]], background: usize, colours: usize) -> Option<usize> {
    let is_white = |colour: usize| COLOURS[colour].0 == "white";
    let mut counts = vec![0.0_f32; colours];
    for (pixel, colour) in frames.iter().flat_map(|frame| frame.iter().enumerate()) {
        let (nearest, off) = (0..colours)
            .map(|i| (i, distance(*colour, COLOURS[i].1)))
            .min_by(|a, b| a.1.total_cmp(&b.1))?;
        let background_off = from_background(*colour, background, row(pixel), !is_white(nearest));
        if off < STRANGE_COLOUR && off < background_off {
            counts[nearest] += 1.0 / frames.len() as f32;
        }
    }
    let white = (0..colours).find(|i| is_white(*i))?;
    let most = (0..colours)
        .filter(|i| *i != white)
        .max_by(|a, b| counts[*a].total_cmp(&counts[*b]))?;
    if counts[most] >= FEWEST_PIXELS.max(0.3 * counts[white]) {
        Some(most)
    } else {
        (counts[white] >= FEWEST_PIXELS).then_some(white)
    }
}

fn likeness(frame: &[Rgb], colour: usize, background: usize) -> Likeness {
    let rgb = COLOURS[colour].1;
    let white = COLOURS[colour].0 == "white";
    let own = [rgb, rgb.map(|v| v * 0.72), rgb.map(|v| v * 0.25 + 191.0)];
    let (subject, weight) = frame
        .iter()
        .enumerate()
        .map(|(pixel, value)| {
            let background_off = from_background(*value, background, row(pixel), !white).powi(2);
            let subject_off = own
                .iter()
                .map(|o| distance(*value, *o))
                .fold(f32::INFINITY, f32::min)
                .powi(2);
            let contrast = distance(rgb, still(background, row(pixel)));
            (
                background_off / (background_off + subject_off + 1.0),
                (contrast / 100.0).min(1.0),
            )
        })
        .unzip();
    Likeness { subject, weight }
}

/// The motion, if the subject's place or size changes.
fn translation_or_growth(fits: &[Fit]) -> Option<&'static str> {
    let line = |value: fn(&Fit) -> f32| Line::through(&fits.iter().map(value).collect::<Vec<_>>());
    let (x, y, size) = (line(|f| f.x as f32), line(|f| f.y as f32), line(|f| f.radius.ln()));
    let directed = |change: f32, negative, positive| if change < 0.0 { negative } else { positive };
    let n = SIZE as f32;
    [
        (
            x.change.abs() / (0.2 * n),
            directed(x.change, "moving left", "moving right"),
        ),
        (y.change.abs() / (0.2 * n), directed(y.change, "rising", "falling")),
        (size.change.abs() / 0.6, directed(size.change, "shrinking", "growing")),
        (y.deviation / (0.05 * n), "bouncing"),
    ]
    .into_iter()
    .filter(|(score, _)| *score > 1.0)
    .max_by(|a, b| a.0.total_cmp(&b.0))
    .map(|(_, name)| name)
}

/// Whether a subject that keeps its place turns: by its angle, or by the highlight of a ball or the mark of a ring.
fn is_spinning(frames: &[&[Rgb]], colour: usize, shape: usize, fits: &[Fit]) -> bool {
    let (angles, period): (Vec<f32>, f32) = match SHAPES[shape] {
        // The highlight of a white ball is white: nobody could tell.
        "ball" if COLOURS[colour].0 == "white" => return true,
        "ball" | "ring" => {
            let ring = SHAPES[shape] == "ring";
            let marks: Vec<[f32; 2]> = frames
                .iter()
                .zip(fits)
                .map(|(frame, fit)| mark(frame, colour, ring, *fit))
                .collect();
            // What does not turn is the edge, seen through pixels.
            let mean: [f32; 2] = std::array::from_fn(|i| marks.iter().map(|m| m[i]).sum::<f32>() / marks.len() as f32);
            (
                marks.iter().map(|m| (m[1] - mean[1]).atan2(m[0] - mean[0])).collect(),
                TAU,
            )
        }
        _ => (fits.iter().map(|f| f.angle).collect(), Outline::period(shape)),
    };
    let turned: f32 = angles
        .windows(2)
        .map(|pair| {
            let step = (pair[1] - pair[0]).rem_euclid(period);
            if step > period / 2.0 { step - period } else { step }
        })
        .sum();
    turned.abs() > TAU / 4.0
}

/// Where, from the centre, a ball is lighter than its colour, or a ring darker.
fn mark(frame: &[Rgb], colour: usize, ring: bool, fit: Fit) -> [f32; 2] {
    let rgb = COLOURS[colour].1;
    let towards: Rgb = if ring {
        rgb.map(|v| -0.28 * v)
    } else {
        rgb.map(|v| 255.0 - v)
    };
    let length = towards.iter().map(|v| v * v).sum::<f32>();
    let (mut sx, mut sy) = (0.0, 0.0);
    for (pixel, value) in frame.iter().enumerate() {
        let (dx, dy) = (
            (pixel % SIZE) as f32 - fit.x as f32,
            (pixel / SIZE) as f32 - fit.y as f32,
        );
        let distance = dx.hypot(dy) / fit.radius;
        let within = if ring {
            (0.7..0.95).contains(&distance)
        } else {
            distance < 0.75
        };
        if within {
            let along = (0..3).map(|i| (value[i] - rgb[i]) * towards[i]).sum::<f32>() / length;
            let marked = along.clamp(0.0, 1.0).powi(2);
            sx += marked * dx;
            sy += marked * dy;
        }
    }
    [sx, sy]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiny_world::{Attributes, draw_clip};

    /// What a judge says wrongly of drawings.
    fn misjudged(judge: &Judge, sample: &[Attributes]) -> Vec<String> {
        sample
            .iter()
            .enumerate()
            .filter_map(|(i, attributes)| {
                let verdict = judge.judge(&draw_clip(*attributes, i as u64));
                let right = Verdict {
                    colour: Some(attributes.colour),
                    shape: Some(attributes.shape),
                    motion: Some(attributes.motion),
                    background: Some(attributes.background),
                };
                (verdict != right).then(|| format!("{}: {verdict:?}", attributes.prompt()))
            })
            .collect()
    }

    #[test]
    fn names_what_a_drawing_shows() {
        let sample: Vec<Attributes> = Attributes::all().step_by(89).collect();
        let wrong = misjudged(&Judge::new(), &sample);
        assert!(wrong.is_empty(), "{} wrong: {wrong:#?}", wrong.len());
    }

    #[test]
    fn what_can_be_taught_is_told_from_what_is_known() {
        let (teal, cross) = (KNOWN_COLOURS, KNOWN_SHAPES);
        let known = Attributes::all().step_by(97);
        let taught = Attributes::of(teal, cross).step_by(5);
        // One of the two new, beside what is nearest to the other.
        let half = Attributes::of(teal, 3)
            .step_by(17)
            .chain(Attributes::of(1, cross).step_by(17));
        let half = half.chain(Attributes::of(2, cross).step_by(17));
        let sample: Vec<Attributes> = known.chain(taught).chain(half).collect();
        let wrong = misjudged(&Judge::of_all(), &sample);
        // White at its edges is like teal on the sea.
        let (wrong_ones, all) = (wrong.len(), sample.len());
        assert!(wrong_ones * 40 <= all, "{wrong_ones} of {all} wrong: {wrong:#?}");
    }

    #[test]
    fn a_verdict_reads_like_a_prompt() {
        let seen = Verdict {
            colour: Some(0),
            shape: Some(1),
            motion: Some(2),
            background: Some(3),
        };
        assert_eq!(seen.to_string(), "red square rising at night");
        let unseen = Verdict {
            motion: None,
            background: None,
            ..seen
        };
        assert_eq!(
            unseen.to_string(),
            "red square without a known motion on an unknown background"
        );
    }

    #[test]
    fn a_judge_of_the_known_never_names_the_new() {
        let attributes = Attributes {
            colour: KNOWN_COLOURS,
            shape: KNOWN_SHAPES,
            motion: 0,
            background: 0,
        };
        let verdict = Judge::new().judge(&draw_clip(attributes, 1));
        assert!(
            verdict.colour.is_none_or(|colour| colour < KNOWN_COLOURS),
            "{verdict:?}"
        );
        assert!(verdict.shape.is_none_or(|shape| shape < KNOWN_SHAPES), "{verdict:?}");
    }

    #[test]
    fn an_empty_scene_shows_no_subject() {
        let clip: Vec<Rgb> = (0..16 * SIZE * SIZE)
            .map(|i| still(2, row(i % (SIZE * SIZE))))
            .collect();
        let verdict = Judge::new().judge(&clip);
        assert_eq!(verdict.background, Some(2));
        assert_eq!((verdict.colour, verdict.shape, verdict.motion), (None, None, None));
    }

    #[test]
    fn an_unknown_background_is_none() {
        let verdict = Judge::new().judge(&vec![[0.0, 255.0, 0.0]; 16 * SIZE * SIZE]);
        assert_eq!(verdict.background, None);
    }
}
