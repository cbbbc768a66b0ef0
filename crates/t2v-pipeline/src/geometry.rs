//! Which sizes a family's clips can have, and those of their latents.

use crate::ValidationError;

/// The sizes of clips and of their latents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Channels of the latents.
    pub(crate) channels: usize,
    /// Pixels that a latent stands for in each direction.
    pub(crate) spatial_factor: usize,
    /// What both sides are multiples of: the spatial factor, or more where the denoiser takes latents in patches.
    pub(crate) side_multiple: usize,
    /// The longest side, in pixels; no more than a request may have.
    pub(crate) max_side: u32,
    /// Frames that a latent frame after the first stands for: clips have `temporal_factor * k + 1` frames.
    pub(crate) temporal_factor: usize,
    /// The longest clip.
    pub(crate) max_frames: usize,
    /// The longest clip in windows of frames, where the denoiser can do that.
    pub(crate) windows_to: Option<usize>,
}

impl Geometry {
    /// `[1, channels, frames, height, width]` of the latents of a clip of frames, height and width.
    pub(crate) fn latent_shape(&self, [frames, height, width]: [usize; 3]) -> [usize; 5] {
        let frames = (frames - 1) / self.temporal_factor + 1;
        [
            1,
            self.channels,
            frames,
            height / self.spatial_factor,
            width / self.spatial_factor,
        ]
    }

    /// Frames of the clip that so many latent frames stand for.
    pub(crate) fn frames(&self, latent_frames: usize) -> usize {
        (latent_frames - 1) * self.temporal_factor + 1
    }

    /// Sides near the given ones that clips can have: both made smaller by the same factor where one is too large.
    pub(crate) fn nearest_size(&self, sides: [u32; 2]) -> [u32; 2] {
        let (factor, most) = (self.side_multiple as f64, f64::from(self.max_side));
        let longest = f64::from(sides[0].max(sides[1]));
        let scale = (most / longest).min(1.0);
        let most = (most / factor).floor();
        sides.map(|side| ((f64::from(side) * scale / factor).round().clamp(1.0, most) * factor) as u32)
    }

    /// A number of frames near the given one that clips can have.
    pub(crate) fn nearest_frames(&self, frames: u32) -> u32 {
        let (factor, most) = (self.temporal_factor as u32, self.max_frames as u32);
        let last = (most.max(1) - 1) / factor;
        let nearest = (frames.clamp(1, most) - 1 + factor / 2) / factor;
        nearest.min(last) * factor + 1
    }

    /// Adds what is wrong with a side, if anything.
    pub(crate) fn check_side(&self, field: &str, pixels: usize, faults: &mut ValidationError) {
        let (factor, most) = (
            self.side_multiple,
            self.max_side as usize / self.side_multiple * self.side_multiple,
        );
        if pixels > most {
            let fault = format!("The {field} may not be greater than {most} with this model, not {pixels}.");
            faults.add(field, fault);
            return;
        }
        if pixels.is_multiple_of(factor) {
            return;
        }
        let (below, above) = (pixels / factor * factor, pixels.div_ceil(factor) * factor);
        let nearest = match below {
            0 => above.to_string(),
            _ => format!("{below} or {above}"),
        };
        let fault = format!("The {field} must be a multiple of {factor}, such as {nearest}, not {pixels}.");
        faults.add(field, fault);
    }

    /// The same for clips in windows of frames.
    pub(crate) fn in_windows(self) -> Self {
        Self {
            max_frames: self.windows_to.unwrap_or(self.max_frames),
            ..self
        }
    }

    /// Adds what is wrong with a number of frames, if anything; `field` says where it is from.
    pub(crate) fn check_frames(&self, field: &str, frames: usize, faults: &mut ValidationError) {
        let (factor, most) = (self.temporal_factor, self.max_frames);
        let spoken = field.replace('_', " ");
        if frames == 0 || frames > most {
            let mut fault = match most {
                1 => format!(
                    "The model makes still pictures, so that the {spoken} can't be {frames} but 1; beside a motion adapter it makes \
                     clips."
                ),
                _ => format!("The {spoken} must be between 1 and {most} frames with this model, not {frames}."),
            };
            if let Some(longest) = self.windows_to.filter(|longest| frames > most && most < *longest) {
                fault.push_str(&format!(
                    " Longer clips, of up to {longest}, are made in windows of frames (free_noise)."
                ));
            }
            faults.add(field, fault);
        } else if !(frames - 1).is_multiple_of(factor) {
            let below = (frames - 1) / factor * factor + 1;
            let nearest = match below + factor {
                above if above <= most => format!("{below} or {above}"),
                _ => below.to_string(),
            };
            let fault =
                format!("The {spoken} must be {factor}k + 1 frames with this model, such as {nearest}, not {frames}.");
            faults.add(field, fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(temporal_factor: usize) -> Geometry {
        Geometry {
            channels: 4,
            spatial_factor: 8,
            side_multiple: 16,
            max_side: 1024,
            temporal_factor,
            max_frames: 82,
            windows_to: None,
        }
    }

    fn fault(check: impl FnOnce(&mut ValidationError)) -> String {
        let mut faults = ValidationError::default();
        check(&mut faults);
        faults.to_string()
    }

    #[test]
    fn latents_of_frames_that_stand_alone_and_of_causal_ones() {
        assert_eq!(geometry(1).latent_shape([16, 32, 48]), [1, 4, 16, 4, 6]);
        assert_eq!(geometry(4).latent_shape([81, 32, 48]), [1, 4, 21, 4, 6]);
        assert_eq!(geometry(4).latent_shape([1, 32, 48]), [1, 4, 1, 4, 6]);
        for frames in [1, 5, 81] {
            assert_eq!(
                geometry(4).frames(geometry(4).latent_shape([frames, 16, 16])[2]),
                frames
            );
        }
    }

    #[test]
    fn faults_name_the_nearest_sizes() {
        let frames = |factor, count| fault(|faults| geometry(factor).check_frames("num_frames", count, faults));
        for (factor, count) in [(1, 1), (1, 82), (4, 1), (4, 5), (4, 81)] {
            assert_eq!(frames(factor, count), "");
        }
        assert!(frames(4, 16).contains("13 or 17") && frames(4, 82).contains("such as 81,"));
        assert!(frames(4, 2).contains("1 or 5"));
        assert!(frames(1, 0).contains("between 1 and 82") && frames(4, 83).contains("82"));
        let side = |pixels| fault(|faults| geometry(1).check_side("width", pixels, faults));
        assert_eq!(side(64), "");
        assert!(side(72).contains("64 or 80") && side(8).contains("such as 16,"));
        assert_eq!(side(1024), "");
        assert!(side(1025).contains("greater than 1024") && side(1040).contains("greater than 1024"));
    }

    #[test]
    fn what_is_nearest_passes_the_check() {
        for factor in [1, 4] {
            let geometry = geometry(factor);
            for frames in [0, 1, 2, 3, 15, 16, 81, 82, 83, 5000] {
                let nearest = geometry.nearest_frames(frames);
                let off = nearest.abs_diff(frames.clamp(1, 82));
                assert!(off as usize <= factor.div_ceil(2), "{frames} {nearest}");
                assert_eq!(fault(|f| geometry.check_frames("x", nearest as usize, f)), "");
            }
        }
        for (sides, nearest) in [
            ([64, 64], [64, 64]),
            ([1280, 720], [1024, 576]),
            ([720, 1280], [576, 1024]),
            ([0, 1], [16, 16]),
            ([u32::MAX, 1], [1024, 16]),
            ([70, 73], [64, 80]),
        ] {
            assert_eq!(geometry(1).nearest_size(sides), nearest, "{sides:?}");
        }
    }
}
