//! tiny-world learns from a folder of pictures: data, training, file.

use std::{fs, path::Path};

use image::{Rgb, RgbImage};
use t2v_pipeline::{Device, Lora, Pipeline, TextToVideoRequest};
use t2v_train::{Base, ClipSize, Dataset, Denoisers, LoraLabel, TrainSettings, Trainer, save_lora};

const SIZE: ClipSize = ClipSize {
    frames: 2,
    stride: 2,
    width: 32,
    height: 32,
};

/// A folder of a clip of seven frames: a square that moves.
fn write_clip(folder: &Path, name: &str, caption: Option<&str>) {
    fs::create_dir(folder.join(name)).unwrap();
    for frame in 0..7 {
        let is_square = |x: u32, y: u32| (frame * 2..frame * 2 + 12).contains(&x) && (8..20).contains(&y);
        let colour = |x, y| Rgb(if is_square(x, y) { [230, 40, 200] } else { [20, 90, 30] });
        let file = folder.join(name).join(format!("{frame}.png"));
        RgbImage::from_fn(40, 36, colour).save(file).unwrap();
    }
    if let Some(caption) = caption {
        fs::write(folder.join(format!("{name}.txt")), caption).unwrap();
    }
}

#[test]
fn a_folder_becomes_a_lora() {
    let (folder, device) = (tempfile::tempdir().unwrap(), Device::flex());
    write_clip(folder.path(), "a", Some("a pink square"));
    let base = Base::tiny_world(&device).unwrap();
    assert_eq!(base.usual_size().unwrap().frames, 16);
    let mut told = Vec::new();
    let data = Dataset::open(folder.path(), &SIZE, Some("zorb"), &base, |done, all| {
        told.push((done, all))
    })
    .unwrap();
    // Seven frames have two clips of frames 0 and 2, 3 and 5.
    assert_eq!((data.examples().len(), told), (2, vec![(0, 2), (1, 2), (2, 2)]));
    // What was encoded is kept.
    let again = Dataset::open(folder.path(), &SIZE, Some("zorb"), &base, |_, _| {
        panic!("it is encoded again")
    });
    let again = again.unwrap();
    assert_eq!(again.examples().len(), 2);

    let mut settings = TrainSettings::default();
    settings.rank = 2;
    settings.learning_rate = 1e-2;
    let Denoisers::UNet3d(network) = base.denoiser().unwrap() else {
        panic!("tiny-world is of ModelScope's family");
    };
    let mut trainer = Trainer::new(network, base.noise().clone(), settings, &device).unwrap();
    for _ in 0..2 {
        let report = trainer.step(&data).unwrap();
        assert!(report.loss > 0.0 && report.gradient_norm > 0.0, "{report:?}");
    }
    let file = folder.path().join("zorb.safetensors");
    let label = LoraLabel {
        trigger: Some("zorb".into()),
        base: base.name().into(),
        base_sha256: base.sha256().unwrap(),
        steps: trainer.steps_done(),
    };
    save_lora(&file, &trainer.result(), &label, trainer.settings()).unwrap();
    assert!(Lora::open(&file).unwrap().unknown_keys().is_empty());
    generates_otherwise(&file, &device);
}

/// A pipeline with the LoRA makes another video than without.
fn generates_otherwise(file: &Path, device: &Device) {
    let request = TextToVideoRequest::new("zorb, a pink square").with_seed(1);
    let request = request.with_size(32, 32).with_num_frames(2).with_num_inference_steps(1);
    let frames = |pipeline: &Pipeline, request: &TextToVideoRequest| pipeline.generate(request).unwrap().frame_rgb8(1);
    let pipeline = Pipeline::embedded(device).unwrap();
    let plain = frames(&pipeline, &request);
    pipeline.add_lora("zorb", Lora::open(file).unwrap()).unwrap();
    let with_lora = frames(&pipeline, &request.with_lora("zorb", 1.0));
    assert_ne!(plain, with_lora);
    // As the body of a request names it.
    let body = serde_json::json!({
        "prompt": "zorb, a pink square", "seed": 1, "width": 32, "height": 32, "num_frames": 2, "num_inference_steps": 1,
        "lora_model": "zorb", "lora_strength": 1
    });
    let request = TextToVideoRequest::from_json(&body).unwrap();
    assert_eq!(with_lora, frames(&pipeline, &request));
}

#[test]
fn every_fault_of_a_folder_is_told_before_anything_is_encoded() {
    let (folder, device) = (tempfile::tempdir().unwrap(), Device::flex());
    write_clip(folder.path(), "good", Some("a square"));
    write_clip(folder.path(), "silent", None);
    fs::write(folder.path().join("broken.mp4"), b"nothing").unwrap();
    fs::write(folder.path().join("broken.txt"), "a ball").unwrap();
    let base = Base::tiny_world(&device).unwrap();
    let open = |size: &ClipSize| {
        let opened = Dataset::open(folder.path(), size, None, &base, |_, _| panic!("nothing is encoded"));
        opened.unwrap_err().to_string()
    };
    let message = open(&SIZE);
    assert!(
        message.contains("2 faults") && message.contains("silent.txt"),
        "{message}"
    );
    assert!(message.contains("broken.mp4"), "{message}");
    let long = ClipSize { frames: 5, ..SIZE };
    let message = open(&long);
    assert!(
        message.contains("3 faults") && message.contains("it has 7 frames"),
        "{message}"
    );
    let message = open(&ClipSize { width: 33, ..SIZE });
    assert!(message.contains("`width` is 33"), "{message}");
    // Masks count, too: one of another size, and one without a subject.
    let mask = |level: u8, side: u32| RgbImage::from_pixel(side, 36, Rgb([level; 3]));
    mask(255, 30).save(folder.path().join("good.mask.png")).unwrap();
    let message = open(&SIZE);
    assert!(
        message.contains("3 faults") && message.contains("30x36 pixels, and its clip 40x36"),
        "{message}"
    );
    mask(0, 40).save(folder.path().join("good.mask.png")).unwrap();
    assert!(open(&SIZE).contains("black everywhere"));
    mask(255, 40).save(folder.path().join("good.mask.jpg")).unwrap();
    let message = open(&SIZE);
    assert!(
        message.contains("`good` has 2 masks, `good.mask.jpg`, `good.mask.png`; keep one"),
        "{message}"
    );
}
