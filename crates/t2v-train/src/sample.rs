//! Clips while the training goes on, which show what was learnt so far.

use std::path::Path;

use t2v_pipeline::{
    CancelToken, Device, GenerateOptions, Lora, MemoryMode, ModelRegistry, TextToVideoRequest, check_output,
};
use t2v_train::ClipSize;

use crate::{args::Args, model, run::Result};

/// The name of the model in its registry.
const MODEL: &str = "base";

/// Makes the same clip each time it is asked, with the adapters of that time.
pub(crate) struct Sampler {
    every: usize,
    registry: ModelRegistry,
    request: TextToVideoRequest,
    cancel: CancelToken,
}

impl Sampler {
    /// What the options ask for; none where they don't. What would fail after the first steps fails now.
    pub(crate) fn new(args: &Args, size: &ClipSize, device: &Device, cancel: &CancelToken) -> Result<Option<Self>> {
        let (Some(every), Some(prompt)) = (args.sample_every.filter(|every| *every > 0), &args.sample_prompt) else {
            return Ok(None);
        };
        let request = TextToVideoRequest::new(prompt.as_str())
            .with_model_id(MODEL)
            .with_enhance_prompt(false)
            .with_seed(0)
            .with_size(u32::try_from(size.width)?, u32::try_from(size.height)?)
            .with_num_frames(u32::try_from(size.frames)?);
        let registry = ModelRegistry::new(device).with_model(MODEL, model::source(args)?);
        registry.pipeline(MODEL)?.check(&request)?;
        registry.clear();
        check_output(args.sample_file(every))?;
        Ok(Some(Self {
            every,
            registry,
            request,
            cancel: cancel.clone(),
        }))
    }

    /// Whether a clip is made after a step.
    pub(crate) fn is_due(&self, step: usize) -> bool {
        step.is_multiple_of(self.every)
    }

    /// Makes the clip with a LoRA, and gives its memory back.
    pub(crate) fn save(&self, lora: Vec<u8>, path: &Path) -> Result<()> {
        let pipeline = self.registry.pipeline(MODEL)?;
        pipeline.set_memory_mode(MemoryMode::Sequential);
        pipeline.add_lora("trained", Lora::from_safetensors("trained", lora)?)?;
        let options = GenerateOptions::default().with_cancel(self.cancel.clone());
        let video = pipeline.generate_with(&self.request.clone().with_lora("trained", 1.0), options);
        drop(pipeline);
        self.registry.clear();
        Ok(video?.save(path)?)
    }
}
