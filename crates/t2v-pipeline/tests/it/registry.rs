//! Models by name: what is found, what is kept, what no request may open.

use std::{fs, sync::Arc};

use crate::folders::fixture;
use t2v_pipeline::{
    Device, GenerateOptions, Hub, InitMedia, ModelRegistry, Pipeline, PipelineError, TextToVideoRequest, Video,
};

/// Parameters of the checkpoint `tiny_a`, in single precision.
fn parameter_bytes() -> u64 {
    let registry = registry();
    registry.pipeline("a").unwrap();
    registry.loaded()[0].1
}

fn registry() -> ModelRegistry {
    ModelRegistry::new(&Device::flex())
        .with_model("a", fixture("tiny_a"))
        .with_model("a2", fixture("tiny_a"))
        .with_model("b", fixture("tiny_b"))
}

fn request(model: Option<&str>) -> TextToVideoRequest {
    let mut request = TextToVideoRequest::new("a red ball")
        .with_size(16, 16)
        .with_scheduler("DDIM")
        .with_num_frames(1)
        .with_num_inference_steps(1)
        .with_seed(1);
    request.model_id = model.map(Into::into);
    request
}

fn names(registry: &ModelRegistry) -> Vec<String> {
    registry.loaded().into_iter().map(|(name, _)| name).collect()
}

fn message<T>(result: Result<T, PipelineError>) -> String {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error.to_string(),
    }
}

fn assert_same(a: &Video, b: &Video) {
    assert_eq!(a.frames(), b.frames());
}

#[test]
fn a_request_is_given_to_the_model_that_it_names() {
    let registry = registry();
    assert_eq!(registry.names(), ["a", "a2", "b", "tiny-world"]);
    for name in ["a", "b"] {
        let pipeline = Pipeline::from_dir(fixture(format!("tiny_{name}")), &Device::flex()).unwrap();
        let expected = pipeline.generate(&request(None)).unwrap();
        assert_same(&registry.generate(&request(Some(name))).unwrap(), &expected);
    }
    assert_eq!(names(&registry), ["a", "b"]);
    registry.pipeline_for(&request(None)).unwrap();
    assert_eq!(names(&registry), ["a", "b", "tiny-world"]);
    let registry = registry.with_default_model("a");
    let default = registry.pipeline_for(&request(None)).unwrap();
    assert!(Arc::ptr_eq(&default, &registry.pipeline("a").unwrap()));
}

#[test]
fn without_a_default_the_only_model_is_meant() {
    let registry = ModelRegistry::new(&Device::flex());
    assert!(registry.remove("tiny-world"));
    assert!(message(registry.generate(&request(None))).contains("model id is required"));
    registry.insert("a", fixture("tiny_a"));
    registry.generate(&request(None)).unwrap();
    registry.insert("b", fixture("tiny_b"));
    assert!(message(registry.generate(&request(None))).contains("known are a, b"));
}

#[test]
fn ids_are_names_and_never_paths() {
    let registry = registry()
        .with_any_hub_model()
        .with_hub(Hub::new("/nonexistent").with_offline());
    let folder = fixture("tiny_a").display().to_string();
    for id in [
        folder.as_str(),
        "../../etc",
        "/etc/passwd",
        ".",
        "..",
        "",
        "tiny_a",
        "A",
        "a/",
        "a/../b",
        "x\ny\u{1b}",
    ] {
        let error = registry.pipeline(id).map(|_| ()).unwrap_err();
        assert!(matches!(error, PipelineError::UnknownModel { .. }), "{id}: {error}");
        let message = error.to_string();
        assert!(
            message.contains("known are a, a2, b, tiny-world, owner/name"),
            "{message}"
        );
        assert!(!message.contains(char::is_control), "{message}");
    }
    let message = message(registry.pipeline(&"x".repeat(1_000_000)));
    assert!(message.len() < 300, "{message}");
    assert!(registry.loaded().is_empty());
}

#[test]
fn a_bad_request_is_told_before_a_model_is_loaded() {
    let registry = registry();
    let error = registry
        .generate(&request(Some("a")).with_num_inference_steps(99))
        .unwrap_err();
    assert!(matches!(error, PipelineError::Request(_)), "{error}");
    assert!(registry.loaded().is_empty());
}

#[test]
fn a_folder_that_cannot_be_loaded_is_named_each_time() {
    let registry = ModelRegistry::new(&Device::flex()).with_model("gone", "/nonexistent/model");
    for _ in 0..2 {
        assert!(message(registry.pipeline("gone")).contains("/nonexistent/model"));
    }
    registry.insert("gone", fixture("tiny_a"));
    registry.pipeline("gone").unwrap();
}

#[test]
fn two_threads_load_a_model_once() {
    let registry = registry();
    let pipelines: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| registry.pipeline("a").unwrap()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(pipelines.iter().all(|pipeline| Arc::ptr_eq(pipeline, &pipelines[0])));
}

#[test]
fn the_size_of_a_model_is_that_of_its_parameters() {
    let weights = [
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ];
    let data = |file: &&str| {
        let bytes = fs::read(fixture("tiny_a").join(file)).unwrap();
        bytes.len() as u64 - 8 - u64::from_le_bytes(bytes[..8].try_into().unwrap())
    };
    assert_eq!(parameter_bytes(), weights.iter().map(data).sum::<u64>());
}

#[test]
fn a_budget_drops_the_least_recently_used() {
    let bytes = parameter_bytes();
    let registry = registry()
        .with_model("a3", fixture("tiny_a"))
        .with_memory_budget(2 * bytes);
    for name in ["a", "a2", "a", "a3"] {
        registry.pipeline(name).unwrap();
    }
    assert_eq!(names(&registry), ["a", "a3"]);
}

#[test]
fn a_model_in_use_is_not_dropped_from_under_its_user() {
    let registry = registry().with_memory_budget(parameter_bytes());
    let used = registry.pipeline("a").unwrap();
    registry.pipeline("a2").unwrap();
    assert_same(
        &used.generate(&request(None)).unwrap(),
        &registry.generate(&request(Some("a"))).unwrap(),
    );
    assert!(
        Arc::ptr_eq(&used, &registry.pipeline("a").unwrap()),
        "a second copy was loaded"
    );
    assert!(registry.remove("a") && !registry.remove("a"));
    used.generate(&request(None)).unwrap();
    assert!(message(registry.pipeline("a")).contains("known are a2, b, tiny-world"));
}

#[test]
fn cleared_models_are_loaded_again() {
    let registry = registry();
    registry.pipeline("a").unwrap();
    registry.clear();
    assert!(registry.loaded().is_empty());
    registry.pipeline("a").unwrap();
}

/// What a video's own metadata hold is all that it takes to make it again, byte by byte, pictures and learnt words aside.
#[test]
fn a_video_holds_the_request_that_repeats_it_through_a_registry() {
    let registry = registry().with_model("team/style", fixture("tiny_b"));
    let picture = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([(x * 6) as u8, (y * 8) as u8, 90]));
    let options = || GenerateOptions::default().with_init(InitMedia::Image(picture.clone()));
    let folder = tempfile::tempdir().unwrap();
    let request = |prompt: &str, model| {
        let mut request = request(Some(model)).with_num_frames(2).with_num_inference_steps(3);
        request.prompt = prompt.into();
        request.seed = None;
        request
    };
    let long = "a very long prompt of a (ball:1.4) that fills the text encoder to the last token it has, at last red";
    let requests = [
        request("a (red:1.5) ball", "a").with_prompt_weighting(true),
        request(long, "a2").with_long_prompts(true).with_enhance_prompt(true),
        request("a ball", "team/style").with_size(64, 48).with_vae_tiling(true),
        request("a ball", "b").with_strength(0.6),
    ];
    for (i, request) in requests.iter().enumerate() {
        let generate = |request: &TextToVideoRequest| match request.strength {
            Some(_) => registry.generate_with(request, options()).unwrap(),
            None => registry.generate(request).unwrap(),
        };
        let [first, second] = ["first", "second"].map(|name| folder.path().join(format!("{i}_{name}.mp4")));
        let video = generate(request);
        video.save(&first).unwrap();
        let metadata = t2v_mp4::read_metadata(&first).unwrap();
        let again = TextToVideoRequest::from_slice_strict(metadata.get("request").unwrap().as_bytes()).unwrap();
        assert_eq!(again.model_id, request.model_id);
        assert_eq!(again, video.report().request());
        generate(&again).save(&second).unwrap();
        assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap(), "{request:?}");
        assert_eq!(metadata.get("init").is_some(), request.strength.is_some());
    }
    // Each of the switches has an effect, or the test would prove nothing.
    let frames = |request: &TextToVideoRequest| {
        registry
            .generate(&request.clone().with_seed(1))
            .unwrap()
            .frames()
            .to_vec()
    };
    for (with, without) in [
        (&requests[0], requests[0].clone().with_prompt_weighting(false)),
        (&requests[1], requests[1].clone().with_long_prompts(false)),
        (&requests[2], requests[2].clone().with_vae_tiling(false)),
    ] {
        assert_ne!(frames(with), frames(&without));
    }
}
