//! The body of every request: JSON with the key.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
};
use serde_json::{Map, Value};

use crate::{
    api::{
        App,
        error::{ApiError, Legacy},
    },
    auth::Owner,
    inputs::Source,
    service::ServiceError,
};

/// A request whose key is known and within its limits.
pub(super) struct Authorised {
    /// Whose key it is.
    pub(super) owner: Owner,
    /// The body, without the key.
    pub(super) body: Value,
    /// The client's name for the request.
    pub(super) idempotency_key: Option<String>,
}

/// The same, where the key may change the server.
pub(super) struct Administration(pub(super) Authorised);

impl FromRequest<Arc<App>> for Authorised {
    type Rejection = Legacy;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Legacy> {
        let idempotency_key = idempotency_key(request.headers())?;
        let bytes = Bytes::from_request(request, app).await.map_err(unreadable)?;
        let mut body = object(&bytes)?;
        let owner = match body.remove("key") {
            Some(Value::String(key)) => app.keys.owner(&key),
            _ => None,
        };
        let owner = owner.ok_or(ApiError::Key)?;
        app.limits.count(&owner).map_err(too_often)?;
        Ok(Self {
            owner,
            body: body.into(),
            idempotency_key,
        })
    }
}

impl FromRequest<Arc<App>> for Administration {
    type Rejection = Legacy;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Legacy> {
        let request = Authorised::from_request(request, app).await?;
        match request.owner.is_admin {
            true => Ok(Self(request)),
            false => Err(ApiError::Forbidden.into()),
        }
    }
}

impl Authorised {
    /// A text of the body that must be there.
    pub(super) fn required(&self, field: &str) -> Result<String, ServiceError> {
        self.optional(field)?.ok_or_else(|| {
            let spoken = field.replace('_', " ");
            ServiceError::fault(field, format!("The {spoken} field is required."))
        })
    }

    /// A file to start from: a URL, a data URL, or base64.
    pub(super) fn source(&self, field: &str) -> Result<Option<Source>, ServiceError> {
        let parsed = self.optional(field)?.map(|text| Source::parse(&text)).transpose();
        parsed.map_err(|error| {
            let spoken = field.replace('_', " ");
            ServiceError::fault(field, format!("The {spoken} is not usable: {error}"))
        })
    }

    /// A text of the body; numbers count as their digits, and blanks as nothing.
    pub(super) fn optional(&self, field: &str) -> Result<Option<String>, ServiceError> {
        let text = match self.body.get(field) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(Value::Number(number)) => number.to_string(),
            Some(_) => {
                let spoken = field.replace('_', " ");
                return Err(ServiceError::fault(field, format!("The {spoken} must be a string.")));
            }
        };
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}

/// The header `Idempotency-Key`.
pub(in crate::api) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ServiceError> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().ok().filter(|key| (1..=255).contains(&key.len()));
    let fault = "The header Idempotency-Key must be 1 to 255 characters of ASCII.";
    key.map(|key| Some(key.to_owned()))
        .ok_or_else(|| ServiceError::fault("idempotency_key", fault))
}

/// A JSON object in UTF-8, which may begin with a byte order mark.
pub(in crate::api) fn object(bytes: &[u8]) -> Result<Map<String, Value>, ServiceError> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ServiceError::fault("body", "The body must be a JSON object.")),
        Err(error) => Err(ServiceError::fault("body", format!("The body is not JSON: {error}."))),
    }
}

pub(in crate::api) fn unreadable(rejection: BytesRejection) -> ApiError {
    let message = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => "The body is larger than this server takes.".to_owned(),
        _ => "The body cannot be read.".to_owned(),
    };
    ApiError::Body(rejection.status(), message)
}

pub(in crate::api) fn too_often(wait: std::time::Duration) -> ServiceError {
    ServiceError::TooMany {
        reason: "This key asks more often than it may.",
        wait,
    }
}
