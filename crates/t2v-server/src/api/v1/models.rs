//! Models that there are, and what requests to them may ask for.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use serde_json::Value;
use t2v_pipeline::{Limits, Report, SchedulerKind};
use utoipa::ToSchema;

use super::Bearer;
use crate::{
    api::{
        App, Shared,
        error::{OpenAi, OpenAiError},
    },
    worker::engine::EntryKind,
};

/// A list of models.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Models {
    /// Always `list`.
    #[schema(value_type = String)]
    object: &'static str,
    /// The models; the one of requests that name none is first.
    data: Vec<Model>,
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Model {
    /// Its name.
    id: String,
    /// Always `model`.
    #[schema(value_type = String)]
    object: &'static str,
    /// Seconds since 1970: when the server was started.
    created: i64,
    /// Always `t2v`.
    #[schema(value_type = String)]
    owned_by: &'static str,
}

impl Model {
    fn of(id: String, app: &Arc<App>) -> Self {
        Self {
            id,
            object: "model",
            created: app.started_at,
            owned_by: "t2v",
        }
    }
}

/// A model, and what requests to it may ask for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelDetails {
    /// As in the list of models.
    #[serde(flatten)]
    model: Model,
    /// What it makes: `videos`, or `pictures`, which are asked for with `POST /api/v1/enterprise/text2img`.
    #[schema(value_type = String)]
    makes: &'static str,
    /// What requests that say nothing get, by field.
    defaults: Defaults,
    /// The values that fields of numbers may have: by field `minimum`, `maximum` and `step`, which is `null` where any number
    /// between them will do. `null`, where the server can't say.
    #[schema(value_type = Option<Object>)]
    limits: Option<Value>,
    /// Names of the schedulers that it can use.
    schedulers: Vec<String>,
    /// Names of the LoRAs that there are for `lora_model`, whatever models they are for.
    loras: Vec<String>,
    /// Names of the learnt words that there are for `embeddings_model`, whatever models they are for.
    embeddings: Vec<String>,
}

/// What requests that say nothing get.
#[derive(Debug, Serialize, ToSchema)]
struct Defaults {
    /// Pixels.
    width: u32,
    /// Pixels.
    height: u32,
    /// Frames of the video.
    num_frames: u32,
    /// Frames a second.
    fps: u32,
    /// Name of the scheduler.
    scheduler: String,
    /// Denoising steps.
    num_inference_steps: u32,
    /// Weight of the prompt.
    guidance_scale: f64,
    /// Layers of the text encoder that are left out.
    clip_skip: u32,
}

impl From<Report> for Defaults {
    fn from(report: Report) -> Self {
        Self {
            width: report.width,
            height: report.height,
            num_frames: report.num_frames,
            fps: report.fps,
            scheduler: report.scheduler,
            num_inference_steps: report.num_inference_steps,
            guidance_scale: report.guidance_scale,
            clip_skip: report.clip_skip,
        }
    }
}

/// The models.
#[utoipa::path(
    get, path = "/v1/models", tag = "videos", security(("key" = [])),
    responses(
        (status = 200, description = "All of them.", body = Models),
        (status = "4XX", description = "The key is wrong.", body = OpenAiError)
    )
)]
pub(super) async fn list(State(app): Shared, _owner: Bearer) -> Json<Models> {
    let names = app.service.engine.models().into_iter();
    Json(Models {
        object: "list",
        data: names.map(|name| Model::of(name, &app)).collect(),
    })
}

/// A model, and what requests to it may ask for.
#[utoipa::path(
    get, path = "/v1/models/{model}", tag = "videos", security(("key" = [])),
    params(("model" = String, Path, description = "Its name; a slash in it is written `%2F`.")),
    responses(
        (status = 200, description = "The model.", body = ModelDetails),
        (status = "4XX", description = "There is none, or the key is wrong.", body = OpenAiError),
        (status = "5XX", description = "It cannot be opened for now.", body = OpenAiError)
    )
)]
pub(super) async fn retrieve(
    State(app): Shared,
    _owner: Bearer,
    Path(name): Path<String>,
) -> Result<Json<ModelDetails>, OpenAi> {
    let (defaults, limits) = app.service.model(&name).await?;
    let makes = app.service.medium(&name).await?.spoken();
    let names = app.service.engine.names();
    let of_kind = |kind: EntryKind| {
        let names = names.iter().filter(|(_, found)| *found == kind);
        names.map(|(name, _)| name.clone()).collect()
    };
    Ok(Json(ModelDetails {
        model: Model::of(name, &app),
        makes,
        defaults: defaults.into(),
        limits: limits.as_ref().map(in_json),
        schedulers: schedulers(),
        loras: of_kind(EntryKind::Lora),
        embeddings: of_kind(EntryKind::Embeddings),
    }))
}

fn in_json(limits: &Limits) -> Value {
    serde_json::to_value(limits).unwrap_or_default()
}

/// Those for flow matching suit no model that there is.
fn schedulers() -> Vec<String> {
    let names = SchedulerKind::ALL.iter().map(ToString::to_string);
    names.filter(|name| !name.starts_with("FlowMatch")).collect()
}
