//! What is taught, what is kept for the exam, and how it is drawn.

use std::{error::Error, fs, path::Path};

use image::{ImageError, RgbImage};
use rayon::prelude::*;
use t2v_examples::tiny_world::{
    Attributes, BACKGROUNDS, COLOURS, KNOWN_COLOURS, KNOWN_SHAPES, MOTIONS, Rgb, SHAPES, SIZE, draw_clip,
};
use t2v_schedulers::TorchGenerator;

/// Motions and backgrounds that no clip of the new subject has.
const UNSEEN_MOTIONS: [&str; 2] = ["bouncing", "shrinking"];
const UNSEEN_BACKGROUNDS: [&str; 2] = ["at night", "in the snow"];

/// What can be asked about is not rehearsed, this much of it even where an exam asks less: one LoRA can take several exams.
const NEVER_REHEARSED: usize = 200;

/// Folders of the clips.
pub(crate) const NEW: &str = "new";
pub(crate) const KNOWN: &str = "known";

/// Clips to learn from, and prompts of the exams.
pub(crate) struct Lesson {
    /// The new subject in the motions and on the backgrounds that are shown: 24 clips.
    new: Vec<Attributes>,
    /// What the model knows already, of what it was once trained on. Most of it is in the motions and on the backgrounds of the new subject, or the
    /// model could tell by these whether it is asked for what is new; the rest is in others, or it would forget those.
    rehearsed: Vec<Attributes>,
    /// Prompts of the new subject, each with a motion or a background that it was not seen with.
    pub(crate) new_exam: Vec<Attributes>,
    /// Prompts of what the model knew, none of them rehearsed.
    pub(crate) old_exam: Vec<Attributes>,
}

fn is_unseen(attributes: &Attributes) -> bool {
    UNSEEN_MOTIONS.contains(&MOTIONS[attributes.motion])
        || UNSEEN_BACKGROUNDS.contains(&BACKGROUNDS[attributes.background])
}

fn shuffled(all: impl Iterator<Item = Attributes>) -> Vec<Attributes> {
    let all: Vec<Attributes> = all.collect();
    let order = TorchGenerator::new(0).permutation(all.len());
    order.into_iter().map(|i| all[i]).collect()
}

impl Lesson {
    /// `rehearsed` clips of what is known, of which `elsewhere` have motions or backgrounds that the new subject isn't shown with.
    pub(crate) fn new([rehearsed, elsewhere]: [usize; 2], [new_prompts, old_prompts]: [usize; 2]) -> Self {
        let subject = || Attributes::of(KNOWN_COLOURS, KNOWN_SHAPES);
        let unseen = shuffled(subject().filter(is_unseen));
        let mut old_exam = shuffled(Attributes::all());
        let mut rest = old_exam.split_off(old_prompts.max(NEVER_REHEARSED).min(old_exam.len()));
        old_exam.truncate(old_prompts);
        rest.retain(|attributes| !attributes.is_held_out());
        let (others, here): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_unseen);
        let elsewhere = elsewhere.min(rehearsed);
        Self {
            new: subject().filter(|attributes| !is_unseen(attributes)).collect(),
            rehearsed: here
                .into_iter()
                .take(rehearsed - elsewhere)
                .chain(others.into_iter().take(elsewhere))
                .collect(),
            new_exam: unseen.into_iter().cycle().take(new_prompts).collect(),
            old_exam,
        }
    }

    /// Draws the clips into two folders, as pictures with captions and with masks of the subject.
    ///
    /// # Errors
    /// A folder has clips of another lesson, or can't be written to.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        for (name, clips) in [(NEW, &self.new), (KNOWN, &self.rehearsed)] {
            let folder = folder.join(name);
            fs::create_dir_all(&folder)?;
            write(&folder, clips)?;
            println!("{} clips with captions in `{}`", clips.len(), folder.display());
        }
        Ok(())
    }
}

fn write(folder: &Path, clips: &[Attributes]) -> Result<(), Box<dyn Error>> {
    let clips: Vec<(String, &Attributes)> = clips.iter().enumerate().map(named).collect();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.extension().is_some_and(|end| end == "txt") && !clips.iter().any(|(name, _)| *name == stem) {
            let path = path.display();
            return Err(format!("`{path}` is of another lesson; remove it, or give another --dir").into());
        }
    }
    clips
        .par_iter()
        .enumerate()
        .try_for_each(|(seed, (name, attributes))| {
            let (clip, mask) = drawn(**attributes, seed as u64);
            save(&clip, &folder.join(name))?;
            save(&mask, &folder.join(format!("{name}.mask")))?;
            fs::write(folder.join(format!("{name}.txt")), attributes.prompt()).map_err(ImageError::IoError)
        })?;
    Ok(())
}

/// A clip as a folder of pictures.
fn save(clip: &[Rgb], folder: &Path) -> Result<(), ImageError> {
    fs::create_dir_all(folder)?;
    for (i, frame) in clip.chunks_exact(SIZE * SIZE).enumerate() {
        picture(frame).save(folder.join(format!("{i:02}.png")))?;
    }
    Ok(())
}

/// A clip, and white where its subject is: where it looks otherwise if the subject has another colour.
fn drawn(attributes: Attributes, seed: u64) -> (Vec<Rgb>, Vec<Rgb>) {
    let colour = (attributes.colour + 1) % COLOURS.len();
    let clip = draw_clip(attributes, seed);
    let other = draw_clip(Attributes { colour, ..attributes }, seed);
    let is_other = clip.iter().zip(&other).map(|(a, b)| a != b);
    let mask = is_other
        .map(|is_subject| [if is_subject { 255.0 } else { 0.0 }; 3])
        .collect();
    (clip, mask)
}

/// A clip's name: its number and what it shows.
fn named((i, attributes): (usize, &Attributes)) -> (String, &Attributes) {
    let Attributes {
        colour, shape, motion, ..
    } = *attributes;
    let name = format!("{i:02}_{}_{}_{}", COLOURS[colour].0, SHAPES[shape], MOTIONS[motion]);
    (name.replace(' ', "_"), attributes)
}

fn picture(frame: &[Rgb]) -> RgbImage {
    RgbImage::from_fn(SIZE as u32, SIZE as u32, |x, y| {
        image::Rgb(frame[y as usize * SIZE + x as usize].map(|value| value.round() as u8))
    })
}
