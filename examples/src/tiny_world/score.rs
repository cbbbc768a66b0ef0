//! How often clips show what was asked for.

use super::{Attributes, Rgb, SIZE, Verdict};

/// How many clips are right, by what they were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Score {
    /// Clips.
    pub clips: usize,
    /// Right in colour, shape, motion, background, and in all four.
    pub right: [usize; 5],
    /// Right in colour and shape.
    pub subjects: usize,
}

impl Score {
    /// Counts a clip, and says whether it is right in all.
    pub fn add(&mut self, asked: &Attributes, seen: Verdict) -> bool {
        let right = [
            seen.colour == Some(asked.colour),
            seen.shape == Some(asked.shape),
            seen.motion == Some(asked.motion),
            seen.background == Some(asked.background),
        ];
        let all = right.iter().all(|right| *right);
        for (count, right) in self.right.iter_mut().zip(right.into_iter().chain([all])) {
            *count += usize::from(right);
        }
        self.subjects += usize::from(right[0] && right[1]);
        self.clips += 1;
        all
    }

    /// [`right`](Self::right) in percent.
    #[must_use]
    pub fn percent(&self) -> [f64; 5] {
        self.right.map(|right| self.percent_of(right))
    }

    /// How many of the clips are right in colour and shape, in percent.
    #[must_use]
    pub fn percent_of_subjects(&self) -> f64 {
        self.percent_of(self.subjects)
    }

    fn percent_of(&self, count: usize) -> f64 {
        100.0 * count as f64 / self.clips.max(1) as f64
    }
}

/// Frames in 0..1, of a shape of frames, height and width, as a judge takes them.
///
/// # Errors
/// A size of frames that no judge takes.
pub fn judged_clip(frames: &[f32], [count, height, width]: [usize; 3]) -> Result<Vec<Rgb>, String> {
    if height != SIZE || width != SIZE || count < 2 {
        return Err(format!(
            "the judge takes clips of {SIZE}x{SIZE}, at least 2 frames, not {count} of {width}x{height}"
        ));
    }
    let (pixels, _) = frames.as_chunks::<3>();
    Ok(pixels.iter().map(|rgb| rgb.map(|v| v * 255.0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_is_counted() {
        let asked = Attributes {
            colour: 1,
            shape: 2,
            motion: 3,
            background: 4,
        };
        let right = Verdict {
            colour: Some(1),
            shape: Some(2),
            motion: Some(3),
            background: Some(4),
        };
        let mut score = Score::default();
        assert!(score.add(&asked, right));
        assert!(!score.add(&asked, Verdict { motion: None, ..right }));
        let wrong = Verdict {
            shape: Some(1),
            ..right
        };
        assert!(!score.add(&asked, wrong) && !score.add(&asked, wrong));
        assert_eq!((score.clips, score.right, score.subjects), (4, [4, 2, 3, 4, 1], 2));
        assert_eq!(score.percent(), [100.0, 50.0, 75.0, 100.0, 25.0]);
    }

    #[test]
    fn clips_of_other_sizes_are_refused() {
        let message = judged_clip(&[0.0; 2 * 3 * 12], [2, 3, 4]).unwrap_err();
        assert!(message.contains("64x64") && message.contains("2 of 4x3"), "{message}");
    }
}
