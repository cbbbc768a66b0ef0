//! The steps of a training, and what is written beside them.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use t2v_pipeline::CancelToken;
use t2v_train::{
    Base, Dataset, LoraLabel, StepReport, TrainError, Trainable, Trainer, lora_bytes, loss_curve, save_lora,
};

use crate::{
    args::Args,
    run::{INTERRUPTED, Result},
    sample::Sampler,
};

/// How much of the shown loss is that of the last step.
const NEW_LOSS: f64 = 0.05;

/// A training under way.
pub(crate) struct Session<'a, N> {
    pub(crate) args: &'a Args,
    pub(crate) base: &'a Base,
    /// Of the base.
    pub(crate) sha256: String,
    /// What a state must have in common with a training that goes on from it.
    pub(crate) run: String,
    pub(crate) trainer: Trainer<N>,
    pub(crate) sampler: Option<Sampler>,
}

impl<N: Trainable> Session<'_, N> {
    /// Trains to the last step, or until it is interrupted: then it is false, and the state is kept.
    pub(crate) fn train(&mut self, data: &Dataset, known: Option<&Dataset>, cancel: &CancelToken) -> Result<bool> {
        end_on_ctrl_c(cancel.clone())?;
        let (bar, all) = (self.progress_bar()?, self.trainer.settings().steps);
        let (begun, first) = (Instant::now(), self.trainer.steps_done());
        let mut shown: Option<f64> = None;
        while self.trainer.steps_done() < all {
            if cancel.is_cancelled() {
                bar.abandon();
                self.interrupted()?;
                return Ok(false);
            }
            let report = match self.trainer.step_in_turns(data, known) {
                Err(fault @ TrainError::NotFinite { .. }) => {
                    bar.abandon();
                    return Err(self.diverged(&fault));
                }
                other => other?,
            };
            let mean = shown.map_or(report.loss, |shown| shown + NEW_LOSS * (report.loss - shown));
            shown = Some(mean);
            bar.set_message(format!("loss {mean:.4}, gradient {:.3}", report.gradient_norm));
            bar.set_position(report.step as u64);
            if bar.is_hidden() && self.is_due(report.step) {
                let (step, seconds) = (report.step, begun.elapsed().as_secs_f64());
                let speed = (step - first) as f64 / seconds;
                let left = (all - step) as f64 / speed;
                eprintln!("step {step} of {all}: loss {mean:.4}, {speed:.2} steps a second, {left:.0} s left");
            }
            bar.suspend(|| self.after(&report));
        }
        bar.finish();
        Ok(true)
    }

    /// Whether a step is one after which the state is kept.
    fn is_due(&self, step: usize) -> bool {
        self.args.state_every > 0 && step.is_multiple_of(self.args.state_every)
    }

    /// What is due after a step. What can't be written, for a full disk perhaps, is said and tried again when it is due again: the
    /// files of before stay whole.
    fn after(&self, report: &StepReport) {
        let step = report.step;
        if self.is_due(step) {
            note(self.keep(), "; the training goes on");
            note(self.draw_curve(), "; the training goes on");
        }
        if let Some(sampler) = self.sampler.as_ref().filter(|sampler| sampler.is_due(step)) {
            note(self.sample(sampler, step), "; the training goes on");
        }
    }

    /// Keeps the state.
    fn keep(&self) -> Result<()> {
        Ok(self.trainer.state().save(&self.args.state_file(), &self.run)?)
    }

    fn draw_curve(&self) -> Result<()> {
        let title = format!("{} on {}", self.args.out.display(), self.base.name());
        let svg = loss_curve(self.trainer.losses(), &title)?;
        Ok(t2v_mp4::write_file(self.args.curve_file(), svg.as_bytes())?)
    }

    fn sample(&self, sampler: &Sampler, step: usize) -> Result<()> {
        let (adapters, settings) = (self.trainer.result(), self.trainer.settings());
        let lora = lora_bytes(&adapters, &self.label(), settings)?;
        sampler.save(lora, &self.args.sample_file(step))
    }

    fn label(&self) -> LoraLabel {
        LoraLabel {
            trigger: self.args.trigger.clone(),
            base: self.base.name().to_owned(),
            base_sha256: self.sha256.clone(),
            steps: self.trainer.steps_done(),
        }
    }

    fn interrupted(&self) -> Result<()> {
        note(self.draw_curve(), "");
        self.keep()?;
        let (done, file) = (self.trainer.steps_done(), self.args.state_file());
        eprintln!(
            "interrupted after {done} steps; `{}` keeps them: go on with --resume",
            file.display()
        );
        Ok(())
    }

    /// What is said where the loss is no number any more. A state that was kept on the way is better than that of the step before,
    /// which mostly has gone wrong already; without one, that is kept.
    fn diverged(&self, fault: &TrainError) -> Box<dyn std::error::Error> {
        let state_file = self.args.state_file();
        let kept = match state_file.is_file() {
            true => Ok(()),
            false => self.keep(),
        };
        note(self.draw_curve(), "");
        match kept {
            Ok(()) => format!(
                "{fault}; go on from the state in `{}` with --resume and a lower --learning-rate",
                state_file.display()
            )
            .into(),
            Err(error) => format!("{fault}; {error}").into(),
        }
    }

    /// Saves the LoRA. Where it can't be, the last state is kept, if that can be.
    pub(crate) fn finish(&self) -> Result<()> {
        note(self.draw_curve(), "");
        let saved = save_lora(
            &self.args.out,
            &self.trainer.result(),
            &self.label(),
            self.trainer.settings(),
        );
        let Err(error) = saved else {
            return Ok(());
        };
        let state_file = self.args.state_file();
        let state = state_file.display();
        Err(match (self.keep(), state_file.is_file()) {
            (Ok(()), _) => format!("{error}; `{state}` keeps all steps: save it with --resume"),
            (Err(_), true) => format!("{error}; `{state}` keeps an earlier step: go on with --resume"),
            (Err(_), false) => error.to_string(),
        }
        .into())
    }

    fn progress_bar(&self) -> Result<ProgressBar> {
        let style = "training {bar:30} {pos}/{len} {msg}, {per_sec}, {eta} left";
        let steps = self.trainer.settings().steps as u64;
        let bar = ProgressBar::new(steps).with_style(ProgressStyle::with_template(style)?);
        bar.set_position(self.trainer.steps_done() as u64);
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_secs(1));
        Ok(bar)
    }
}

/// Says what could not be done, if it could not.
fn note(result: Result<()>, then: &str) {
    if let Err(error) = result {
        eprintln!("note: {error}{then}");
    }
}

/// The first Ctrl-C has the training stop, the second ends the program.
fn end_on_ctrl_c(cancel: CancelToken) -> Result<()> {
    ctrlc::set_handler(move || {
        if cancel.is_cancelled() {
            std::process::exit(i32::from(INTERRUPTED));
        }
        cancel.cancel();
        eprintln!("stopping after this step; once more ends at once");
    })?;
    Ok(())
}
