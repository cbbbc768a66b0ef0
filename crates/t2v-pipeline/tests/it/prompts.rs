//! Prompts: completed, weighted, long, with learnt words, with layers left out.

use std::{fs, path::Path, sync::Arc};

use crate::folders::fixture;
use safetensors::tensor::{Dtype, TensorView};
use t2v_pipeline::{
    Device, GenerateOptions, Gpt2Enhancer, Pipeline, PipelineError, Prompt, PromptContext, PromptEnhancer, PromptError,
    PromptTable, TextToVideoRequest, TextualInversion, Video,
};
use t2v_test_support::copy_folder;

fn pipeline() -> Pipeline {
    Pipeline::from_dir(fixture("tiny_a"), &Device::flex()).unwrap()
}

fn request(prompt: &str) -> TextToVideoRequest {
    TextToVideoRequest::new(prompt)
        .with_size(16, 16)
        .with_num_frames(1)
        .with_num_inference_steps(2)
        .with_seed(1)
}

fn generate(pipeline: &Pipeline, request: &TextToVideoRequest, set: impl FnOnce(&mut GenerateOptions<'_>)) -> Video {
    let mut options = GenerateOptions::default();
    set(&mut options);
    pipeline.generate_with(request, options).unwrap()
}

fn plain(pipeline: &Pipeline, prompt: &str) -> Video {
    pipeline.generate(&request(prompt)).unwrap()
}

fn differ(a: &Video, b: &Video) -> bool {
    a.frames().iter().zip(b.frames()).any(|(a, b)| (a - b).abs() > 1e-5)
}

#[test]
fn silence_leaves_the_prompt_of_a_checkpoint_without_a_table() {
    let pipeline = pipeline();
    let silent = plain(&pipeline, "a ball");
    let report = silent.report();
    assert_eq!(
        (report.prompt.as_str(), report.negative_prompt.as_str()),
        ("a ball", "")
    );
    assert_eq!(report.original_prompt, None);

    let enhanced = pipeline.generate(&request("a ball").with_enhance_prompt(true)).unwrap();
    let report = enhanced.report();
    assert!(report.prompt.starts_with("a ball, "), "{}", report.prompt);
    assert_eq!(report.original_prompt.as_deref(), Some("a ball"));
    assert!(!report.negative_prompt.is_empty());
    assert_eq!(report.truncated_tokens, 0);
    assert!(differ(&silent, &enhanced));

    let mut again = request(&report.prompt).with_enhance_prompt(false);
    again.negative_prompt = Some(report.negative_prompt.clone());
    assert_eq!(pipeline.generate(&again).unwrap().frames(), enhanced.frames());
}

#[test]
fn a_negative_prompt_is_left_as_it_is() {
    let request = request("a ball")
        .with_negative_prompt("green")
        .with_enhance_prompt(true);
    let video = pipeline().generate(&request).unwrap();
    assert_eq!(video.report().negative_prompt, "green");
}

#[test]
fn a_negative_prompt_that_is_cut_is_reported() {
    let pipeline = pipeline();
    let long = request("a ball").with_negative_prompt("green ".repeat(90));
    let report = pipeline.generate(&long).unwrap().report().clone();
    assert_eq!(report.truncated_tokens, 0);
    assert!(report.truncated_negative_tokens > 0);
    let unguided = pipeline.generate(&long.with_guidance_scale(1.0)).unwrap();
    assert_eq!(unguided.report().truncated_negative_tokens, 0);
}

#[test]
fn long_prompts_may_be_completed_beyond_the_text_encoder() {
    let pipeline = pipeline();
    let prompt = "a very long prompt of a ball that fills the text encoder to the last token it has";
    let request = request(prompt).with_enhance_prompt(true);
    let short = pipeline.generate(&request).unwrap();
    assert_eq!(short.report().prompt, prompt);
    assert!(short.report().truncated_tokens > 0);
    let long = pipeline.generate(&request.clone().with_long_prompts(true)).unwrap();
    assert!(long.report().prompt.len() > prompt.len());
    assert_eq!(long.report().truncated_tokens, 0);
}

struct Seeded;

impl PromptEnhancer for Seeded {
    fn enhance(&self, prompt: &Prompt, context: &PromptContext<'_>) -> Result<Prompt, PromptError> {
        if prompt.prompt.is_empty() {
            return Err(PromptError::Enhancer("it is empty".into()));
        }
        assert!(context.fits("a").unwrap() && !context.fits(&"a ".repeat(99)).unwrap());
        Ok(Prompt::new(format!("{} {}", prompt.prompt, context.seed())).with_negative_prompt("x"))
    }
}

#[test]
fn another_enhancer_may_be_given() {
    let pipeline = pipeline();
    let enhance = |options: &mut GenerateOptions<'_>| options.enhancer = Some(Arc::new(Seeded));
    let video = generate(&pipeline, &request("a ball"), enhance);
    assert_eq!(video.report().prompt, "a ball 1");
    assert_eq!(video.report().negative_prompt, "x");
    let video = generate(&pipeline, &request("a ball").with_enhance_prompt(false), enhance);
    assert_eq!(video.report().prompt, "a ball");
    let mut options = GenerateOptions::default();
    enhance(&mut options);
    let error = pipeline.generate_with(&request(""), options).unwrap_err();
    assert!(error.to_string().contains("it is empty"), "{error}");
}

#[test]
fn a_language_model_continues_prompts_by_the_seed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../t2v-text-encoder/tests/fixtures/gpt2");
    let open = || {
        Gpt2Enhancer::open(&folder, &Device::flex())
            .unwrap()
            .with_temperature(4.0)
            .with_top_k(60)
    };
    let pipeline = pipeline();
    let enhanced = |enhancer: Gpt2Enhancer, seed, prompt: &str| {
        let set = |options: &mut GenerateOptions<'_>| options.enhancer = Some(Arc::new(enhancer));
        let report = generate(&pipeline, &request(prompt).with_seed(seed), set)
            .report()
            .clone();
        assert_eq!(report.truncated_tokens, 0);
        assert!(report.prompt.starts_with(prompt), "{}", report.prompt);
        report.prompt
    };
    let few = || open().with_max_new_tokens(8);
    let prompts = [1, 2, 3, 4].map(|seed| enhanced(few(), seed, "a red ball"));
    assert_eq!(prompts[0], enhanced(few(), 1, "a red ball"));
    assert!(prompts.iter().any(|prompt| *prompt != prompts[0]), "{prompts:?}");
    assert_eq!(enhanced(open().with_max_new_tokens(0), 1, "a red ball"), "a red ball");
    // What does not fit is left out.
    enhanced(open(), 1, "a red ball in the quiet forest");
}

#[test]
fn a_checkpoint_may_bring_its_own_table() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&fixture("tiny_a"), folder.path());
    let path = folder.path().join("t2v_prompts.json");
    fs::write(&path, r#"{"slots": [{"name": "light", "terms": ["at night"]}]}"#).unwrap();
    let pipeline = Pipeline::from_dir(folder.path(), &Device::flex()).unwrap();
    assert_eq!(plain(&pipeline, "a ball").report().prompt, "a ball at night");
    let off = pipeline
        .generate(&request("a ball").with_enhance_prompt(false))
        .unwrap();
    assert_eq!(off.report().prompt, "a ball");

    for (table, part) in [
        (r#"{"slots": [{"name": "light", "term": []}]}"#, "term"),
        (r#"{"slots": [{"name": "light", "anchor": "lamp"}]}"#, "lamp"),
    ] {
        fs::write(&path, table).unwrap();
        let message = Pipeline::from_dir(folder.path(), &Device::flex())
            .err()
            .unwrap()
            .to_string();
        assert!(
            message.contains("t2v_prompts.json") && message.contains(part),
            "{message}"
        );
        let message = PromptTable::open(&path).unwrap_err().to_string();
        assert!(
            message.contains("t2v_prompts.json") && message.contains(part),
            "{message}"
        );
    }
}

#[test]
fn brackets_weigh_only_where_it_is_asked_for() {
    let pipeline = pipeline();
    let weighted = |prompt: &str| pipeline.generate(&request(prompt).with_prompt_weighting(true)).unwrap();
    assert_eq!(weighted("a red ball").frames(), plain(&pipeline, "a red ball").frames());
    assert_eq!(
        weighted(r"a \(red\) ball").frames(),
        plain(&pipeline, "a (red) ball").frames()
    );
    let videos = ["a red ball", "a (red:1.5) ball", "a (red:0.5) ball", "a [red] ball"].map(weighted);
    for (i, a) in videos.iter().enumerate() {
        for b in &videos[i + 1..] {
            assert!(differ(a, b));
        }
    }
    // The negative prompt may have weights too.
    let negative = |text: &str| {
        let request = request("a ball").with_negative_prompt(text);
        pipeline.generate(&request.with_prompt_weighting(true)).unwrap()
    };
    assert!(differ(&negative("green"), &negative("(green:1.5)")));
}

#[test]
fn long_prompts_are_heard_to_the_end_only_where_it_is_asked_for() {
    let pipeline = pipeline();
    let start = "a very long prompt of a ball that fills the text encoder to the last token it has, at last ";
    let [red, blue] = ["red", "blue"].map(|end| format!("{start}{end}"));
    assert_eq!(plain(&pipeline, &red).frames(), plain(&pipeline, &blue).frames());
    assert!(plain(&pipeline, &red).report().truncated_tokens > 0);

    let long = |request: &TextToVideoRequest| pipeline.generate(&request.clone().with_long_prompts(true)).unwrap();
    let [red, blue] = [&red, &blue].map(|prompt| long(&request(prompt)));
    assert!(differ(&red, &blue));
    assert_eq!(red.report().truncated_tokens, 0);
    assert_eq!(long(&request("a ball")).frames(), plain(&pipeline, "a ball").frames());
    // A long negative prompt beside a short one, and no guidance at all.
    let negative = long(&request("a ball").with_negative_prompt(start));
    assert!(differ(&negative, &plain(&pipeline, "a ball")));
    long(&request(start).with_guidance_scale(1.0));
    let endless = long(&request(&"ball ".repeat(2000)));
    assert!(endless.report().truncated_tokens > 0);
}

#[test]
fn learnt_words_have_their_effect() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("learned.safetensors");
    let bytes: Vec<u8> = (0..32i16)
        .flat_map(|i| (f32::from(i) / 8.0 - 2.0).to_le_bytes())
        .collect();
    let view = TensorView::new(Dtype::F32, vec![2, 16], &bytes).unwrap();
    safetensors::serialize_to_file([("emb_params", view)], None, &path).unwrap();

    let pipeline = pipeline();
    let before = plain(&pipeline, "a learned ball");
    let embedding = TextualInversion::open(&path).unwrap();
    assert_eq!((embedding.token(), embedding.vectors()), ("learned", 2));
    pipeline.add_textual_inversion(&embedding).unwrap();
    assert!(differ(&before, &plain(&pipeline, "a learned ball")));
    let error = pipeline.add_textual_inversion(&embedding).unwrap_err().to_string();
    assert!(
        error.contains("already") && error.contains("learned.safetensors"),
        "{error}"
    );
}

#[test]
fn clip_skip_is_for_the_prompt_and_at_most_all_layers() {
    let pipeline = pipeline();
    let skip = |prompt: &str, layers| pipeline.generate(&request(prompt).with_clip_skip(layers));
    let [none, one, all] = [0, 1, 3].map(|layers| skip("a ball", layers).unwrap());
    assert_eq!(none.frames(), plain(&pipeline, "a ball").frames());
    assert!(differ(&none, &one) && differ(&one, &all));
    for (layers, limit) in [(4, "than 3"), (9, "between 0 and 8")] {
        let error = skip("a ball", layers).unwrap_err();
        let PipelineError::Request(faults) = &error else {
            panic!("{error}");
        };
        assert_eq!(
            faults.faults().map(|(field, _)| field).collect::<Vec<_>>(),
            ["clip_skip"]
        );
        assert!(error.to_string().contains(limit), "{error}");
    }
}

#[cfg(feature = "embedded")]
#[test]
fn tiny_world_completes_prompts_unless_told_not_to() {
    let pipeline = Pipeline::embedded(&Device::flex()).unwrap();
    let request = TextToVideoRequest::new("a ball")
        .with_num_frames(1)
        .with_num_inference_steps(1)
        .with_seed(1);
    let completed = pipeline.generate(&request).unwrap();
    let report = completed.report();
    assert!(
        report.prompt.len() > 20 && report.prompt.contains(" ball "),
        "{}",
        report.prompt
    );
    assert_eq!(report.negative_prompt, "");
    let plain = pipeline.generate(&request.with_enhance_prompt(false)).unwrap();
    assert_eq!(plain.report().prompt, "a ball");
    assert!(differ(&completed, &plain));
}

#[cfg(feature = "embedded")]
#[test]
fn tiny_world_knows_synonyms() {
    let pipeline = Pipeline::embedded(&Device::flex()).unwrap();
    let video = |prompt| {
        let request = TextToVideoRequest::new(prompt)
            .with_num_frames(1)
            .with_num_inference_steps(1)
            .with_seed(1);
        pipeline.generate(&request).unwrap()
    };
    let plain = video("a purple ball spinning over the sea");
    assert!(!differ(&plain, &video("a violet sphere rotates above the ocean")));
    assert!(differ(&plain, &video("a purple ball falling over the sea")));
}
