//! Exams: what clips show of what was asked for.

use std::error::Error;

use indicatif::{ProgressBar, ProgressStyle};
use t2v_examples::tiny_world::{Attributes, FRAMES, Judge, Score, Verdict, draw_clip, judged_clip};
use t2v_pipeline::{Pipeline, TextToVideoRequest, Video};

use crate::lesson::Lesson;

/// What the columns of a score are.
pub(crate) const HEADER: &str = "exam         clips  colour   shape    both  motion  background     all";
/// Clips of an exam that are shown in the picture: of what is new, and of what was known.
const SHOWN: [usize; 2] = [5, 1];

/// Asks for clips, or draws them, and has them judged by one who knows the old words and the new ones.
pub(crate) struct Examiner<'a> {
    /// None: the clips are drawn.
    pipeline: Option<&'a Pipeline>,
    /// The LoRA that the model has.
    pub(crate) lora: Option<&'a str>,
    judge: Judge,
    misses: bool,
    shown: Vec<Video>,
}

impl<'a> Examiner<'a> {
    pub(crate) fn new(pipeline: Option<&'a Pipeline>, misses: bool) -> Self {
        Self {
            pipeline,
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
        let Some(pipeline) = self.pipeline else {
            return Ok(self.judge.judge(&draw_clip(*asked, u64::from(seed))));
        };
        let request = TextToVideoRequest::new(asked.prompt()).with_seed(seed);
        let mut request = request.with_num_frames(FRAMES as u32).with_enhance_prompt(false);
        if let Some(lora) = self.lora {
            request = request.with_lora(lora, 1.0);
        }
        let video = pipeline.generate(&request)?;
        let shape = [video.num_frames(), video.height(), video.width()];
        let verdict = self.judge.judge(&judged_clip(video.frames(), shape)?);
        if is_shown {
            self.shown.push(video);
        }
        Ok(verdict)
    }
}

fn row(name: &str, score: &Score) -> String {
    let [colour, shape, motion, background, all] = score.percent();
    let (clips, both) = (score.clips, score.percent_of_subjects());
    format!(
        "{name:12} {clips:5} {colour:5.1} % {shape:5.1} % {both:5.1} % {motion:5.1} %     {background:5.1} % {all:5.1} %"
    )
}
