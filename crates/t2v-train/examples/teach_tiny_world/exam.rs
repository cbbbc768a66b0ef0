//! Exams: what clips show of what was asked for.

use std::error::Error;

use burn::tensor::{DType, Device, Tensor, TensorData};
use indicatif::{ProgressBar, ProgressStyle};
use t2v_examples::tiny_world::{Attributes, FRAMES, Judge, Rgb, SIZE, Score, Verdict, draw_clip, judged_clip};
use t2v_pipeline::{Pipeline, TextToVideoRequest, Video};
use t2v_vae::{AutoencoderKl, LatentCodec};
use t2v_weights::{LoadOptions, ModelFolder, Network};

use crate::lesson::Lesson;

/// What the columns of a score are.
pub(crate) const HEADER: &str = "exam         clips  colour   shape    both  motion  background     all";
/// Clips of an exam that are shown in the picture: of what is new, and of what was known.
const SHOWN: [usize; 2] = [5, 1];

/// Where the clips of an exam come from.
pub(crate) enum Source<'a> {
    /// The model makes them.
    Generated(&'a Pipeline),
    /// They are drawn: what the judge says of them shows how far it can be trusted.
    Drawn,
    /// They are drawn, encoded and decoded: no denoiser can be expected to do better than that.
    Decoded(Box<AutoencoderKl>),
}

impl Source<'_> {
    /// Drawings through the autoencoder of tiny-world.
    pub(crate) fn decoded() -> Result<Self, Box<dyn Error>> {
        let folder = ModelFolder::embedded("tiny-world", t2v_tiny_world::FILES)?;
        let options = LoadOptions::new(DType::F32, &Device::flex());
        let autoencoder = AutoencoderKl::from_component(&folder.component("vae")?, &options)?;
        Ok(Self::Decoded(Box::new(autoencoder)))
    }
}

/// Asks for clips, or draws them, and has them judged by one who knows the old words and the new ones.
pub(crate) struct Examiner<'a> {
    source: Source<'a>,
    /// The LoRA that the model has.
    pub(crate) lora: Option<&'a str>,
    judge: Judge,
    misses: bool,
    shown: Vec<Video>,
}

impl<'a> Examiner<'a> {
    pub(crate) fn new(source: Source<'a>, misses: bool) -> Self {
        Self {
            source,
            lora: None,
            judge: Judge::of_all(),
            misses,
            shown: Vec::new(),
        }
    }

    /// The first clips of the exams since the last call.
    pub(crate) fn take_shown(&mut self) -> Vec<Video> {
        std::mem::take(&mut self.shown)
    }

    /// Both exams of a lesson, a line each; seeds are 0, 1, 2 and so on.
    pub(crate) fn examine_both(&mut self, lesson: &Lesson, when: &str) -> Result<(), Box<dyn Error>> {
        for ((name, prompts), shown) in [("new", &lesson.new_exam), ("old", &lesson.old_exam)].iter().zip(SHOWN) {
            let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {eta} left")?;
            let bar = ProgressBar::new(prompts.len() as u64).with_style(style);
            bar.set_message(format!("{name}, {when}"));
            let mut score = Score::default();
            for (seed, asked) in (0_u32..).zip(*prompts) {
                let verdict = self.verdict(asked, seed, (seed as usize) < shown)?;
                if !score.add(asked, verdict) && self.misses {
                    bar.suspend(|| println!("seed {seed}: {} -> {verdict}", asked.prompt()));
                }
                bar.inc(1);
            }
            bar.finish_and_clear();
            println!("{}", row(&format!("{name}, {when}"), &score));
        }
        Ok(())
    }

    fn verdict(&mut self, asked: &Attributes, seed: u32, is_shown: bool) -> Result<Verdict, Box<dyn Error>> {
        let drawing = || draw_clip(*asked, u64::from(seed));
        let clip = match &self.source {
            Source::Drawn => drawing(),
            Source::Decoded(autoencoder) => decoded(autoencoder, &drawing())?,
            Source::Generated(pipeline) => {
                let video = generate(pipeline, self.lora, asked, seed)?;
                let clip = judged_clip(video.frames(), [video.num_frames(), video.height(), video.width()])?;
                if is_shown {
                    self.shown.push(video);
                }
                clip
            }
        };
        Ok(self.judge.judge(&clip))
    }
}

fn generate(pipeline: &Pipeline, lora: Option<&str>, asked: &Attributes, seed: u32) -> Result<Video, Box<dyn Error>> {
    let request = TextToVideoRequest::new(asked.prompt()).with_seed(seed);
    let mut request = request.with_num_frames(FRAMES as u32).with_enhance_prompt(false);
    if let Some(lora) = lora {
        request = request.with_lora(lora, 1.0);
    }
    Ok(pipeline.generate(&request)?)
}

/// A clip that was encoded and decoded.
fn decoded(autoencoder: &AutoencoderKl, clip: &[Rgb]) -> Result<Vec<Rgb>, Box<dyn Error>> {
    let values: Vec<f32> = clip.iter().flatten().map(|value| value / 127.5 - 1.0).collect();
    let data = TensorData::new(values, [1, FRAMES, SIZE, SIZE, 3]);
    let frames = Tensor::<5>::from_data(data, &Device::flex()).permute([0, 4, 1, 2, 3]);
    let latents = autoencoder.encode(frames).map(|of_frame| of_frame.mean).collect();
    let latents = autoencoder.normalize(Tensor::cat(latents, 2));
    let frames: Vec<Tensor<5>> = autoencoder.decode(latents).collect();
    let frames = Tensor::cat(frames, 2).permute([0, 2, 3, 4, 1]).clamp(-1.0, 1.0);
    let values: Vec<f32> = (frames / 2.0 + 0.5).into_data().try_into_vec_as()?;
    Ok(judged_clip(&values, [FRAMES, SIZE, SIZE])?)
}

fn row(name: &str, score: &Score) -> String {
    let [colour, shape, motion, background, all] = score.percent();
    let (clips, both) = (score.clips, score.percent_of_subjects());
    format!(
        "{name:12} {clips:5} {colour:5.1} % {shape:5.1} % {both:5.1} % {motion:5.1} %     {background:5.1} % {all:5.1} %"
    )
}
