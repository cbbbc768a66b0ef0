//! Models of the Hugging Face Hub from its cache, without a network.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::folders::fixture;
use t2v_pipeline::{Device, Hub, HubModel, ModelRegistry, ModelSource, Pipeline, PipelineError, TextToVideoRequest};
use tempfile::TempDir;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A cache as the hub's clients lay it out: blobs, and links to them in a snapshot.
struct HubCache(TempDir);

impl HubCache {
    fn new() -> Self {
        let cache = Self(tempfile::tempdir().unwrap());
        cache.add(&fixture("tiny_a"), "");
        fs::create_dir_all(cache.repository().join("refs/pr")).unwrap();
        for name in ["main", "pr/1"] {
            fs::write(cache.repository().join("refs").join(name), COMMIT).unwrap();
        }
        cache
    }

    fn repository(&self) -> PathBuf {
        self.0.path().join("models--some-owner--some.model")
    }

    fn snapshot(&self) -> PathBuf {
        self.repository().join("snapshots").join(COMMIT)
    }

    fn add(&self, folder: &Path, inside: &str) {
        let (blobs, target) = (self.repository().join("blobs"), self.snapshot().join(inside));
        fs::create_dir_all(&blobs).unwrap();
        fs::create_dir_all(&target).unwrap();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                self.add(&path, name);
                continue;
            }
            let blob = blobs.join(format!("{inside}-{name}"));
            fs::copy(&path, &blob).unwrap();
            #[cfg(unix)]
            std::os::unix::fs::symlink(&blob, target.join(name)).unwrap();
            #[cfg(not(unix))]
            fs::copy(&blob, target.join(name)).unwrap();
        }
    }

    fn hub(&self) -> Hub {
        Hub::new(self.0.path()).with_offline()
    }

    fn pipeline(&self, model: HubModel) -> Result<Arc<Pipeline>, PipelineError> {
        let registry = ModelRegistry::new(&Device::flex())
            .with_model("x", model)
            .with_hub(self.hub());
        registry.pipeline("x")
    }
}

fn request() -> TextToVideoRequest {
    TextToVideoRequest::new("a red ball")
        .with_size(16, 16)
        .with_num_frames(1)
        .with_num_inference_steps(1)
        .with_seed(1)
}

fn message<T>(result: Result<T, PipelineError>) -> String {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error.to_string(),
    }
}

fn model() -> HubModel {
    HubModel::new("some-owner/some.model").unwrap()
}

#[test]
fn a_cached_model_of_the_hub_needs_no_network() {
    let cache = HubCache::new();
    let pipeline = Pipeline::from_dir(fixture("tiny_a"), &Device::flex()).unwrap();
    let expected = pipeline.generate(&request()).unwrap();
    for model in [model(), model().with_revision("pr/1"), model().with_revision(COMMIT)] {
        let video = cache.pipeline(model).unwrap().generate(&request()).unwrap();
        assert_eq!(video.frames(), expected.frames());
    }
    // Nobody listens there: had the cache not been enough, this would fail.
    let hub = Hub::new(cache.0.path()).with_endpoint("http://127.0.0.1:9");
    let registry = ModelRegistry::new(&Device::flex()).with_hub(hub).with_any_hub_model();
    let mut request = request();
    request.model_id = Some("some-owner/some.model".into());
    registry.generate(&request).unwrap();
}

#[test]
fn hub_ids_are_taken_only_where_that_is_allowed() {
    let cache = HubCache::new();
    let registry = ModelRegistry::new(&Device::flex()).with_hub(cache.hub());
    assert!(message(registry.pipeline("some-owner/some.model")).contains("known are tiny-world"));
    registry.with_any_hub_model().pipeline("some-owner/some.model").unwrap();
}

#[test]
fn a_model_that_is_not_cached_is_named_with_the_reason() {
    let cache = HubCache::new();
    let path = cache.0.path().display().to_string();
    let lacking = [HubModel::new("some-owner/other").unwrap(), model().with_revision("v2")];
    for model in lacking {
        let message = message(cache.pipeline(model));
        assert!(
            message.contains(&path) && message.contains("HF_HUB_OFFLINE"),
            "{message}"
        );
    }
    fs::remove_file(cache.snapshot().join("unet/diffusion_pytorch_model.safetensors")).unwrap();
    let message = message(cache.pipeline(model()));
    assert!(message.contains("incomplete") && message.contains("unet"), "{message}");
    assert!(!message.contains('\n'), "{message}");
}

#[test]
fn a_variant_of_a_cached_model_can_be_chosen() {
    let cache = HubCache::new();
    let half = || model().with_variant("fp16");
    assert!(message(cache.pipeline(half())).contains("variant `fp16`"));
    for (folder, stem) in [
        ("text_encoder", "model"),
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
    ] {
        let folder = cache.snapshot().join(folder);
        let (full, half) = (format!("{stem}.safetensors"), format!("{stem}.fp16.safetensors"));
        fs::copy(folder.join(&full), folder.join(half)).unwrap();
        fs::remove_file(folder.join(&full)).unwrap();
        fs::write(folder.join(&full), "damaged").unwrap();
    }
    assert!(message(cache.pipeline(model())).contains("truncated"));
    cache.pipeline(half()).unwrap();
}

#[cfg(not(feature = "hub"))]
#[test]
fn without_the_feature_the_error_names_it() {
    let cache = tempfile::tempdir().unwrap();
    let registry = ModelRegistry::new(&Device::flex())
        .with_hub(Hub::new(cache.path()))
        .with_model("x", ModelSource::Hub(model()));
    let message = message(registry.pipeline("x"));
    assert!(
        message.contains("some-owner/some.model") && message.contains("--features hub"),
        "{message}"
    );
}

#[cfg(feature = "hub")]
#[test]
fn without_a_network_the_error_comes_soon() {
    let cache = tempfile::tempdir().unwrap();
    let start = std::time::Instant::now();
    let registry = ModelRegistry::new(&Device::flex())
        .with_hub(Hub::new(cache.path()).with_endpoint("http://127.0.0.1:9"))
        .with_model("x", ModelSource::Hub(model()));
    let message = message(registry.pipeline("x"));
    assert!(
        message.contains("some-owner/some.model") && message.contains("download failed"),
        "{message}"
    );
    assert!(!message.contains('\n'), "{message}");
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}
