//! What a stage is asked to do, in words.

use std::{fmt, str::FromStr};

use crate::Error;

/// The size of a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clip {
    /// At least 1.
    pub frames: usize,
    /// Pixels, at least 1.
    pub height: usize,
    /// Pixels, at least 1.
    pub width: usize,
}

impl fmt::Display for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.frames, self.height, self.width)
    }
}

/// One run of one network of a model.
///
/// In words: `text encoder`, `step FRAMES HEIGHT WIDTH`, `clips CLIPS FRAMES HEIGHT WIDTH`, `decode FRAMES HEIGHT WIDTH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Two prompts of as many tokens as the text encoder takes.
    TextEncoder,
    /// A guided step: the denoiser on a clip under two prompts.
    Step(Clip),
    /// The denoiser on a batch of clips, each under a prompt of its own.
    Clips {
        /// The batch, at least 1.
        clips: usize,
        /// Of each.
        clip: Clip,
    },
    /// The autoencoder from latents to frames, as many at once as a pipeline decodes.
    Decoder(Clip),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TextEncoder => f.write_str("text encoder"),
            Self::Step(clip) => write!(f, "step {clip}"),
            Self::Clips { clips, clip } => write!(f, "clips {clips} {clip}"),
            Self::Decoder(clip) => write!(f, "decode {clip}"),
        }
    }
}

impl FromStr for Work {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fault = || {
            format!(
                "`{}` is no stage: text encoder, step FRAMES HEIGHT WIDTH, clips CLIPS FRAMES HEIGHT WIDTH, decode FRAMES \
                 HEIGHT WIDTH, with whole numbers from 1 on",
                text.escape_debug()
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (kind, numbers) = match words[..] {
            ["text", "encoder"] => return Ok(Self::TextEncoder),
            [kind, ref numbers @ ..] => (kind, numbers),
            [] => return Err(fault().into()),
        };
        let numbers = numbers
            .iter()
            .map(|number| number.parse().ok().filter(|number| *number > 0))
            .collect::<Option<Vec<usize>>>()
            .ok_or_else(fault)?;
        let clip = |sides: [usize; 3]| Clip {
            frames: sides[0],
            height: sides[1],
            width: sides[2],
        };
        match (kind, &numbers[..]) {
            ("step", &[frames, height, width]) => Ok(Self::Step(clip([frames, height, width]))),
            ("clips", &[clips, frames, height, width]) => Ok(Self::Clips {
                clips,
                clip: clip([frames, height, width]),
            }),
            ("decode", &[frames, height, width]) => Ok(Self::Decoder(clip([frames, height, width]))),
            _ => Err(fault().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for words in ["text encoder", "step 16 256 128", "clips 2 4 64 8", "decode 1 8 16"] {
            assert_eq!(words.parse::<Work>().expect("it is work").to_string(), words);
        }
    }

    #[test]
    fn other_words_are_refused_with_those_that_are_known() {
        for words in [
            "",
            "text",
            "step",
            "step 16 256",
            "step 16 256 0",
            "step -1 8 8",
            "decode a 8 8",
            "paint 1 8 8",
        ] {
            let fault = words.parse::<Work>().expect_err("it is none").to_string();
            assert!(fault.contains("text encoder, step FRAMES HEIGHT WIDTH"), "{fault}");
        }
    }
}
