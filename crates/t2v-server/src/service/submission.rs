//! What a client asks for, as it was read: with its faults, so that the rest can be checked, too.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use t2v_pipeline::TextToVideoRequest;

use crate::{
    faults::Faults,
    inputs::Source,
    job::{InitKind, OutputType},
};

/// Stands in for a prompt that is at fault, while the rest of the request is checked.
pub(super) const ANY_PROMPT: &str = "…";

/// A video that somebody wishes, or pictures.
#[derive(Debug, Clone, Default)]
pub struct Submission {
    /// The request as far as it could be read; a key in it is left out.
    pub request: TextToVideoRequest,
    /// What is known already to be wrong.
    pub faults: Faults,
    /// What it starts from, and the field that said so.
    pub init: Option<(&'static str, InitKind, Source)>,
    /// What of the picture that it starts from is painted anew, and the field that said so.
    pub mask: Option<(&'static str, Source)>,
    /// How many pictures are to be made; `None`: one.
    pub samples: Option<u8>,
    /// Width and height in pixels, of which the nearest that the model can make are taken.
    pub size: Option<[u32; 2]>,
    /// Seconds that the video is to last, in as many frames as the model can make that are nearest.
    pub seconds: Option<f64>,
    /// What the `output` of the API of 2023 has, which says what is made.
    pub output_type: OutputType,
    /// Whether the video has a URL before it is there.
    pub has_link: bool,
    /// Whether the files are to be removed after a day.
    pub temporary: bool,
    /// The client's name for it.
    pub idempotency_key: Option<String>,
    /// Whether only this server may make it, as the API of 2023 has it without `loadbalancer`.
    pub pinned: bool,
}

impl Submission {
    /// Reads a body. Fields that are at fault are noted and left out, so that the rest can be checked.
    #[must_use]
    pub fn read(body: &Map<String, Value>) -> Self {
        let mut faults = Faults::default();
        if body
            .get("prompt")
            .and_then(Value::as_str)
            .is_some_and(|prompt| prompt.trim().is_empty())
        {
            faults.add("prompt", "The prompt field is required.");
        }
        let whole = Value::Object(body.clone());
        let request = TextToVideoRequest::from_json(&whole).unwrap_or_else(|error| {
            let mut rest = body.clone();
            for (field, told) in error.faults() {
                rest.remove(field);
                faults.merge([(field.to_owned(), told.to_vec())]);
            }
            rest.entry("prompt").or_insert(ANY_PROMPT.into());
            TextToVideoRequest::from_json(&Value::Object(rest)).unwrap_or_default()
        });
        Self {
            request,
            faults,
            ..Self::default()
        }
    }
}

/// What tells one submission from another, before anything is drawn or fetched.
pub(super) fn digest(submission: &Submission) -> String {
    let mut hash = Sha256::new();
    hash.update(serde_json::to_vec(&submission.request).unwrap_or_default());
    let init = submission.init.as_ref().map(|(field, _, source)| (field, source));
    let mask = submission.mask.as_ref().map(|(field, source)| (field, source));
    for (field, source) in init.into_iter().chain(mask) {
        hash.update(field);
        match source {
            Source::Url(url) => hash.update(url),
            Source::Bytes(bytes) => hash.update(bytes),
        }
    }
    hash.update([u8::from(submission.temporary)]);
    if submission.output_type != OutputType::default() {
        hash.update(submission.output_type.name());
    }
    if let Some(samples) = submission.samples {
        hash.update([samples]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::service::ServiceError;

    fn read(body: Value) -> Submission {
        Submission::read(body.as_object().unwrap())
    }

    #[test]
    fn what_is_at_fault_does_not_hide_the_rest() {
        let submission = read(json!({"prompt": " ", "width": 5000, "height": 65, "guidance_scale": "much"}));
        assert_eq!((submission.request.width, submission.request.height), (None, Some(65)));
        let Err(ServiceError::Faults(faults)) = submission.faults.or(Some(())) else {
            panic!("there are faults");
        };
        assert_eq!(faults.keys().collect::<Vec<_>>(), ["guidance_scale", "prompt", "width"]);
        assert_eq!(faults["prompt"], ["The prompt field is required."]);
    }

    #[test]
    fn a_prompt_has_to_be_there() {
        for body in [
            json!({}),
            json!({"prompt": null}),
            json!({"prompt": ""}),
            json!({"prompt": "\n "}),
            json!({"prompt": 5}),
        ] {
            assert!(!read(body.clone()).faults.is_empty(), "{body}");
        }
        let submission = read(json!({"prompt": " a ball "}));
        assert!(submission.faults.is_empty() && submission.request.prompt == " a ball ");
    }
}
