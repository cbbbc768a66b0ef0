//! Endpoints that have no model behind them yet: they say so in the API's shape.

use std::sync::Arc;

use axum::{http::Uri, routing::post};
use utoipa_axum::router::OpenApiRouter;

use super::request::Authorised;
use crate::api::{
    App,
    error::{ApiError, Legacy},
};

const NAMES: [&str; 6] = [
    "text2img",
    "img2img",
    "inpaint",
    "controlnet",
    "super_resolution",
    "nsfw_image_check",
];

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    NAMES.iter().fold(OpenApiRouter::new(), |router, name| {
        router.route(&format!("/api/v1/enterprise/{name}"), post(not_built))
    })
}

async fn not_built(uri: Uri, _request: Authorised) -> Legacy {
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    let message = format!(
        "{name} is not built: this server makes videos. There are text2video and video/img2video, and fetch for their \
         results."
    );
    ApiError::NoRoute(message).into()
}
