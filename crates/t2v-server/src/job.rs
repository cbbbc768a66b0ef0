//! A job: one accepted request on its way to a video, and the states that it passes. No I/O.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use t2v_pipeline::{Report, TextToVideoRequest};

/// Number of a job: positive, given by the database, and exact as a number of JavaScript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = ();

    /// Digits alone; no such number is no such job.
    fn from_str(text: &str) -> Result<Self, ()> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| *number > 0);
        number.filter(|_| is_number).map(Self).ok_or(())
    }
}

/// A time of the database's clock, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Whole seconds since 1970.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Time from `earlier` to this one; none where it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for a worker.
    Queued,
    /// A worker has it, for as long as its lease lasts.
    Running,
    /// The video is there.
    Succeeded,
    /// There is no video, and why is kept.
    Failed,
    /// Its owner did not want it any more.
    Cancelled,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// As it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether a job stays in this state.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// Whether a job in this state may be in `next` afterwards.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            // A job whose own server never returns fails without having run.
            Self::Queued => matches!(next, Self::Running | Self::Cancelled | Self::Failed),
            // Back in the queue: handed back, or its worker was lost.
            Self::Running => next != Self::Running,
            Self::Succeeded | Self::Failed | Self::Cancelled => false,
        }
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.name() == name);
        found.ok_or_else(|| format!("there is no state `{name}` of a job"))
    }
}

/// What a job starts from besides its prompt: a copy that the server keeps, so that each attempt sees the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitObject {
    /// A picture, or the frames of a video.
    pub kind: InitKind,
    /// Where it lies in the storage.
    pub path: String,
    /// Where the mask lies of what is painted anew, if not all of a picture is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
}

impl InitObject {
    /// Where its files lie.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        [Some(self.path.as_str()), self.mask.as_deref()].into_iter().flatten()
    }
}

/// How a file to start from is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InitKind {
    /// One picture, repeated over the frames.
    Image,
    /// The frames of a video.
    Video,
}

/// What a model makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Medium {
    /// Videos.
    Video,
    /// Still pictures.
    Picture,
}

impl Medium {
    /// In the plural, for messages.
    #[must_use]
    pub fn spoken(self) -> &'static str {
        match self {
            Self::Video => "videos",
            Self::Picture => "pictures",
        }
    }
}

/// What the `output` of the API of 2023 has. Of a video there is an MP4 in any case, and of a picture a PNG.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum OutputType {
    /// URLs of H.264 in MP4.
    #[default]
    Mp4,
    /// URLs of an animated GIF, made beside the MP4.
    Gif,
    /// URLs of still pictures.
    Png,
    /// Still pictures themselves, as base64 of a PNG.
    Base64,
}

impl OutputType {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::Mp4, Self::Gif, Self::Png, Self::Base64];

    /// As requests for videos name it, and as it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Gif => "gif",
            Self::Png => "png",
            Self::Base64 => "base64",
        }
    }

    /// What has to be made.
    #[must_use]
    pub fn medium(self) -> Medium {
        match self {
            Self::Mp4 | Self::Gif => Medium::Video,
            Self::Png | Self::Base64 => Medium::Picture,
        }
    }
}

impl FromStr for OutputType {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| format!("there is no output type `{name}`"))
    }
}

/// What a job has to compute: pixels of all frames of all its samples, as often as they are denoised, and less of them at a
/// speed that leaves out layers. The times of jobs with one model are taken to be in proportion to it, which leaves out what
/// does not depend on the steps: text, decoding, writing.
#[must_use]
pub fn work(parameters: &Report, samples: u8) -> u64 {
    let pixels = u64::from(parameters.width) * u64::from(parameters.height) * u64::from(parameters.num_frames);
    let steps = f64::from(parameters.num_inference_steps) * parameters.strength.unwrap_or(1.0);
    let exact = pixels * (steps.ceil() as u64).max(1) * u64::from(samples);
    let share = parameters.speed.expected_share(parameters.num_inference_steps as usize);
    (exact as f64 * share).ceil() as u64
}

/// A request that is accepted: all that is known of it before it runs.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Whose it is: nobody else sees, cancels or deletes it.
    pub owner: String,
    /// The request without its key, and with its seed drawn, so that every attempt makes the same video.
    pub request: TextToVideoRequest,
    /// What the request comes to, with every default filled in.
    pub parameters: Report,
    /// What it starts from.
    pub init: Option<InitObject>,
    /// The only server that may run it.
    pub pinned_to: Option<String>,
    /// Makes one job of identical submissions.
    pub idempotency: Option<Idempotency>,
    /// How often it may be begun before it counts as one that kills its worker.
    pub max_attempts: u32,
    /// How long its output is kept; `None`: as long as there is room.
    pub keep: Option<Duration>,
    /// What the `output` of the API of 2023 has.
    pub output_type: OutputType,
    /// How many pictures are made, each with the next seed; of a video 1.
    pub samples: u8,
    /// A name that nobody can guess and that leads to the output once it is there, where one was asked for in advance.
    pub link: Option<String>,
}

/// A client's own name for a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// What the client calls it; names of different owners are different.
    pub key: String,
    /// SHA-256 of what was submitted: the same name for something else is a fault.
    pub digest: String,
}

/// A job as the database has it.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Whose it is.
    pub owner: String,
    /// Where it is.
    pub state: State,
    /// The request, without its key.
    pub request: TextToVideoRequest,
    /// What the request comes to.
    pub parameters: Report,
    /// What it starts from.
    pub init: Option<InitObject>,
    /// The only server that may run it.
    pub pinned_to: Option<String>,
    /// How often it was begun: the fence that keeps a worker which lost it from finishing it.
    pub attempt: i64,
    /// How often it may be begun.
    pub max_attempts: i64,
    /// Who has it, or had it last.
    pub worker: Option<String>,
    /// Whether its worker is asked to stop.
    pub cancel_requested: bool,
    /// How far it is, as of the last heartbeat.
    pub progress: Option<JobProgress>,
    /// A rough look at it, a `data:` URL of a small picture, as of the last heartbeat.
    pub preview: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Whether its output has been removed.
    pub is_purged: bool,
    /// What the `output` of the API of 2023 has.
    pub output_type: OutputType,
    /// How many pictures are made, each with the next seed; of a video 1.
    pub samples: u8,
    /// A name that leads to the output once it is there.
    pub link: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it was begun for the first time.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When its output will be removed.
    pub expires_at: Option<Timestamp>,
}

impl Job {
    /// The right to heartbeat and finish it, for whoever claimed this attempt.
    #[must_use]
    pub fn claim(&self) -> Claim {
        Claim {
            id: self.id,
            attempt: self.attempt,
        }
    }

    /// The output, where it succeeded.
    #[must_use]
    pub fn success(&self) -> Option<&Success> {
        match &self.outcome {
            Some(Outcome::Succeeded(success)) => Some(success),
            _ => None,
        }
    }

    /// Why there is no output, where it failed or was cancelled.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Some(Outcome::Failed(failure) | Outcome::Cancelled(failure)) => Some(failure),
            _ => None,
        }
    }
}

/// An attempt at a job. What was claimed by a later attempt is out of an earlier one's reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The job.
    pub id: JobId,
    /// Number of the attempt, from 1.
    pub attempt: i64,
}

/// How far a running job is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobProgress {
    /// What is being done, such as `denoising`.
    pub stage: String,
    /// Parts of the stage that are done: of `loading`, bytes of one of the networks.
    pub done: u64,
    /// Parts of the stage in all; 0 where that is not known yet.
    pub total: u64,
    /// Of the whole job, 0 to 99.
    pub percent: u8,
    /// Seconds that are left of the stage, at the pace so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<f64>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// With a video.
    Succeeded(Box<Success>),
    /// Without one.
    Failed(Failure),
    /// Without one, as its owner wished.
    Cancelled(Failure),
}

impl Outcome {
    /// The state that it leads to.
    #[must_use]
    pub fn state(&self) -> State {
        match self {
            Self::Succeeded(_) => State::Succeeded,
            Self::Failed(_) => State::Failed,
            Self::Cancelled(_) => State::Cancelled,
        }
    }

    /// Cancelled by its owner.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::Cancelled(Failure::new("cancelled", "The job was cancelled."))
    }
}

/// A video that is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Success {
    /// The name that nobody can guess, under which the attempt wrote its files.
    pub output: String,
    /// Bytes of all of them.
    pub bytes: u64,
    /// What the generation really used.
    pub report: Report,
    /// Seconds from the start of the attempt to the written video.
    pub generation_time: f64,
}

/// Why there is no video, for the client: nothing of the server's machine is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For programs: `cancelled`, `generation_failed`, `worker_lost`, `server_lost`, `timeout`.
    pub code: String,
    /// For people: one sentence.
    pub message: String,
}

impl Failure {
    /// A failure with a code and a sentence.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use t2v_pipeline::Speed;

    use super::*;

    #[test]
    fn what_has_ended_stays_as_it_is() {
        for state in State::ALL {
            assert_eq!(state.name().parse(), Ok(state));
            let leaves = State::ALL.into_iter().any(|next| state.may_become(next));
            assert_eq!(leaves, !state.is_final());
            assert!(!state.may_become(state));
        }
        assert!(!State::Queued.may_become(State::Succeeded));
        assert!(State::Running.may_become(State::Queued));
        assert!("done".parse::<State>().is_err());
    }

    #[test]
    fn ids_are_positive_numbers() {
        assert_eq!("14933666".parse(), Ok(JobId(14_933_666)));
        for wrong in ["", "0", "-1", "+1", " 1", "1.0", "x", "9223372036854775808", "１"] {
            assert_eq!(wrong.parse::<JobId>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn work_is_pixels_and_steps() {
        let mut parameters = Report::default();
        (parameters.width, parameters.height, parameters.num_frames) = (64, 32, 16);
        assert_eq!(work(&parameters, 1), 64 * 32 * 16);
        parameters.num_inference_steps = 20;
        assert_eq!(work(&parameters, 1), 64 * 32 * 16 * 20);
        // Every third call runs the whole network, the others an eighth of it.
        parameters.speed = Speed::Fast;
        assert_eq!(work(&parameters, 1), 64 * 32 * 16 * (7 * 8 + 13) / 8);
        parameters.speed = Speed::Exact;
        parameters.strength = Some(0.52);
        assert_eq!(work(&parameters, 3), 64 * 32 * 16 * 11 * 3);
    }

    #[test]
    fn output_types_have_names() {
        for kind in OutputType::ALL {
            assert_eq!(kind.name().to_uppercase().parse(), Ok(kind));
        }
        assert!("avi".parse::<OutputType>().is_err());
        assert_eq!(OutputType::default().medium(), Medium::Video);
    }

    #[test]
    fn times_are_told_in_seconds() {
        assert_eq!(Timestamp(1_999).seconds(), 1);
        assert_eq!(Timestamp(1_999).since(Timestamp(999)), Duration::from_secs(1));
        assert_eq!(Timestamp(1).since(Timestamp(2)), Duration::ZERO);
    }

    #[test]
    fn outcomes_survive_being_stored() {
        let failed = Outcome::Failed(Failure::new("timeout", "It took too long."));
        for outcome in [failed, Outcome::cancelled()] {
            let stored = serde_json::to_string(&outcome).unwrap();
            assert_eq!(serde_json::from_str::<Outcome>(&stored).unwrap(), outcome);
        }
    }
}
