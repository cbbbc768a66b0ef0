//! For those who run the server: whether it lives, whether it is ready, what it measures.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{App, Shared};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(metrics))
}

/// Whether the server can do its work, and what it is without.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    /// `ready` or `unready`.
    #[schema(value_type = String)]
    status: &'static str,
    /// The parts that are missing: `database`, `storage`, `models`, `accepting`.
    #[schema(value_type = Vec<String>)]
    missing: Vec<String>,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/health/live", tag = "operation", responses((status = 200, description = "It does.")))]
async fn live() -> StatusCode {
    StatusCode::OK
}

/// Whether the server has what it needs. Why something is missing is in the log.
#[utoipa::path(
    get, path = "/health/ready", tag = "operation",
    responses(
        (status = 200, description = "It has.", body = Readiness),
        (status = 503, description = "Something is missing; jobs wait for it.", body = Readiness)
    )
)]
async fn ready(State(app): Shared) -> Response {
    let missing: BTreeMap<_, _> = app.health.faults();
    let names = missing
        .keys()
        .filter_map(|part| Some(serde_json::to_value(part).ok()?.as_str()?.to_owned()));
    let readiness = Readiness {
        status: if missing.is_empty() { "ready" } else { "unready" },
        missing: names.collect(),
    };
    let status = match missing.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(readiness)).into_response()
}

/// What the server measures, in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "OpenMetrics text.", body = String, content_type = "application/openmetrics-text"))
)]
async fn metrics(State(app): Shared) -> Response {
    let counts = app.service.store.counts().await.ok();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], app.metrics.text(counts)).into_response()
}
