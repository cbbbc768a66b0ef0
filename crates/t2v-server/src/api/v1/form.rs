//! The body of a new video: JSON, or a multipart form with a file.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRequest, Multipart, Request, multipart::MultipartError},
    http::header::CONTENT_TYPE,
};
use serde_json::{Map, Value};

use crate::{
    api::{
        App,
        error::{ApiError, OpenAi},
        legacy::{object, unreadable},
    },
    inputs::Source,
    job::InitKind,
    service::ServiceError,
};

/// The field that has a file to start from.
pub(super) const REFERENCE: &str = "input_reference";

/// What a form starts from, if anything, or what is wrong with that.
type Reference = Result<Option<(InitKind, Source)>, ServiceError>;

/// The fields of a form, and its file.
pub(super) struct Form {
    pub(super) fields: Map<String, Value>,
    pub(super) reference: Reference,
}

impl Form {
    /// Reads a body: a form if its type says so, and JSON whatever else it says.
    pub(super) async fn read(request: Request, app: &Arc<App>) -> Result<Self, OpenAi> {
        let kind = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        if kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("multipart/form-data")) {
            let form = Multipart::from_request(request, app).await;
            let form = form.map_err(|error| ApiError::Body(error.status(), error.body_text()))?;
            return Self::of_parts(form).await;
        }
        let bytes = Bytes::from_request(request, app).await.map_err(unreadable)?;
        let mut fields = object(&bytes)?;
        let reference = fields.remove(REFERENCE).map_or(Ok(None), |value| reference(&value));
        Ok(Self { fields, reference })
    }

    async fn of_parts(mut form: Multipart) -> Result<Self, OpenAi> {
        let (mut fields, mut reference) = (Map::new(), Ok(None));
        while let Some(part) = form.next_field().await.map_err(broken)? {
            let name = part.name().unwrap_or_default().to_owned();
            if name != REFERENCE {
                fields.insert(name, part.text().await.map_err(broken)?.into());
                continue;
            }
            let is_file = part.file_name().is_some_and(|name| !name.is_empty()) || part.content_type().is_some();
            let is_video = part.content_type().is_some_and(|kind| kind.starts_with("video/"));
            let kind = if is_video { InitKind::Video } else { InitKind::Image };
            let bytes = part.bytes().await.map_err(broken)?;
            reference = match (is_file, std::str::from_utf8(&bytes)) {
                // A form's field for a file that nobody chose.
                _ if bytes.is_empty() => Ok(None),
                (false, Ok(text)) => self::reference(&text.into()),
                _ => Ok(Some((kind, Source::Bytes(bytes)))),
            };
        }
        Ok(Self { fields, reference })
    }
}

fn broken(error: MultipartError) -> OpenAi {
    ApiError::Body(error.status(), error.body_text()).into()
}

/// A reference in JSON: a text, or an object with the text in `image_url`; a blank text is none.
fn reference(value: &Value) -> Reference {
    let text = match value {
        Value::Null => return Ok(None),
        Value::Object(object) => object.get("image_url").and_then(Value::as_str),
        other => other.as_str(),
    };
    if text.is_some_and(|text| text.trim().is_empty()) {
        return Ok(None);
    }
    let text = text.ok_or_else(|| {
        let fault = "The input reference must be a file, a URL, a data URL, or an object with an `image_url`.";
        ServiceError::fault(REFERENCE, fault)
    })?;
    let is_video = text.starts_with("data:video/");
    let source = Source::parse(text)
        .map_err(|error| ServiceError::fault(REFERENCE, format!("The input reference is not usable: {error}")))?;
    Ok(Some((if is_video { InitKind::Video } else { InitKind::Image }, source)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_blank_reference_is_none() {
        for blank in [json!(null), json!(""), json!(" \n"), json!({"image_url": ""})] {
            assert!(reference(&blank).unwrap().is_none(), "{blank}");
        }
        for wrong in [json!(5), json!({}), json!({"image_url": 5}), json!("no such thing!")] {
            assert!(reference(&wrong).is_err(), "{wrong}");
        }
        let found = reference(&json!({"image_url": "https://example.com/a.png"})).unwrap();
        assert_eq!(
            found,
            Some((InitKind::Image, Source::Url("https://example.com/a.png".into())))
        );
    }
}
