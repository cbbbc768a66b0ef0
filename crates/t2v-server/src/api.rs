//! HTTP: requests read, answers written, and nothing decided.
//!
//! Two APIs have the same jobs behind them: `legacy` is the Stable Diffusion API of 2023, `v1` is OpenAI's videos API.

mod error;
mod files;
mod legacy;
mod ops;
mod page;
mod panics;
mod range;
mod schema;
mod v1;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use tokio::time::Instant;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::{admin::Admin, auth::Keys, health::Health, limits::Limits, metrics::Metrics, service::Service};

/// What handlers use.
pub struct App {
    /// Does what clients wish.
    pub service: Arc<Service>,
    /// Changes the server.
    pub admin: Admin,
    /// Who may ask.
    pub keys: Keys,
    /// How often.
    pub limits: Limits,
    /// Whether the server has what it needs.
    pub health: Health,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// Where clients find the server, without a slash at the end.
    pub public_url: String,
    /// How long `text2video` waits.
    pub wait: Duration,
    /// The most bytes of a request.
    pub body_limit: usize,
    /// When the server was started, in seconds since 1970.
    pub started_at: i64,
}

type Shared = State<Arc<App>>;

/// The document that describes the API.
#[derive(OpenApi)]
#[openapi(
    info(title = "t2v-server", description = "Text to video: the Stable Diffusion API's endpoint of 2023 and OpenAI's videos API."),
    modifiers(&BearerKey),
    tags(
        (name = "videos", description = "OpenAI's videos API, with this server's own fields beside its own."),
        (name = "enterprise", description = "The Stable Diffusion API of 2023: the key is in the body."),
        (name = "operation", description = "For those who run the server.")
    )
)]
struct Description;

struct BearerKey;

impl Modify for BearerKey {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("key", scheme);
    }
}

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    let (routes, description) = described().split_for_parts();
    let limit = DefaultBodyLimit::max(app.body_limit);
    routes
        .merge(files::router())
        .merge(page::router())
        .with_state(Arc::clone(&app))
        .merge(SwaggerUi::new("/docs").url("/openapi.json", description))
        .fallback(error::no_route)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(limit)
        .layer(axum::middleware::from_fn(panics::caught))
        .layer(axum::middleware::from_fn_with_state(app, measure))
}

fn described() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(v1::router())
        .merge(legacy::router())
        .merge(ops::router())
}

/// The document that describes the API, as JSON.
#[must_use]
pub fn description() -> String {
    let (_, description) = described().split_for_parts();
    description.to_pretty_json().unwrap_or_default()
}

/// Measures requests by their route, never by their path, which anybody may make up.
async fn measure(State(app): Shared, route: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    app.metrics.answered(route, response.status().as_u16(), began.elapsed());
    response
}
