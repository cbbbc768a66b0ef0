//! Generates a video from a prompt.
//!
//! Run with
//!
//! ```text
//! cargo run --release -p t2v-examples --example text_to_video -- "a red ball bouncing in a blue sky"
//! ```

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use clap::{Parser, ValueEnum};
use indicatif::{FormattedDuration, ProgressBar, ProgressStyle};
use t2v_examples::{ModelArgs, program, save_frames};
use t2v_pipeline::{
    Device, DeviceName, Dtype, FlowShift, FreeInit, FreeNoise, GenerateOptions, Gpt2Enhancer, InitMedia, Latents, Lora,
    MemoryMode, OutputFormat, Pipeline, PipelineError, Placement, Progress, PromptTable, Speed, Stage,
    TextToVideoRequest, TextToVideoResponse, TextualInversion, Video, check_output, found_devices,
};

type Error = Box<dyn std::error::Error>;

/// What `--decode` has no use for.
const OF_GENERATIONS: [&str; 30] = [
    "prompt",
    "request",
    "latents_out",
    "negative_prompt",
    "width",
    "height",
    "num_frames",
    "fps",
    "scheduler",
    "num_inference_steps",
    "guidance_scale",
    "guidance_scale_2",
    "flow_shift",
    "guidance_rescale",
    "seed",
    "strength",
    "clip_skip",
    "init_image",
    "last_image",
    "init_video",
    "mask_image",
    "lora",
    "motion_lora",
    "free_init",
    "context_length",
    "enhance_prompt",
    "prompt_enhancer",
    "prompt_weighting",
    "long_prompts",
    "speed",
];

#[derive(Parser)]
#[command(about = "Generates a video from a prompt", version)]
struct Args {
    /// What the video should show
    prompt: Option<String>,
    #[command(flatten)]
    model: ModelArgs,
    /// What the video should not show
    #[arg(long)]
    negative_prompt: Option<String>,
    #[arg(long)]
    width: Option<u32>,
    #[arg(long)]
    height: Option<u32>,
    #[arg(long)]
    num_frames: Option<u32>,
    /// Frames a second
    #[arg(long)]
    fps: Option<u32>,
    /// Scheduler, with or without the suffix "Scheduler"
    #[arg(long)]
    scheduler: Option<String>,
    #[arg(long)]
    num_inference_steps: Option<u32>,
    #[arg(long)]
    guidance_scale: Option<f64>,
    /// The guidance scale of the steps with less noise, for models with two denoisers (Wan 2.2)
    #[arg(long)]
    guidance_scale_2: Option<f64>,
    /// How far the schedule of Wan is moved towards noise; "size" is what Wan's authors have for the clip's size
    #[arg(long, value_name = "NUMBER|size")]
    flow_shift: Option<FlowShift>,
    /// 0 to 4294967295; random if not given, and printed at the end
    #[arg(long, allow_hyphen_values = true, value_parser = seed)]
    seed: Option<u32>,
    /// How much of the init media is replaced, 0 to 1
    #[arg(long)]
    strength: Option<f64>,
    /// Last layers of the text encoder to leave out
    #[arg(long)]
    clip_skip: Option<u32>,
    /// A picture to start from
    #[arg(long, value_name = "FILE", conflicts_with = "init_video")]
    init_image: Option<PathBuf>,
    /// A picture to end with, for models that are shown the first picture and the last (Wan)
    #[arg(long, value_name = "FILE", requires = "init_image", conflicts_with = "mask_image")]
    last_image: Option<PathBuf>,
    /// A video to start from: a folder of pictures in the natural order of their names, a GIF, or H.264 in MP4 or .mov
    #[arg(long, value_name = "FOLDER_GIF_OR_MP4")]
    init_video: Option<PathBuf>,
    /// Where --init-image is painted anew: a picture that is white there and black elsewhere; for models of Stable Diffusion
    #[arg(long, value_name = "FILE", requires = "init_image")]
    mask_image: Option<PathBuf>,
    /// A LoRA, in any of the usual layouts, and what it is multiplied by; any number of them
    #[arg(long, value_name = "FILE[:SCALE]")]
    lora: Vec<String>,
    /// A LoRA of motion modules; the same as --lora
    #[arg(long, value_name = "FILE[:SCALE]")]
    motion_lora: Vec<String>,
    /// Denoise the clip so many times, for frames that agree more (FreeInit)
    #[arg(long, value_name = "ITERATIONS")]
    free_init: Option<u32>,
    /// Make the clip in windows of so many frames, for clips longer than the motion modules know (FreeNoise)
    #[arg(long, value_name = "FRAMES")]
    context_length: Option<u32>,
    /// Frames from the start of a window to the next; 4, or as many as a shorter window has, if not given
    #[arg(long, value_name = "FRAMES", requires = "context_length")]
    context_stride: Option<u32>,
    /// How much of the guided prediction's spread is taken back, 0 to 1
    #[arg(long, value_name = "SHARE")]
    guidance_rescale: Option<f64>,
    /// Whether the prompt may be completed; if not given, only models that bring words of their own do
    #[arg(long)]
    enhance_prompt: Option<Switch>,
    /// What completes prompts instead of the model's own or the built-in table: another table or a GPT-2 folder
    #[arg(long, value_name = "FILE.json_OR_DIR")]
    prompt_enhancer: Option<PathBuf>,
    /// Let brackets weigh words: (word:1.3), (word), [word]
    #[arg(long)]
    prompt_weighting: bool,
    /// Use all of a prompt that is longer than the text encoder takes at once
    #[arg(long)]
    long_prompts: bool,
    /// Decode large frames in overlapping tiles: less memory, slightly different frames
    #[arg(long)]
    vae_tiling: bool,
    /// exact; balanced, in about half of the time with frames that hardly differ; or fast, in about a third with frames that
    /// differ
    #[arg(long)]
    speed: Option<Speed>,
    /// A learnt word (textual inversion); any number of them
    #[arg(long, value_name = "[WORD=]FILE")]
    embedding: Vec<String>,
    /// auto (the best there is), flex (the CPU), wgpu, vulkan, metal or cuda, those of GPUs also with an index as in
    /// cuda:1; all but flex need the Cargo feature of the same name
    #[arg(long, default_value = "auto")]
    device: String,
    /// What the networks compute in: f32, f16, bf16, or auto, which is half precision where the device has matrix units for
    /// it
    #[arg(long, default_value = "auto")]
    dtype: String,
    /// Lists the devices that this build reaches
    #[arg(long, exclusive = true)]
    list_devices: bool,
    /// The video: .mp4, .gif, .webp, .png (animated), or no extension for a folder of PNGs; "t2v.mp4" unless only frames
    /// are asked for
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Decoded frames before video encoding: one f32 tensor "frames" [frames, height, width, 3] in 0..1
    #[arg(long, value_name = "FILE.safetensors")]
    frames_out: Option<PathBuf>,
    /// Latents before they are decoded, for --decode
    #[arg(long, value_name = "FILE.safetensors")]
    latents_out: Option<PathBuf>,
    /// Only decodes what --latents-out kept
    #[arg(long, value_name = "FILE.safetensors", conflicts_with_all = OF_GENERATIONS)]
    decode: Option<PathBuf>,
    /// resident keeps every component in memory, sequential only the one at work, streamed of a transformer of Wan only the
    /// block at work, which is read for each step
    #[arg(long, default_value = "resident")]
    memory_mode: Memory,
    /// A body of the API's text2video endpoint, "-" for standard input; other options override its fields
    #[arg(long, value_name = "FILE.json")]
    request: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Switch {
    Yes,
    No,
}

#[derive(Clone, Copy, ValueEnum)]
enum Memory {
    Resident,
    Sequential,
    Streamed,
}

impl From<Memory> for MemoryMode {
    fn from(memory: Memory) -> Self {
        match memory {
            Memory::Resident => Self::Resident,
            Memory::Sequential => Self::Sequential,
            Memory::Streamed => Self::Streamed,
        }
    }
}

fn main() -> ExitCode {
    program(run)
}

fn run(args: &Args) -> Result<(), Error> {
    if args.list_devices {
        found_devices().iter().for_each(|device| println!("{device}"));
        return Ok(());
    }
    let start = Instant::now();
    let latents = args.decode.as_ref().map(Latents::open).transpose()?;
    let request = match &latents {
        Some(_) => None,
        None => Some(request(args)?),
    };
    if let Some(request) = &request {
        request.validate()?;
    }
    let out = video_path(args)?;
    let dtype: Dtype = args.dtype.parse()?;
    let device = args.device.parse::<DeviceName>()?.device()?;
    dtype.on(&device)?;
    let options = options(args, &device)?;
    let pipeline = pipeline(args, request.as_ref(), &Placement::new(&device).with_dtype(dtype))?;
    let video = match (&latents, &request) {
        (Some(latents), _) => pipeline.decode(latents, options)?,
        (None, Some(request)) => pipeline.generate_with(request, options)?,
        (None, None) => return Err("give a prompt or latents to decode".into()),
    };

    let writing = Instant::now();
    let mut output = Vec::new();
    if let Some(path) = &args.frames_out {
        save_frames(&video, path)?;
        output.push(path.display().to_string());
    }
    if let Some(path) = &out {
        video.save(path)?;
        output.push(path.display().to_string());
    }
    summary(&video, writing.elapsed().as_secs_f64());
    let response = TextToVideoResponse::success(1, start.elapsed().as_secs_f64(), output);
    println!("{}", serde_json::to_string(&response)?);
    Ok(())
}

/// Where the video goes, unless only frames are asked for. All outputs are tried before anything is generated.
fn video_path(args: &Args) -> Result<Option<PathBuf>, Error> {
    let out = match (&args.out, &args.frames_out) {
        (None, Some(_)) => None,
        (out, _) => Some(out.clone().unwrap_or_else(|| "t2v.mp4".into())),
    };
    if let Some(path) = &out {
        OutputFormat::from_path(path)?;
    }
    let outputs: Vec<&PathBuf> = out.iter().chain(&args.frames_out).chain(&args.latents_out).collect();
    for (i, path) in outputs.iter().enumerate() {
        if outputs[..i].contains(path) {
            let path = path.display();
            return Err(format!("`{path}` is named for two outputs: one would replace the other").into());
        }
        check_output(path)?;
    }
    Ok(out)
}

fn options<'a>(args: &'a Args, device: &Device) -> Result<GenerateOptions<'a>, Error> {
    let mut options = GenerateOptions::default();
    options.init = match (&args.init_image, &args.init_video) {
        (Some(path), _) if let Some(mask) = &args.mask_image => Some(InitMedia::open_masked(path, mask)?),
        (Some(path), _) if let Some(last) = &args.last_image => Some(InitMedia::open_ends(path, last)?),
        (Some(path), _) => Some(InitMedia::open_image(path)?),
        (_, Some(path)) => Some(InitMedia::open_video(path)?),
        _ => None,
    };
    options.enhancer = match &args.prompt_enhancer {
        Some(folder) if folder.is_dir() => Some(Arc::new(Gpt2Enhancer::open(folder, device)?)),
        Some(file) => Some(Arc::new(PromptTable::open(file)?)),
        None => None,
    };
    let mut bars = Bars::default();
    options.on_progress = Some(Box::new(move |progress| bars.show(progress)));
    if let Some(path) = &args.latents_out {
        options.on_latents = Some(Box::new(move |latents| latents.save(path)));
    }
    Ok(options)
}

/// The model, with its learnt words.
fn pipeline(args: &Args, request: Option<&TextToVideoRequest>, placement: &Placement) -> Result<Arc<Pipeline>, Error> {
    let embeddings: Vec<TextualInversion> = args
        .embedding
        .iter()
        .map(|option| embedding(option))
        .collect::<Result<_, _>>()?;
    let pipeline = args.model.pipeline(request, placement)?;
    pipeline.set_memory_mode(args.memory_mode.into());
    for embedding in &embeddings {
        pipeline.add_textual_inversion(embedding)?;
    }
    for (name, file, _) in loras(args)? {
        pipeline.add_lora(name, Lora::open(file)?)?;
    }
    Ok(pipeline)
}

fn request(args: &Args) -> Result<TextToVideoRequest, Error> {
    let mut request = match &args.request {
        Some(path) => {
            let body = read_body(path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
            TextToVideoRequest::from_slice_strict(&body).map_err(|e| format!("`{}`: {e}", path.display()))?
        }
        None => TextToVideoRequest::default(),
    };
    match (&args.prompt, &args.request) {
        (Some(prompt), _) => request.prompt = prompt.clone(),
        (None, None) => return Err("give a prompt, as in: text_to_video \"a red ball\"".into()),
        (None, Some(_)) => {}
    }
    fn set<T: Clone>(field: &mut Option<T>, option: &Option<T>) {
        if option.is_some() {
            field.clone_from(option);
        }
    }
    set(&mut request.negative_prompt, &args.negative_prompt);
    set(&mut request.width, &args.width);
    set(&mut request.height, &args.height);
    set(&mut request.num_frames, &args.num_frames);
    set(&mut request.fps, &args.fps);
    set(&mut request.scheduler, &args.scheduler);
    set(&mut request.num_inference_steps, &args.num_inference_steps);
    set(&mut request.guidance_scale, &args.guidance_scale);
    set(&mut request.guidance_scale_2, &args.guidance_scale_2);
    set(&mut request.flow_shift, &args.flow_shift);
    set(&mut request.seed, &args.seed);
    set(&mut request.strength, &args.strength);
    set(&mut request.clip_skip, &args.clip_skip);
    set(&mut request.prompt_weighting, &args.prompt_weighting.then_some(true));
    set(&mut request.long_prompts, &args.long_prompts.then_some(true));
    set(&mut request.vae_tiling, &args.vae_tiling.then_some(true));
    set(&mut request.speed, &args.speed);
    set(&mut request.guidance_rescale, &args.guidance_rescale);
    set(&mut request.free_init, &args.free_init.map(FreeInit::new));
    let windows = args.context_length.map(|length| {
        let usual = FreeNoise::default().context_stride.min(length);
        FreeNoise::new(length, args.context_stride.unwrap_or(usual))
    });
    set(&mut request.free_noise, &windows);
    request = with_loras(request, args)?;
    set(
        &mut request.enhance_prompt,
        &args.enhance_prompt.map(|switch| matches!(switch, Switch::Yes)),
    );
    Ok(request)
}

/// A request with the LoRAs of the options. What a body says of one that has the same name holds, unless the option has a scale.
fn with_loras(mut request: TextToVideoRequest, args: &Args) -> Result<TextToVideoRequest, Error> {
    let mut chosen = request.loras()?;
    let given = loras(args)?;
    if let Some((name, _)) = chosen
        .iter()
        .find(|(name, _)| !given.iter().any(|(known, ..)| known == name))
    {
        return Err(format!("the request asks for the LoRA `{name}`: give its file, of that name, with --lora").into());
    }
    for (name, _, scale) in given {
        match chosen.iter_mut().find(|(known, _)| *known == name) {
            Some((_, of_body)) => *of_body = scale.unwrap_or(*of_body),
            None => chosen.push((name, scale.unwrap_or(1.0))),
        }
    }
    (request.lora_model, request.lora_strength) = (None, None);
    Ok(chosen
        .into_iter()
        .fold(request, |request, (name, scale)| request.with_lora(name, scale)))
}

/// Names, files and scales of the LoRAs. A name is the file's, with a number if it is there already.
fn loras(args: &Args) -> Result<Vec<(String, PathBuf, Option<f64>)>, Error> {
    let mut loras: Vec<(String, PathBuf, Option<f64>)> = Vec::new();
    for option in args.lora.iter().chain(&args.motion_lora) {
        let (file, scale) = match option.rsplit_once(':') {
            Some((file, scale)) if !Path::new(option).exists() && !file.is_empty() => match scale.parse() {
                Ok(scale) => (file, Some(scale)),
                Err(_) if Path::new(file).exists() => {
                    return Err(format!("`{scale}` in `{option}` is no number to multiply a LoRA by").into());
                }
                Err(_) => (option.as_str(), None),
            },
            _ => (option.as_str(), None),
        };
        let path = PathBuf::from(file);
        let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
        let stem = stem.replace(',', "_");
        let same = loras
            .iter()
            .filter(|(name, ..)| name.split('#').next() == Some(&stem))
            .count();
        let name = if same == 0 {
            stem
        } else {
            format!("{stem}#{}", same + 1)
        };
        loras.push((name, path, scale));
    }
    Ok(loras)
}

fn seed(text: &str) -> Result<u32, String> {
    let range = "a seed is a whole number from 0 to 4294967295; leave --seed out for a random one";
    text.parse().map_err(|_| range.to_owned())
}

/// A file's bytes; those of standard input for `-`.
fn read_body(path: &Path) -> std::io::Result<Vec<u8>> {
    if path != Path::new("-") {
        return std::fs::read(path);
    }
    let mut body = Vec::new();
    std::io::stdin().lock().read_to_end(&mut body)?;
    Ok(body)
}

/// `FILE`, or `WORD=FILE` to call it something else than the file does.
fn embedding(option: &str) -> Result<TextualInversion, PipelineError> {
    match option.split_once('=') {
        Some((word, file)) if !Path::new(option).exists() => Ok(TextualInversion::open(file)?.with_token(word)),
        _ => Ok(TextualInversion::open(option)?),
    }
}

/// One progress bar a stage; while weights are read it shows bytes and how fast they come.
#[derive(Default)]
struct Bars {
    /// With the stage that it is of.
    current: Option<(Stage, ProgressBar)>,
}

impl Bars {
    fn show(&mut self, progress: Progress) {
        let bar = match self.current.take() {
            Some((stage, bar)) if stage == progress.stage => bar,
            other => {
                if let Some((_, unfinished)) = other {
                    unfinished.finish_and_clear();
                }
                bar(&progress)
            }
        };
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        bar.set_prefix(match progress.eta() {
            _ if progress.warming_up => "compiling and measuring kernels, once for this size".to_owned(),
            Some(eta) => format!("eta {}", FormattedDuration(eta)),
            None => String::new(),
        });
        if progress.done == progress.total && progress.total > 0 {
            bar.finish_and_clear();
        } else {
            self.current = Some((progress.stage, bar));
        }
    }
}

fn bar(progress: &Progress) -> ProgressBar {
    let (amounts, message) = match progress.component {
        Some(network) => (
            "{decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}",
            format!("{} the {network}", progress.stage),
        ),
        None => ("{pos}/{len}", progress.stage.to_string()),
    };
    let style = ProgressStyle::with_template(&format!("{{msg:>10}} {{wide_bar}} {amounts} {{elapsed}} {{prefix}}"));
    ProgressBar::new(progress.total as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(message)
}

fn summary(video: &Video, writing: f64) {
    let report = video.report();
    eprintln!(
        "{} frames of {}x{}, seed {}, {} with {} steps, guidance {}, {}",
        video.num_frames(),
        video.width(),
        video.height(),
        report.seed,
        report.scheduler,
        report.num_inference_steps,
        report.guidance_scale,
        report.dtype,
    );
    if !report.speed.is_exact() {
        let calls = report.model_calls;
        eprintln!(
            "{}: {} of {} calls ran the whole network",
            report.speed, calls.whole, calls.total
        );
    }
    if report.original_prompt.is_some() {
        eprintln!("completed to \"{}\"", report.prompt);
    }
    for (count, prompt) in [
        (report.truncated_tokens, "prompt"),
        (report.truncated_negative_tokens, "negative prompt"),
    ] {
        if count > 0 {
            eprintln!("the last {count} tokens of the {prompt} did not fit and were left out");
        }
    }
    let times = video.stage_times().iter();
    let mut stages: Vec<_> = times
        .map(|(stage, time)| (stage.to_string(), time.as_secs_f64()))
        .collect();
    stages.push(("writing".into(), writing));
    let stages: Vec<String> = stages
        .iter()
        .map(|(name, time)| format!("{name} {time:.2} s"))
        .collect();
    eprintln!("{}", stages.join(", "));
    if let Some(peak) = peak_memory() {
        eprintln!("peak memory {:.2} GB", peak as f64 / 1e9);
    }
}

/// Bytes; Linux tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
