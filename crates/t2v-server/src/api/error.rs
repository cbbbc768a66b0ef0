//! One error, and its rendering in each API.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    http::{StatusCode, Uri, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::schema::LegacyMessage;
use crate::{limits::retry_after, service::ServiceError};

/// Why a request is not done.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The key is missing or wrong.
    Key,
    /// The key is right, and may not do this.
    Forbidden,
    /// There is no such path, or what it stands for is not built.
    NoRoute(String),
    /// The method is not that of the path.
    Method,
    /// The body can't be read.
    Body(StatusCode, String),
    /// The service does not do it.
    Service(ServiceError),
    /// This program made a mistake.
    Panicked,
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        Self::Service(error)
    }
}

impl From<t2v_pipeline::ValidationError> for ApiError {
    fn from(error: t2v_pipeline::ValidationError) -> Self {
        Self::Service(error.into())
    }
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Key => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NoRoute(_) => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Body(status, _) => *status,
            Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Service(error) => match error {
                ServiceError::Faults(_) => StatusCode::BAD_REQUEST,
                ServiceError::UnknownModel | ServiceError::NotFound | ServiceError::NoVideo(_) => StatusCode::NOT_FOUND,
                ServiceError::Conflict => StatusCode::CONFLICT,
                ServiceError::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
                ServiceError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Key => "Invalid Api Key".into(),
            Self::Forbidden => "This key may not change the server.".into(),
            Self::NoRoute(message) | Self::Body(_, message) => message.clone(),
            Self::Method => "The method is not one that this path has.".into(),
            Self::Service(error) => error.to_string(),
            Self::Panicked => "The server made a mistake, which is in its log.".into(),
        }
    }

    /// When to try again.
    fn wait(&self) -> Option<Duration> {
        match self {
            Self::Service(ServiceError::TooMany { wait, .. }) => Some(*wait),
            Self::Service(ServiceError::Unavailable(_)) => Some(Duration::from_secs(10)),
            _ => None,
        }
    }

    /// What the log has to know and the client must not.
    fn log(&self) {
        if let Self::Service(ServiceError::Unavailable(reason)) = self {
            tracing::error!(reason, "a request cannot be answered now");
        }
    }

    fn answer(&self, body: Value) -> Response {
        self.log();
        let mut response = (self.status(), Json(body)).into_response();
        if let Some(wait) = self.wait() {
            response
                .headers_mut()
                .insert(RETRY_AFTER, retry_after(wait).max(1).into());
        }
        response
    }

    /// As the API of 2023 has it: `{"status": "error", "message": …}`, faults as an object of lists.
    pub(super) fn legacy(&self) -> Response {
        let mut error = LegacyError {
            status: "error",
            message: match self {
                Self::Service(ServiceError::Faults(faults)) => LegacyMessage::Faults(faults.clone()),
                Self::Service(ServiceError::TooMany { .. }) => LegacyMessage::Text("Rate limit exceeded".into()),
                _ => LegacyMessage::Text(self.message()),
            },
            tip: None,
            tips: None,
            retry_after: None,
        };
        if let Self::Key = self {
            let tip = "1. Make sure that the key is the field `key` of the JSON body. 2. Make sure that it is a key of this \
                       server.";
            error.tip = Some(tip.into());
        }
        if let Self::Service(ServiceError::TooMany { wait, .. }) = self {
            let seconds = retry_after(*wait).max(1);
            error.tips = Some(format!("{} Wait for {seconds} seconds.", self.message()));
            error.retry_after = Some(seconds);
        }
        self.answer(serde_json::to_value(error).unwrap_or_default())
    }

    /// As OpenAI has it: `{"error": {"message", "type", "param", "code"}}`; of several faults the first has its
    /// field named, and `faults` has them all.
    pub(super) fn openai(&self) -> Response {
        let status = self.status();
        let (kind, code) = match self {
            Self::Key => ("invalid_request_error", Some("invalid_api_key")),
            Self::Forbidden => ("invalid_request_error", Some("forbidden")),
            Self::Service(ServiceError::UnknownModel) => ("invalid_request_error", Some("model_not_found")),
            Self::Service(ServiceError::NotFound) => ("invalid_request_error", Some("not_found")),
            Self::Service(ServiceError::NoVideo(_)) => ("invalid_request_error", Some("no_video")),
            Self::Service(ServiceError::Conflict) => ("idempotency_error", Some("idempotency_key_in_use")),
            Self::Service(ServiceError::TooMany { .. }) => ("rate_limit_error", Some("rate_limit_exceeded")),
            Self::Service(ServiceError::Unavailable(_)) => ("server_error", Some("unavailable")),
            Self::Service(ServiceError::Faults(_)) => ("invalid_request_error", Some("invalid_value")),
            Self::Panicked => ("server_error", Some("internal_error")),
            _ => ("invalid_request_error", None),
        };
        let param = match self {
            Self::Service(ServiceError::Faults(faults)) => faults.keys().next().cloned(),
            Self::Service(ServiceError::UnknownModel) => Some("model".to_owned()),
            _ => None,
        };
        debug_assert!(status.is_client_error() || status.is_server_error());
        let error = OpenAiError {
            error: OpenAiErrorBody {
                message: self.message(),
                kind: kind.into(),
                param,
                code: code.map(Into::into),
                faults: match self {
                    Self::Service(ServiceError::Faults(faults)) => Some(faults.clone()),
                    _ => None,
                },
            },
        };
        self.answer(serde_json::to_value(error).unwrap_or_default())
    }
}

/// An error of the videos API.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OpenAiError {
    /// What is wrong.
    error: OpenAiErrorBody,
}

#[derive(Debug, Serialize, ToSchema)]
struct OpenAiErrorBody {
    /// For people.
    message: String,
    /// Such as `invalid_request_error`.
    #[serde(rename = "type")]
    kind: String,
    /// The field at fault.
    param: Option<String>,
    /// For programs.
    code: Option<String>,
    /// All that is wrong with the request, by field: this server's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<BTreeMap<String, Vec<String>>>,
}

/// An error of the API of 2023.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LegacyError {
    /// Always `error`.
    #[schema(value_type = String)]
    status: &'static str,
    /// A sentence, or lists of faults by field.
    message: LegacyMessage,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    tip: Option<String>,
    /// What to do about it, where there is too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    tips: Option<String>,
    /// Seconds to wait, where there is too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

/// An error in the rendering of the API of 2023.
pub(super) struct Legacy(pub(super) ApiError);

impl<E: Into<ApiError>> From<E> for Legacy {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Legacy {
    fn into_response(self) -> Response {
        self.0.legacy()
    }
}

/// An error in OpenAI's rendering.
pub(super) struct OpenAi(pub(super) ApiError);

impl<E: Into<ApiError>> From<E> for OpenAi {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for OpenAi {
    fn into_response(self) -> Response {
        self.0.openai()
    }
}

/// The rendering of the API that a path is of.
pub(super) fn rendered(path: &str, error: &ApiError) -> Response {
    match path.starts_with("/api/") {
        true => error.legacy(),
        false => error.openai(),
    }
}

/// The answer where there is no such path.
pub(super) async fn no_route(uri: Uri) -> Response {
    let message = "There is no such path; /docs has those that there are.";
    rendered(uri.path(), &ApiError::NoRoute(message.into()))
}

/// The answer where a path has other methods.
pub(super) async fn wrong_method(uri: Uri) -> Response {
    rendered(uri.path(), &ApiError::Method)
}
