//! OpenAI's videos API: the key is a Bearer token.

mod create;
mod events;
mod form;
mod models;
mod videos;

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{header::AUTHORIZATION, request::Parts},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::{ApiError, OpenAi},
    legacy::too_often,
};
use crate::auth::Owner;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create::create, videos::list))
        .routes(routes!(videos::retrieve, videos::delete))
        .routes(routes!(videos::content))
        .routes(routes!(videos::cancel))
        .routes(routes!(events::events))
        .routes(routes!(models::list))
        .routes(routes!(models::retrieve))
}

/// Whose Bearer key a request has, within its limits.
pub(super) struct Bearer(pub(super) Owner);

impl FromRequestParts<Arc<App>> for Bearer {
    type Rejection = OpenAi;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, OpenAi> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, key) = header.and_then(|header| header.split_once(' ')).ok_or(ApiError::Key)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(ApiError::Key.into());
        }
        let owner = app.keys.owner(key.trim()).ok_or(ApiError::Key)?;
        app.limits.count(&owner).map_err(too_often)?;
        Ok(Self(owner))
    }
}
