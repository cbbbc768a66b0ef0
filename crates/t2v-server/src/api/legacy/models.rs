//! Models and schedulers.

use axum::{Json, extract::State};
use chrono::DateTime;
use serde_json::{Value, json};
use t2v_pipeline::SchedulerKind;

use super::request::{Administration, Authorised};
use crate::{
    api::{
        Shared,
        error::{Legacy, LegacyError},
        schema::{KeyBody, LoadModelBody, ModelBody},
    },
    job::Timestamp,
    service::ServiceError,
    worker::engine::{Entry, EntryKind},
};

/// Names of the schedulers.
#[utoipa::path(
    post, path = "/api/v1/enterprise/schedulers_list", tag = "enterprise", request_body = KeyBody,
    responses((status = 200, description = "Their names.", body = Object), (status = "4XX", description = "The key is wrong.", body = LegacyError))
)]
pub(super) async fn schedulers_list(_request: Authorised) -> Json<Value> {
    // Those for flow matching suit no model that there is.
    let names = SchedulerKind::ALL.iter().map(ToString::to_string);
    let names: Vec<String> = names.filter(|name| !name.starts_with("FlowMatch")).collect();
    Json(json!({"schedulers": names}))
}

/// Names of the models, LoRAs and learnt words, of which kind each is (`model_type`, as `load_model` has it), and since when
/// it is there.
#[utoipa::path(
    post, path = "/api/v1/enterprise/get_all_models", tag = "enterprise", request_body = KeyBody,
    responses((status = 200, description = "The models.", body = Object), (status = "4XX", description = "The key is wrong.", body = LegacyError), (status = "5XX", description = "Something is missing for now.", body = LegacyError))
)]
pub(super) async fn get_all_models(State(app): Shared, _request: Authorised) -> Result<Json<Value>, Legacy> {
    let stored = app.admin.stored_models().await?;
    let since = |name: &str| {
        let found = stored.iter().find(|model| model.name == name);
        found.map_or(Timestamp(app.started_at * 1000), |model| model.added_at)
    };
    let names = app.service.engine.names();
    let models: Vec<Value> = names
        .iter()
        .map(|(name, kind)| json!({"load_data": date(since(name)), "model_id": name, "model_type": kind.model_type()}))
        .collect();
    Ok(Json(json!({"models": models, "status": "success"})))
}

/// A time as the API of 2023 writes it.
fn date(time: Timestamp) -> String {
    let date = DateTime::from_timestamp_millis(time.0).unwrap_or_default();
    date.format("%m/%d/%Y %H:%M:%S").to_string()
}

/// Whether there is the model, LoRA or learnt word of `model_id`.
#[utoipa::path(
    post, path = "/api/v1/enterprise/verify_model", tag = "enterprise", request_body = ModelBody,
    responses((status = 200, description = "There is.", body = Object), (status = "4XX", description = "There is not, or the key is wrong.", body = LegacyError))
)]
pub(super) async fn verify_model(State(app): Shared, request: Authorised) -> Result<Json<Value>, Legacy> {
    let name = request.required("model_id")?;
    match app.service.engine.names().iter().any(|(known, _)| *known == name) {
        true => Ok(Json(json!({"status": "success", "message": "Model exists on server"}))),
        false => Err(ServiceError::UnknownModel.into()),
    }
}

/// Adds the model of `url`, a folder below a model root of the server or a hub id, under the name `model_id`. By `model_type` it
/// is a checkpoint in one file (`custom_ckpt`, with a folder for its tokenizer in `config`), a LoRA (`lora`) or a learnt word
/// (`embeddings`); `motion_adapter` makes a model of pictures one of videos. The `webhook` is told
/// `{"status": "success", "message": "model loaded", "model_id": …}` once it is open, or `failed`.
#[utoipa::path(
    post, path = "/api/v1/enterprise/load_model", tag = "enterprise", request_body = LoadModelBody,
    responses((status = 200, description = "It is being opened.", body = Object), (status = "4XX", description = "The source is not one that may be opened, or the key is wrong.", body = LegacyError), (status = "5XX", description = "Something is missing for now.", body = LegacyError))
)]
pub(super) async fn load_model(State(app): Shared, request: Administration) -> Result<Json<Value>, Legacy> {
    load(&app, &request.0).await
}

/// The same under the later name.
#[utoipa::path(
    post, path = "/api/v1/enterprise/load_model_v2", tag = "enterprise", request_body = LoadModelBody,
    responses((status = 200, description = "It is being opened.", body = Object), (status = "4XX", description = "The source is not one that may be opened, or the key is wrong.", body = LegacyError), (status = "5XX", description = "Something is missing for now.", body = LegacyError))
)]
pub(super) async fn load_model_v2(State(app): Shared, request: Administration) -> Result<Json<Value>, Legacy> {
    load(&app, &request.0).await
}

async fn load(app: &crate::api::App, request: &Authorised) -> Result<Json<Value>, Legacy> {
    for (field, built) in [
        (
            "model_type",
            &["huggingface", "custom_ckpt", "diffusers", "lora", "embeddings"][..],
        ),
        ("model_category", &["stable_diffusion", "text2video", "lora"]),
        ("model_format", &["diffusers", "safetensors", "ckpt", "pt"]),
    ] {
        if let Some(value) = request.optional(field)?
            && !built.contains(&value.as_str())
        {
            let (spoken, known) = (field.replace('_', " "), built.join(", "));
            return Err(ServiceError::fault(field, format!("The {spoken} must be one of {known}.")).into());
        }
    }
    let kind = match (
        request.optional("model_type")?.as_deref(),
        request.optional("model_category")?.as_deref(),
    ) {
        (Some("lora"), _) | (None, Some("lora")) => EntryKind::Lora,
        (Some("embeddings"), _) => EntryKind::Embeddings,
        (Some("custom_ckpt"), _) => EntryKind::Checkpoint,
        _ => EntryKind::Model,
    };
    let entry = Entry {
        motion_adapter: request.optional("motion_adapter")?,
        config: request.optional("config")?,
        ..Entry::new(kind, request.required("url")?)
    };
    let name = request.required("model_id")?;
    app.admin.load_model(&name, entry, request.optional("webhook")?).await?;
    Ok(Json(json!({"message": "model load started", "status": "success"})))
}

/// Takes the model, LoRA or learnt word of `model_id` away.
#[utoipa::path(
    post, path = "/api/v1/enterprise/delete_model", tag = "enterprise", request_body = ModelBody,
    responses((status = 200, description = "It is away.", body = Object), (status = "4XX", description = "There is none, or the key is wrong.", body = LegacyError), (status = "5XX", description = "Something is missing for now.", body = LegacyError))
)]
pub(super) async fn delete_model(State(app): Shared, request: Administration) -> Result<Json<Value>, Legacy> {
    app.admin.delete_model(&request.0.required("model_id")?).await?;
    Ok(Json(json!({"status": "success", "message": "Model deleted on server"})))
}

/// Takes in models that other servers added.
#[utoipa::path(
    post, path = "/api/v1/enterprise/sync_model", tag = "enterprise", request_body = KeyBody,
    responses((status = 200, description = "All models.", body = Object), (status = "4XX", description = "The key is wrong.", body = LegacyError), (status = "5XX", description = "Something is missing for now.", body = LegacyError))
)]
pub(super) async fn sync_model(State(app): Shared, _request: Administration) -> Result<Json<Value>, Legacy> {
    let names = app.admin.sync_models().await?;
    let message = format!("{} Models synced successfully", names.len());
    Ok(Json(
        json!({"status": "success", "message": message, "model_list": names}),
    ))
}

/// Answers that a model's own autoencoder is used: others can't be loaded.
#[utoipa::path(
    post, path = "/api/v1/enterprise/load_vae", tag = "enterprise", request_body = KeyBody,
    responses((status = "4XX", description = "What can be done instead.", body = LegacyError))
)]
pub(super) async fn load_vae(_request: Administration) -> Legacy {
    let fault = "The autoencoder of a model is the one in its folder: load_model takes it in with the model.";
    ServiceError::fault("vae", fault).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_in_2023() {
        assert_eq!(date(Timestamp(1_674_647_542_000)), "01/25/2023 11:52:22");
    }
}
