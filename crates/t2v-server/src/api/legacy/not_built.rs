//! Endpoints that have no model behind them: they say so in the API's shape.

use std::sync::Arc;

use axum::{http::Uri, routing::post};
use utoipa_axum::router::OpenApiRouter;

use super::request::Authorised;
use crate::api::{
    App,
    error::{ApiError, Legacy},
};

const NAMES: [&str; 3] = ["controlnet", "super_resolution", "nsfw_image_check"];

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    NAMES.iter().fold(OpenApiRouter::new(), |router, name| {
        router.route(&format!("/api/v1/enterprise/{name}"), post(not_built))
    })
}

async fn not_built(uri: Uri, _request: Authorised) -> Legacy {
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    ApiError::NoRoute(format!(
        "{name} is not built. There are text2video and video/img2video, where a model makes pictures text2img, img2img and \
         inpaint, and fetch for their results."
    ))
    .into()
}

/// Of an endpoint for pictures, where no model makes these.
pub(super) fn no_model(name: &str) -> Legacy {
    ApiError::NoRoute(format!(
        "{name} has no model: this server makes videos. There are text2video and video/img2video, and fetch for their \
         results."
    ))
    .into()
}
