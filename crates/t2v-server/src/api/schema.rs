//! Bodies of requests as the description of the API shows them. They are read leniently: numbers may be texts, switches
//! "yes" or "no", and unknown fields are ignored.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A body that needs nothing but the key.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyBody {
    /// A key of this server.
    key: String,
}

/// A video from a prompt.
#[derive(Serialize, ToSchema)]
pub(super) struct TextToVideoBody {
    /// A key of this server.
    key: String,
    /// What the video should show.
    #[schema(pattern = "\\S")]
    prompt: String,
    #[serde(flatten)]
    parameters: Parameters,
    /// A picture to start from: a URL, a data URL, or base64.
    init_image: Option<String>,
    /// A video to start from: a URL, a data URL, or base64.
    init_video: Option<String>,
    /// Whether the answer is not to wait for the video, and has its URL in `future_links`.
    #[schema(pattern = "^(yes|no)$")]
    instant_response: Option<String>,
    /// Whether another server may make the video, where there are several.
    #[schema(value_type = Option<String>, pattern = "^(yes|no)$")]
    loadbalancer: Option<String>,
}

/// A video from a picture.
#[derive(Serialize, ToSchema)]
pub(super) struct ImageToVideoBody {
    /// A key of this server.
    key: String,
    /// What the video should show.
    #[schema(pattern = "\\S")]
    prompt: String,
    /// The picture: a URL, a data URL, or base64.
    init_image: String,
    #[serde(flatten)]
    parameters: Parameters,
}

/// A new video.
#[derive(Serialize, ToSchema)]
pub(super) struct CreateBody {
    /// What the video should show.
    #[schema(pattern = "\\S")]
    prompt: String,
    /// The model's name.
    model: Option<String>,
    /// Seconds that the video lasts, as a text or a number.
    #[schema(pattern = "^[1-9][0-9]?$")]
    seconds: Option<String>,
    /// Width and height in pixels.
    #[schema(pattern = "^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$")]
    size: Option<String>,
    /// A picture to start from: a file of a form, a URL, or a data URL.
    input_reference: Option<String>,
    #[serde(flatten)]
    parameters: Parameters,
}

/// A picture from a prompt.
#[derive(Serialize, ToSchema)]
pub(super) struct TextToImageBody {
    /// A key of this server.
    key: String,
    /// What the picture should show.
    #[schema(pattern = "\\S")]
    prompt: String,
    #[serde(flatten)]
    parameters: PictureParameters,
}

/// A picture from a picture.
#[derive(Serialize, ToSchema)]
pub(super) struct ImageToImageBody {
    /// A key of this server.
    key: String,
    /// What the picture should show.
    #[schema(pattern = "\\S")]
    prompt: String,
    /// The picture to start from: a URL, a data URL, or base64.
    init_image: String,
    #[serde(flatten)]
    parameters: PictureParameters,
}

/// A part of a picture painted anew.
#[derive(Serialize, ToSchema)]
pub(super) struct InpaintBody {
    /// A key of this server.
    key: String,
    /// What the picture should show.
    #[schema(pattern = "\\S")]
    prompt: String,
    /// The picture: a URL, a data URL, or base64.
    init_image: String,
    /// White where it is painted anew: a URL, a data URL, or base64.
    mask_image: String,
    #[serde(flatten)]
    parameters: PictureParameters,
}

/// What the endpoints for pictures take. Without a value it is the model's own.
#[derive(Serialize, ToSchema)]
pub(super) struct PictureParameters {
    /// The name of a model that makes pictures.
    model_id: Option<String>,
    #[serde(flatten)]
    sampling: Sampling,
    /// How many pictures: the first with the seed, each further one with the next.
    #[schema(minimum = 1, maximum = 4)]
    samples: Option<u8>,
    /// Told when the pictures are there, or are not to be: `https://` and public.
    webhook: Option<String>,
    /// Whether `output` has the pictures themselves, as base64 of a PNG, and not URLs. The webhook has URLs in any case.
    #[schema(pattern = "^(yes|no)$")]
    base64: Option<String>,
    /// Whether the answer is not to wait for the pictures, and has their URLs in `future_links`.
    #[schema(pattern = "^(yes|no)$")]
    instant_response: Option<String>,
}

/// What both APIs take for videos. Without a value it is the model's own.
#[derive(Serialize, ToSchema)]
pub(super) struct Parameters {
    /// The model's name.
    model_id: Option<String>,
    #[serde(flatten)]
    sampling: Sampling,
    /// Frames of the video, as many as the model can do.
    #[schema(minimum = 1, maximum = 128)]
    num_frames: Option<u32>,
    /// Frames a second.
    #[schema(minimum = 1, maximum = 60)]
    fps: Option<u32>,
    /// Whether a clip of a model with motion modules is denoised several times, for frames that agree more.
    #[schema(pattern = "^(yes|no)$")]
    use_improved_sampling: Option<String>,
    /// Seed of the noise that is drawn for each of these times.
    #[schema(minimum = 0)]
    improved_sampling_seed: Option<u32>,
    /// Told when the video is there, or is not to be: `https://` and public.
    webhook: Option<String>,
    /// What `output` leads to. An MP4 is there in any case.
    #[schema(pattern = "^(mp4|gif)$")]
    output_type: Option<String>,
}

/// What pictures and videos are made with.
#[derive(Serialize, ToSchema)]
pub(super) struct Sampling {
    /// What should not be shown.
    negative_prompt: Option<String>,
    /// Pixels, a multiple of the model's factor and at most 1024 with most models.
    #[schema(minimum = 8, maximum = 2048, multiple_of = 8)]
    width: Option<u32>,
    /// Pixels, a multiple of the model's factor and at most 1024 with most models.
    #[schema(minimum = 8, maximum = 2048, multiple_of = 8)]
    height: Option<u32>,
    /// Name of a scheduler, of those that `schedulers_list` has.
    #[schema(example = "UniPCMultistepScheduler")]
    scheduler: Option<String>,
    /// Denoising steps.
    #[schema(minimum = 1, maximum = 50)]
    num_inference_steps: Option<u32>,
    /// Weight of the prompt.
    #[schema(minimum = 1, maximum = 20)]
    guidance_scale: Option<f64>,
    /// Its weight in the steps with less noise, of models that have a second denoiser for these; otherwise that of
    /// `guidance_scale`.
    #[schema(minimum = 1, maximum = 20)]
    guidance_scale_2: Option<f64>,
    /// How far the schedule of a model that predicts a flow (Wan's) is moved towards noise: a number from 0.01 to 100, or `size`.
    flow_shift: Option<String>,
    /// With something to start from: how much of it is replaced.
    #[schema(minimum = 0, maximum = 1)]
    strength: Option<f64>,
    /// Makes the same again; otherwise one is drawn.
    #[schema(minimum = 0)]
    seed: Option<u32>,
    /// Whether the prompt may be completed.
    #[schema(pattern = "^(yes|no)$")]
    enhance_prompt: Option<String>,
    /// Last layers of the text encoder to leave out.
    #[schema(minimum = 0, maximum = 8)]
    clip_skip: Option<u32>,
    /// How much of the exactness is given for speed: `balanced` takes about half of the time, `fast` a third.
    #[schema(pattern = "^(exact|balanced|fast)$")]
    speed: Option<String>,
    /// Names of LoRAs, with commas between several.
    lora_model: Option<String>,
    /// What they are multiplied by: one number, or one for each with commas; otherwise 1.
    lora_strength: Option<String>,
    /// Names of learnt words, with commas between several.
    embeddings_model: Option<String>,
    /// Given back to the webhook: a text, a number or a boolean.
    #[schema(value_type = Option<String>)]
    track_id: Option<Value>,
    /// Whether the files are removed after a day.
    #[schema(pattern = "^(yes|no)$")]
    temp: Option<String>,
}

/// The number of a video.
#[derive(Serialize, ToSchema)]
pub(super) struct FetchBody {
    /// A key of this server.
    key: String,
    /// The number of the video, which may be a text, too.
    request_id: i64,
}

/// The name of a model.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelBody {
    /// A key of this server.
    key: String,
    /// Its name.
    model_id: String,
}

/// A model to take in.
#[derive(Serialize, ToSchema)]
pub(super) struct LoadModelBody {
    /// A key of this server that may change it.
    key: String,
    /// The name that it gets.
    model_id: String,
    /// A folder or file below a model root of the server, or a hub id.
    url: String,
    /// What it is: `huggingface` (a folder or a hub id), `custom_ckpt` (one file), `lora` or `embeddings`.
    #[schema(pattern = "^(huggingface|diffusers|custom_ckpt|lora|embeddings)$")]
    model_type: Option<String>,
    /// Of a checkpoint in one file: a folder below a model root with its tokenizer and configurations.
    config: Option<String>,
    /// Motion modules, a folder or file below a model root, that make a model of pictures one of videos.
    motion_adapter: Option<String>,
    /// Told when the model is open, or cannot be opened: `https://` and public.
    webhook: Option<String>,
}

/// A picture to keep.
#[derive(Serialize, ToSchema)]
pub(super) struct UploadBody {
    /// A key of this server.
    key: String,
    /// PNG, JPEG, WebP or GIF, as base64 or a data URL.
    image: String,
}

/// A bucket.
#[derive(Serialize, ToSchema)]
pub(super) struct UpdateS3Body {
    /// A key of this server that may change it.
    key: String,
    /// The bucket's name.
    bucket_name: String,
    /// Its region.
    region_name: Option<String>,
    /// Where S3 is spoken, if not at Amazon.
    endpoint_url: Option<String>,
    /// The key's id.
    aws_access_key_id: String,
    /// The key.
    aws_secret_access_key: String,
    /// A folder in the bucket.
    image_directory: Option<String>,
}

/// What an error of the API of 2023 says.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum LegacyMessage {
    /// A sentence.
    Text(String),
    /// Lists of faults by field.
    Faults(std::collections::BTreeMap<String, Vec<String>>),
}
