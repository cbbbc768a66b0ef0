//! The program `t2v-train`: what it writes, what it says of what can't be trained, and that nothing is lost when it ends early.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use image::{Luma, Rgb, RgbImage};
use safetensors::SafeTensors;
use tempfile::TempDir;

/// What a training begins with: the smallest clips, on tiny-world.
const SMALL: [&str; 12] = [
    "--frames",
    "2",
    "--width",
    "32",
    "--height",
    "32",
    "--rank",
    "2",
    "--trigger",
    "zorb",
    "--targets",
    "to_q,to_v",
];
/// Long enough for a step on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(300);

/// A folder of data and the files of a training.
struct Training {
    folder: TempDir,
}

impl Training {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (data, name, colour) in [("data", "pink", [230, 40, 200]), ("known", "red", [230, 40, 40])] {
            let clip = folder.path().join(data).join("ball");
            fs::create_dir_all(&clip).unwrap();
            for frame in 0..4 {
                let is_ball = |x: u32, y: u32| (frame * 3..frame * 3 + 10).contains(&x) && (8..18).contains(&y);
                let colour = |x, y| Rgb(if is_ball(x, y) { colour } else { [20, 90, 30] });
                let file = clip.join(format!("{frame}.png"));
                RgbImage::from_fn(32, 32, colour).save(file).unwrap();
            }
            fs::write(clip.with_extension("txt"), format!("a {name} ball")).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with the usual options, but for those that are given.
    fn command(&self, args: &[&str]) -> Command {
        let paths = [self.path("data"), self.path("zorb.safetensors")].map(|path| path.display().to_string());
        let usual = [["--data", &paths[0]], ["--out", &paths[1]]];
        let usual = usual.iter().map(|pair| &pair[..]).chain(SMALL.chunks(2));
        let mut command = Command::new(env!("CARGO_BIN_EXE_t2v-train"));
        command
            .args(usual.filter(|pair| !args.contains(&pair[0])).flatten())
            .args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What it says where it fails: a sentence, and no panic.
    fn fault(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("t2v-train: ") && !said.contains("panicked"), "{said}");
        said
    }

    fn trained(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said
    }

    fn lora(&self) -> Vec<(String, Vec<u8>)> {
        let bytes = fs::read(self.path("zorb.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let mut tensors: Vec<_> = tensors
            .iter()
            .map(|(key, view)| (key.to_owned(), view.data().to_vec()))
            .collect();
        tensors.sort();
        tensors
    }

    fn state(&self) -> PathBuf {
        self.path("zorb.state.safetensors")
    }

    /// Steps done in the state that is kept.
    fn steps_kept(&self) -> usize {
        let bytes = fs::read(self.state()).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        header.metadata().clone().unwrap()["step"].parse().unwrap()
    }

    /// A training of so many steps, once its state is on the disk.
    fn begun(&self) -> Child {
        let mut command = self.command(&["--steps", "100000", "--state-every", "1"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(|| self.state().is_file());
        child
    }
}

fn wait_for(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it takes too long");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_lora_a_curve_and_clips_are_written() {
    let training = Training::new();
    let mask = image::GrayImage::from_fn(32, 32, |_, y| Luma([if y < 20 { 255 } else { 0 }]));
    mask.save(training.path("data/ball.mask.png")).unwrap();
    let options = "--steps 2 --state-every 1 --sample-every 2 --text-encoder --checkpointing --batch-size 2 --ema-decay 0.9 \
                   --min-snr-gamma 5 --rank-dropout 0.2 --caption-dropout 0.2 --noise-offset 0.1 --warmup-steps 1 --cosine";
    let mut args: Vec<&str> = options.split_whitespace().collect();
    args.extend(["--sample-prompt", "zorb, a pink ball"]);
    let said = training.trained(&args);
    assert!(
        said.contains("2 clips") && said.contains("saved") && !said.contains("note:"),
        "{said}"
    );
    let lora = training.lora();
    for part in ["unet.", "text_encoder.text_model."] {
        assert!(lora.iter().any(|(key, _)| key.starts_with(part)), "{part}");
    }
    let curve = fs::read_to_string(training.path("zorb.loss.svg")).unwrap();
    assert!(
        curve.starts_with("<svg") && curve.trim_end().ends_with("</svg>"),
        "{curve}"
    );
    let clip = fs::read(training.path("zorb.step-000002.mp4")).unwrap();
    assert_eq!(&clip[4..8], b"ftyp");
    assert!(!training.state().exists());
}

#[test]
fn the_same_seed_gives_the_same_file() {
    let (first, second) = (Training::new(), Training::new());
    for training in [&first, &second] {
        training.trained(&["--steps", "2", "--learning-rate", "1e-3"]);
    }
    assert_eq!(first.lora(), second.lora());
}

#[test]
fn what_can_t_be_trained_is_said_in_a_sentence() {
    let training = Training::new();
    let cases: [(&[&str], &str); 11] = [
        (&["--rank", "0"], "`rank` is 0; it must be 1 to 1024"),
        (&["--targets", "to_x"], "`targets` are to_x"),
        (&["--width", "33"], "`width` is 33"),
        (&["--frames", "9"], "it has 4 frames"),
        (&["--learning-rate", "0"], "`learning_rate` is 0"),
        (&["--model", "no/such/model"], "no/such/model"),
        (&["--resume"], "nothing to resume"),
        (&["--out", "zorb.bin"], "ends in .safetensors"),
        (&["--out", "no/such/folder/zorb.safetensors"], "no/such/folder"),
        (&["--device", "abacus"], "abacus"),
        (&["--data", "no/such/folder"], "no/such/folder"),
    ];
    for (args, said) in cases {
        let message = training.fault(args);
        assert!(message.contains(said), "{args:?}: {message}");
        assert!(!training.path("zorb.safetensors").exists(), "{args:?}");
    }
    fs::create_dir(training.path("empty")).unwrap();
    let empty = training.path("empty").display().to_string();
    let message = training.fault(&["--data", &empty]);
    assert!(message.contains("there are no clips in it"), "{message}");
    fs::create_dir(training.path("model")).unwrap();
    fs::write(
        training.path("model/model_index.json"),
        r#"{"_class_name": "FluxPipeline"}"#,
    )
    .unwrap();
    let model = training.path("model").display().to_string();
    let message = training.fault(&["--model", &model]);
    assert!(message.contains("not on `FluxPipeline`"), "{message}");
}

/// The first step shows what is new, the second what is known.
#[test]
fn what_is_known_is_shown_in_turn() {
    let lora = |args: &[&str]| {
        let training = Training::new();
        training.trained(args);
        training.lora()
    };
    let with_known = |steps| {
        let training = Training::new();
        let known = training.path("known").display().to_string();
        training.trained(&["--known", &known, "--steps", steps]);
        training.lora()
    };
    assert_eq!(with_known("1"), lora(&["--steps", "1"]));
    assert_ne!(with_known("2"), lora(&["--steps", "2"]));
    let training = Training::new();
    let message = training.fault(&["--known", "nowhere"]);
    assert!(message.contains("--known is `nowhere`"), "{message}");
    let message = training.fault(&["--known", &training.path("data").display().to_string()]);
    assert!(message.contains("--known and --data"), "{message}");
}

#[test]
fn a_loss_that_is_no_number_keeps_the_last_good_state() {
    let training = Training::new();
    let message = training.fault(&["--steps", "9", "--learning-rate", "1e38", "--weight-decay", "0"]);
    assert!(
        message.contains("is not a number") && message.contains("lower --learning-rate"),
        "{message}"
    );
    assert!(!training.path("zorb.safetensors").exists());
    let said = training.trained(&[
        "--steps",
        "2",
        "--learning-rate",
        "1e-4",
        "--weight-decay",
        "0",
        "--resume",
    ]);
    assert!(said.contains("saved"), "{said}");
    // Numbers that are left of what went wrong would be no numbers, or as large as the learning rate.
    for (key, bytes) in training.lora() {
        let values = bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value));
        assert!(values.into_iter().all(|value| value.abs() < 1e3), "{key}");
    }
}

#[test]
fn what_can_t_be_written_on_the_way_ends_nothing() {
    let training = Training::new();
    // Where a folder is, no file can be written.
    fs::create_dir(training.path("zorb.loss.svg")).unwrap();
    fs::create_dir(training.state()).unwrap();
    let said = training.trained(&["--steps", "2", "--state-every", "1"]);
    assert!(
        said.contains("note: ") && said.contains("the training goes on") && said.contains("saved"),
        "{said}"
    );
    assert!(!training.lora().is_empty());
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_was_done() {
    let training = Training::new();
    let mut child = training.begun();
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    let mut status = None;
    wait_for(|| {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(130));
    goes_on(&training);
}

#[test]
fn a_program_that_is_killed_loses_an_interval_at_most() {
    let training = Training::new();
    let mut child = training.begun();
    child.kill().unwrap();
    child.wait().unwrap();
    goes_on(&training);
}

/// The kept state leads to the weights of a training that was never interrupted.
fn goes_on(training: &Training) {
    let steps = (training.steps_kept() + 1).to_string();
    assert!(!training.path("zorb.safetensors").exists());
    training.trained(&["--steps", &steps, "--resume"]);
    assert!(!training.state().exists());
    let other = Training::new();
    other.trained(&["--steps", &steps, "--state-every", "0"]);
    assert_eq!(training.lora(), other.lora());
}
