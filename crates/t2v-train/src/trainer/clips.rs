//! What the clips of a step are shown with. All of it follows from the seed, the step and the clip's number in it.

use std::{ops::Range, panic, thread};

use burn::module::Module;
use t2v_denoiser::Denoiser;

use super::{Trainer, gradients::Prompt};
use crate::{
    Dataset, Draw, Factors, TrainError,
    draws::{self, Draws, Purpose},
    objective,
};

impl<N: Module + Denoiser + Sync> Trainer<N> {
    /// Loss and gradients of clips of the next step, the `turn`th of its data set, all at the same time, in their order.
    pub(super) fn clips(
        &self,
        data: &Dataset,
        turn: usize,
        clips: Range<usize>,
    ) -> Vec<Result<(f32, Factors), TrainError>> {
        if clips.len() == 1 {
            return vec![self.clip(data, turn, clips.start)];
        }
        thread::scope(|scope| {
            let threads: Vec<_> = clips
                .map(|clip| scope.spawn(move || self.clip(data, turn, clip)))
                .collect();
            let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
            joined
                .map(|result| result.unwrap_or_else(|cause| panic::resume_unwind(cause)))
                .collect()
        })
    }

    /// Loss and gradients of a clip of the next step.
    fn clip(&self, data: &Dataset, turn: usize, clip: usize) -> Result<(f32, Factors), TrainError> {
        let (seed, settings) = (self.settings.seed, &self.settings);
        let shown = draws::example(seed, turn * settings.batch_size + clip, data.examples().len());
        let example = &data.examples()[shown];
        let mut draws = Draws::new(seed, Purpose::Clip, [self.step, clip]);
        let timestep = settings.timesteps.draw(&mut draws, self.objective.noise().timesteps());
        let caption = match draws.uniform() < settings.caption_dropout && data.drops_captions() {
            true => Dataset::EMPTY_CAPTION,
            false => example.caption(),
        };
        let prompt = match settings.text_encoder {
            true => Prompt::Tokens(self.trained_text_encoder()?, data.tokens(caption)?),
            false => Prompt::Embedding(data.embedding(caption)),
        };
        let kept = (settings.rank_dropout > 0.0).then(|| self.kept(&mut draws));
        let mut generator = draws.generator();
        let latents = example.sample(&mut generator);
        let mut draw = Draw {
            timestep,
            noise: objective::noise(&mut generator, latents.dims(), settings.noise_offset, &self.device),
            kept,
            places: example.places(settings.background_weight),
            target: None,
        };
        let Some(weight) = data.known() else {
            return self.record(&latents, &prompt, &draw);
        };
        let text = data.embedding(caption).clone();
        draw.target = Some(self.objective.prediction(&self.base, latents.clone(), text, &draw));
        let (loss, gradients) = self.record(&latents, &prompt, &draw)?;
        Ok((loss * weight as f32, gradients.map(|gradient| gradient * weight)))
    }

    /// What the ranks of each adapter are multiplied by: 0, or more than 1, so that the mean is 1.
    fn kept(&self, draws: &mut Draws) -> Vec<Vec<f32>> {
        let (dropout, rank) = (self.settings.rank_dropout, self.settings.rank);
        let mut of_rank = || match draws.uniform() < dropout {
            true => 0.0,
            false => (1.0 / (1.0 - dropout)) as f32,
        };
        let layers = self.adapters.layers().iter();
        layers.map(|_| (0..rank).map(|_| of_rank()).collect()).collect()
    }
}
