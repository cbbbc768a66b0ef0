//! The Stable Diffusion API of 2023, `POST /api/v1/enterprise/…`, and the paths of its later version 6: the key is in the
//! body, and the body is JSON whatever its type says.

mod answers;
mod fetch;
mod models;
mod not_built;
mod pictures;
mod request;
mod system;
mod text2video;

use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

use super::App;
pub(super) use request::{idempotency_key, object, too_often, unreadable};
pub(super) use text2video::{is_yes, output_type};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(text2video::text2video))
        .routes(routes!(text2video::text2video_v6))
        .routes(routes!(text2video::img2video))
        .routes(routes!(text2video::img2video_v6))
        .routes(routes!(pictures::text2img))
        .routes(routes!(pictures::img2img))
        .routes(routes!(pictures::inpaint))
        .routes(routes!(fetch::fetch))
        .routes(routes!(fetch::fetch_by_number))
        .routes(routes!(fetch::fetch_by_path))
        .routes(routes!(fetch::fetch_v6))
        .routes(routes!(models::schedulers_list))
        .routes(routes!(models::get_all_models))
        .routes(routes!(models::verify_model))
        .routes(routes!(models::load_model))
        .routes(routes!(models::load_model_v2))
        .routes(routes!(models::delete_model))
        .routes(routes!(models::sync_model))
        .routes(routes!(models::load_vae))
        .routes(routes!(system::upload_image))
        .routes(routes!(system::system_details))
        .routes(routes!(system::system_load))
        .routes(routes!(system::clear_queue))
        .routes(routes!(system::clear_cache))
        .routes(routes!(system::restart_server))
        .routes(routes!(system::update_server))
        .routes(routes!(system::update_s3))
        .merge(not_built::router())
}
