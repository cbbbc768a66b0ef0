//! Whether and by whom a prompt is completed.

use t2v_prompts::{Prompt, PromptContext, PromptEnhancer, PromptTable};

use crate::{PipelineError, Report, family::TextConditioner};

/// Completes the report's prompts, if they may be: where the request is silent (`wanted`) only with an enhancer that was given
/// or with the checkpoint's own, so that other checkpoints give what they give in diffusers.
pub(crate) fn complete_prompts(
    report: &mut Report,
    wanted: Option<bool>,
    given: Option<&dyn PromptEnhancer>,
    own: Option<&PromptTable>,
    text: &dyn TextConditioner,
) -> Result<(), PipelineError> {
    let built_in;
    let own = own.map(|table| table as &dyn PromptEnhancer);
    let enhancer = match (wanted, given.or(own)) {
        (Some(false), _) | (None, None) => return Ok(()),
        (_, Some(enhancer)) => enhancer,
        (Some(true), None) => {
            built_in = PromptTable::built_in()?;
            &built_in
        }
    };
    let long_prompts = report.long_prompts;
    let fits = |prompt: &str| Ok(long_prompts || text.fits(prompt)?);
    let context = PromptContext::new(&fits, report.seed);
    let mut prompt = Prompt::new(&report.prompt);
    prompt.negative_prompt = Some(report.negative_prompt.clone()).filter(|text| !text.is_empty());
    let enhanced = enhancer.enhance(&prompt, &context)?;
    if enhanced.prompt != prompt.prompt {
        report.original_prompt = Some(prompt.prompt);
    }
    report.prompt = enhanced.prompt;
    report.negative_prompt = enhanced.negative_prompt.unwrap_or_default();
    Ok(())
}
