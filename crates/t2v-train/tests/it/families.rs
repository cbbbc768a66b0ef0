//! Each family from a folder of pictures to a clip that its LoRA changes, on the small checkpoints of `t2v-pipeline`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use image::{Rgb, RgbImage};
use t2v_denoiser::open_motion_adapter;
use t2v_pipeline::{Device, FolderModel, Lora, Pipeline, TextToVideoRequest};
use t2v_train::{Base, ClipSize, Dataset, Denoisers, LoraLabel, TrainSettings, Trainable, Trainer, save_lora};
use t2v_weights::{LoraTarget, ModelFolder};

/// A small checkpoint, and how it is trained.
struct Case {
    folder: &'static str,
    motion_adapter: Option<&'static str>,
    size: ClipSize,
    text_encoder: bool,
}

fn size(frames: usize, side: usize) -> ClipSize {
    ClipSize {
        frames,
        stride: 1,
        width: side,
        height: side,
    }
}

fn checkpoint(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../t2v-pipeline/tests/fixtures")
        .join(name)
}

fn write_data(folder: &Path) {
    fs::create_dir(folder.join("ball")).unwrap();
    for frame in 0..5 {
        let is_ball = |x: u32, y: u32| (frame * 4..frame * 4 + 20).contains(&x) && (8..28).contains(&y);
        let colour = |x, y| Rgb(if is_ball(x, y) { [230, 40, 200] } else { [20, 90, 30] });
        RgbImage::from_fn(64, 64, colour)
            .save(folder.join(format!("ball/{frame}.png")))
            .unwrap();
    }
    fs::write(folder.join("ball.txt"), "a pink ball").unwrap();
    RgbImage::from_fn(64, 64, |_, y| Rgb([if y < 30 { 255 } else { 0 }; 3]))
        .save(folder.join("ball.mask.png"))
        .unwrap();
}

/// A LoRA of two steps.
fn train<N: Trainable>(base: &Base, network: N, data: &Dataset, text_encoder: bool, out: &Path) {
    let mut settings = TrainSettings::default();
    settings.rank = 2;
    settings.learning_rate = 2e-2;
    settings.text_encoder = text_encoder;
    let mut trainer = Trainer::new(network, base.noise().clone(), settings, base.device()).unwrap();
    if text_encoder {
        trainer = trainer.with_text_encoder(base.trained_text_encoder().unwrap()).unwrap();
    }
    for _ in 0..2 {
        let report = trainer.step(data).unwrap();
        assert!(report.loss > 0.0 && report.gradient_norm > 0.0, "{report:?}");
    }
    let label = LoraLabel {
        base: base.name().into(),
        base_sha256: base.sha256().unwrap(),
        steps: 2,
        trigger: None,
    };
    save_lora(out, &trainer.result(), &label, trainer.settings()).unwrap();
}

fn check(case: &Case) {
    let (folder, device) = (tempfile::tempdir().unwrap(), Device::flex());
    write_data(folder.path());
    let path = checkpoint(case.folder);
    let mut model = FolderModel::new(&path);
    let mut base = Base::new(ModelFolder::open(&path).unwrap(), case.folder, &device).unwrap();
    if let Some(adapter) = case.motion_adapter {
        base = base.with_motion_adapter(open_motion_adapter(checkpoint(adapter)).unwrap());
        model = model.with_motion_adapter(checkpoint(adapter));
    }
    let data = Dataset::open(folder.path(), &case.size, None, &base, |_, _| ()).unwrap();
    let out = folder.path().join("lora.safetensors");
    match base.denoiser().unwrap() {
        Denoisers::UNet3d(network) => train(&base, network, &data, case.text_encoder, &out),
        Denoisers::UNet2d(network) => train(&base, network, &data, case.text_encoder, &out),
        Denoisers::Wan(network) => train(&base, network, &data, case.text_encoder, &out),
        other => panic!("{other:?}"),
    }
    let lora = Lora::open(&out).unwrap();
    assert!(lora.unknown_keys().is_empty(), "{:?}", lora.unknown_keys());
    assert_eq!(lora.layers(LoraTarget::TextEncoder) > 0, case.text_encoder);
    let pipeline = Pipeline::from_dir(model, &device).unwrap();
    let request = TextToVideoRequest::new("a pink ball")
        .with_seed(1)
        .with_enhance_prompt(false);
    let request = request
        .with_size(case.size.width as u32, case.size.height as u32)
        .with_num_frames(case.size.frames as u32)
        .with_num_inference_steps(2);
    let frame = |request: &TextToVideoRequest| pipeline.generate(request).unwrap().frame_rgb8(1);
    let plain = frame(&request);
    pipeline.add_lora("ball", lora).unwrap();
    assert_ne!(plain, frame(&request.with_lora("ball", 1.0)), "{}", case.folder);
}

#[test]
fn modelscope_learns() {
    check(&Case {
        folder: "tiny_a",
        motion_adapter: None,
        size: size(3, 32),
        text_encoder: true,
    });
}

#[test]
fn animatediff_learns() {
    check(&Case {
        folder: "animatediff",
        motion_adapter: None,
        size: size(4, 32),
        text_encoder: true,
    });
}

#[test]
fn stable_diffusion_learns_with_motion_modules_from_elsewhere() {
    check(&Case {
        folder: "sd",
        motion_adapter: Some("motion_adapter"),
        size: size(4, 32),
        text_encoder: false,
    });
}

#[test]
fn wan_learns() {
    for folder in ["wan_a", "wan_c"] {
        check(&Case {
            folder,
            motion_adapter: None,
            size: size(5, 32),
            text_encoder: false,
        });
    }
}

#[test]
fn sizes_fit_the_family() {
    let size_of = |name: &str| {
        let base = Base::new(ModelFolder::open(checkpoint(name)).unwrap(), name, &Device::flex());
        base.unwrap().usual_size().unwrap()
    };
    let [unet, wan] = ["animatediff", "wan_c"].map(size_of);
    assert_eq!((unet.frames, unet.width, unet.height), (16, 64, 64));
    assert_eq!((wan.frames, wan.width, wan.height), (81, 832, 480));
    let base = Base::new(
        ModelFolder::open(checkpoint("wan_a")).unwrap(),
        "wan_a",
        &Device::flex(),
    )
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    let open = |size: &ClipSize| {
        Dataset::open(folder.path(), size, None, &base, |_, _| ())
            .err()
            .unwrap()
            .to_string()
    };
    assert!(open(&size(4, 32)).contains("`frames` is 4"), "{}", open(&size(4, 32)));
    assert!(
        open(&size(5, 40)).contains("a multiple of 16"),
        "{}",
        open(&size(5, 40))
    );
}
