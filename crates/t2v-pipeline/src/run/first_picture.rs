//! Where a clip starts whose denoiser is shown the pictures that it begins with.

use burn::tensor::Tensor;
use t2v_denoiser::Conditioning;
use t2v_schedulers::TorchGenerator;

use super::{Run, Start};
use crate::{
    InitMedia, PipelineError, Stage,
    beginning::{Beginning, GivenFrame, mask},
    model::Slot,
    plan::Plan,
};

impl Run<'_> {
    /// Noise, with what the denoiser is told of the pictures.
    pub(super) fn start_with_pictures(
        &mut self,
        beginning: Beginning,
        init: &InitMedia,
        plan: &Plan,
        conditioning: &mut Conditioning,
        generator: &mut TorchGenerator,
    ) -> Result<Start, PipelineError> {
        let mut start = self.start_from_noise(plan, generator)?;
        conditioning.image = self.embed_pictures(init, conditioning)?;
        let [frames, ..] = plan.clip();
        let clip = beginning.clip(self.init_clip(init, plan), frames);
        let mean = self.encode_clip(clip)?.mean;
        let latents = self.model.codec()?.normalize(mean);
        let geometry = *self.family().geometry();
        match beginning {
            Beginning::Channels => {
                let has_last = init.pictures().len() > 1;
                let mask = mask(latents.dims(), geometry.temporal_factor, has_last, self.model.device());
                let channels = Tensor::cat(vec![mask, latents], 1);
                conditioning.channels = Some(channels.cast(conditioning.dtype()));
            }
            Beginning::FirstFrame => {
                let [_, _, latent_frames, ..] = geometry.latent_shape(plan.clip());
                conditioning.timestep_factors = Some(GivenFrame::timestep_factors(latent_frames));
                start.given = Some(GivenFrame::new(latents));
            }
        }
        Ok(start)
    }

    /// Embeddings of the pictures, one after the other, for each clip that is denoised; none where the model sees none.
    fn embed_pictures(
        &mut self,
        init: &InitMedia,
        conditioning: &Conditioning,
    ) -> Result<Option<Tensor<3>>, PipelineError> {
        self.load(Slot::PictureEncoder)?;
        let Some(encoder) = self.model.picture_encoder()? else {
            return Ok(None);
        };
        self.monitor.begin(Stage::Encoding);
        let tokens = init.pictures().iter().map(|picture| encoder.encode(picture));
        let tokens = Tensor::cat(tokens.collect(), 1).cast(conditioning.dtype());
        self.monitor.end();
        Ok(Some(tokens.repeat_dim(0, conditioning.batch())))
    }
}
