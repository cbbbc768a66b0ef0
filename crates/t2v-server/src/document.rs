//! The public JSON of a job: OpenAI's fields of a video, and beside them this server's own.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    job::{Job, JobId, JobProgress, Medium, State},
    outputs::Outputs,
    store::Live,
    worker::engine::Variant,
};

/// What comes before the number of a job in its id.
const PREFIX: &str = "video_";

/// A job, as every answer of `/v1/videos` and every event has it. A page can be rendered from this document alone, and then
/// patched: each event `patch` has the fields that changed with their new values, each to be put in the place of the old one.
///
/// OpenAI's own fields are `id` to `remixed_from_video_id`; a cancelled job is `failed` there, with the code `cancelled` in
/// its `error`. All others are this server's. What a job doesn't have yet, or never has, is `null`, so that every document
/// has every field.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Video)]
pub struct Document {
    /// `video_` and the number of the job.
    pub id: String,
    /// Always `video`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// The model's name.
    pub model: String,
    /// How far the job is.
    pub status: Status,
    /// Of the whole job, 0 to 100.
    pub progress: u8,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Seconds since 1970, once the video is there.
    pub completed_at: Option<i64>,
    /// Seconds since 1970: when the files are removed, where that is known; in the past, where they were.
    pub expires_at: Option<i64>,
    /// Width and height in pixels, such as `64x64`.
    pub size: String,
    /// Seconds that the video lasts, as a text: frames divided by frames a second.
    pub seconds: String,
    /// Why there is no video.
    pub error: Option<DocumentError>,
    /// The prompt: as completed, once the video is there.
    pub prompt: String,
    /// Always `null`: videos are not remixed here.
    pub remixed_from_video_id: Option<String>,

    /// The number of the job: its id in the API of 2023.
    pub number: i64,
    /// The seed, which is drawn when the job is accepted: with it the same request gives the same video.
    pub seed: u32,
    /// What the job comes to, every default filled in, under the names of request fields: `model_id`, `prompt`,
    /// `negative_prompt`, `width`, `height`, `num_frames`, `fps`, `scheduler`, `num_inference_steps`, `guidance_scale`,
    /// `strength` (where it starts from pictures), `clip_skip`, `seed`, … Once the video is there, what it was really made
    /// with.
    #[schema(value_type = Object)]
    pub parameters: Value,
    /// What it makes: `mp4`, `gif` (beside an MP4), `png` (pictures) or `base64` (pictures that the API of 2023 answers with).
    #[schema(value_type = String)]
    pub output_type: &'static str,
    /// How many jobs are before it in the queue, while it waits.
    pub queue_position: Option<u64>,
    /// Seconds until the video is expected: this one and those before it, in proportion to size, frames and steps, at the pace of
    /// the last ones with the model at the same speed, or else at any, with what the speed usually saves; `null` where none was
    /// measured.
    pub eta: Option<f64>,
    /// What is being done, while it runs.
    pub stage: Option<DocumentStage>,
    /// A rough look at the video while it runs: a `data:` URL of a small PNG, to be scaled up.
    pub preview: Option<String>,
    /// Where the files are, once they are there and until they are removed. No key is needed for them.
    pub output: Option<DocumentOutput>,
    /// Seconds from the begin of the generation to the stored video.
    pub generation_time: Option<f64>,
    /// How often it was begun.
    pub attempt: i64,
    /// The request's own: a text, a number or a boolean.
    #[schema(value_type = Value)]
    pub track_id: Option<Value>,
}

/// OpenAI's states of a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It waits.
    Queued,
    /// It runs.
    InProgress,
    /// The video is there.
    Completed,
    /// There is no video.
    Failed,
}

/// Why there is no video.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DocumentError {
    /// For programs: `cancelled`, `generation_failed`, `worker_lost`, `server_lost`, `timeout`.
    pub code: String,
    /// For people.
    pub message: String,
}

/// What a running job does.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DocumentStage {
    /// Such as `denoising`.
    pub name: String,
    /// Parts that are done: bytes of `loading`, of each network anew, else frames or steps.
    pub done: u64,
    /// Parts in all; 0 where that is not known yet.
    pub total: u64,
    /// Seconds that are left of the stage.
    pub eta: Option<f64>,
}

/// Where the files of a video are, or of pictures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DocumentOutput {
    /// MP4, of a video.
    pub video: Option<String>,
    /// WebP.
    pub thumbnail: String,
    /// JPEG, of a video: pictures of the whole of it, four in a row.
    pub spritesheet: Option<String>,
    /// GIF, where `output_type` asked for one.
    pub gif: Option<String>,
    /// PNG, of a job that makes still pictures: the first one has the seed of the job, each further one the next.
    pub pictures: Vec<String>,
}

/// What is known of a job besides its row.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Outlook {
    /// Jobs before it.
    pub position: Option<u64>,
    /// Seconds until its end.
    pub eta: Option<f64>,
}

impl Outlook {
    /// Seconds until the end of the job; where none were measured yet, the time that was waited already.
    #[must_use]
    pub fn eta_or(&self, waited: Duration) -> f64 {
        self.eta.unwrap_or(waited.as_secs_f64())
    }
}

impl Document {
    /// The document of a job. `live`: what it told since its last heartbeat.
    #[must_use]
    pub fn of(job: &Job, live: Option<&Live>, outlook: Outlook, outputs: &Outputs) -> Self {
        let report = job.success().map_or(&job.parameters, |success| &success.report);
        let progress = live.and_then(|live| live.progress.as_ref()).or(job.progress.as_ref());
        let preview = live.and_then(|live| live.preview.as_ref()).or(job.preview.as_ref());
        let is_running = job.state == State::Running;
        let url_of = |job: &Job, name: &str, variant| {
            let is_made = Variant::of(job.output_type, job.samples).contains(&variant);
            is_made.then(|| outputs.url(name, variant))
        };
        let output = job.success().filter(|_| !job.is_purged).map(|success| DocumentOutput {
            video: url_of(job, &success.output, Variant::Video),
            thumbnail: outputs.url(&success.output, Variant::Thumbnail),
            spritesheet: url_of(job, &success.output, Variant::Spritesheet),
            gif: url_of(job, &success.output, Variant::Gif),
            pictures: match job.output_type.medium() {
                Medium::Video => Vec::new(),
                Medium::Picture => outputs.urls(&success.output, &Variant::answered(job.output_type, job.samples)),
            },
        });
        Self {
            id: public_id(job.id),
            object: "video",
            model: report.model_id.clone(),
            status: status(job.state),
            progress: percent(job.state, progress),
            created_at: job.created_at.seconds(),
            completed_at: job
                .finished_at
                .filter(|_| job.state == State::Succeeded)
                .map(|time| time.seconds()),
            expires_at: job
                .expires_at
                .filter(|_| job.state == State::Succeeded)
                .map(|time| time.seconds()),
            size: format!("{}x{}", report.width, report.height),
            seconds: seconds(report.num_frames, report.fps),
            error: job.failure().map(|failure| DocumentError {
                code: failure.code.clone(),
                message: failure.message.clone(),
            }),
            prompt: report.prompt.clone(),
            remixed_from_video_id: None,
            number: job.id.0,
            seed: report.seed,
            parameters: serde_json::to_value(report).unwrap_or_default(),
            output_type: job.output_type.name(),
            queue_position: outlook.position,
            eta: outlook.eta,
            stage: progress.filter(|_| is_running).map(stage),
            preview: preview.filter(|_| is_running).cloned(),
            output,
            generation_time: job.success().map(|success| success.generation_time),
            attempt: job.attempt,
            track_id: job.request.track_id.clone(),
        }
    }
}

/// The id of a job in OpenAI's API.
#[must_use]
pub fn public_id(id: JobId) -> String {
    format!("{PREFIX}{id}")
}

/// The number of a job in OpenAI's API.
#[must_use]
pub fn job_id(public: &str) -> Option<JobId> {
    public.strip_prefix(PREFIX)?.parse().ok()
}

fn status(state: State) -> Status {
    match state {
        State::Queued => Status::Queued,
        State::Running => Status::InProgress,
        State::Succeeded => Status::Completed,
        State::Failed | State::Cancelled => Status::Failed,
    }
}

fn percent(state: State, progress: Option<&JobProgress>) -> u8 {
    match state {
        State::Queued => 0,
        State::Succeeded => 100,
        _ => progress.map_or(0, |progress| progress.percent),
    }
}

fn stage(progress: &JobProgress) -> DocumentStage {
    DocumentStage {
        name: progress.stage.clone(),
        done: progress.done,
        total: progress.total,
        eta: progress.eta,
    }
}

/// How long a video lasts, without needless digits.
fn seconds(frames: u32, fps: u32) -> String {
    let seconds = f64::from(frames) / f64::from(fps.max(1));
    let text = format!("{seconds:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The fields of `new` that `old` has not, or has otherwise, with their values; `None` where nothing differs. What a field
/// holds is given whole, and `null` is a value: unlike in a JSON Merge Patch (RFC 7396), where it takes a field away.
/// Documents always have the same fields.
#[must_use]
pub fn changed_fields(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let changed = after.iter().filter(|(key, value)| before.get(*key) != Some(value));
    let patch: serde_json::Map<String, Value> = changed.map(|(key, value)| (key.clone(), value.clone())).collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_lead_back_to_numbers() {
        assert_eq!(job_id(&public_id(JobId(7))), Some(JobId(7)));
        for wrong in ["7", "video_", "video_x", "video_-1", "image_7", ""] {
            assert_eq!(job_id(wrong), None);
        }
    }

    #[test]
    fn durations_have_no_needless_digits() {
        assert_eq!(seconds(16, 8), "2");
        assert_eq!(seconds(20, 8), "2.5");
        assert_eq!(seconds(10, 3), "3.333");
        assert_eq!(seconds(1, 0), "1");
    }

    #[test]
    fn patches_hold_what_differs() {
        let old = json!({"a": 1, "b": null, "c": {"d": 1, "e": 2}});
        assert_eq!(changed_fields(&old, &old), None);
        let new = json!({"a": 1, "b": 2, "c": null});
        assert_eq!(changed_fields(&old, &new), Some(json!({"b": 2, "c": null})));
    }
}
