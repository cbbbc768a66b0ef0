//! What names a model of the Hugging Face Hub.

use crate::HubError;

const DEFAULT_REVISION: &str = "main";
const LONGEST_NAME: usize = 96;

/// A model of the [Hugging Face Hub](https://huggingface.co/models?pipeline_tag=text-to-video), in diffusers' layout.
///
/// ```
/// use t2v_hub::HubModel;
///
/// # fn main() -> Result<(), t2v_hub::HubError> {
/// let model = HubModel::new("ali-vilab/text-to-video-ms-1.7b")?.with_variant("fp16");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubModel {
    pub(crate) id: String,
    pub(crate) revision: String,
    pub(crate) variant: Option<String>,
    pub(crate) strict: bool,
}

impl HubModel {
    /// The model `owner/name` at its revision `main`.
    ///
    /// # Errors
    /// An id that the hub could not have.
    pub fn new(id: impl Into<String>) -> Result<Self, HubError> {
        let id = id.into();
        if !is_hub_id(&id) {
            let reason = format!(
                "the id of a model of the hub is `owner/name`, each of at most {LONGEST_NAME} letters, digits, `-`, `_` \
                 and `.`, without `--` and `..`"
            );
            return Err(HubError::unavailable(&id, reason));
        }
        Ok(Self {
            id,
            revision: DEFAULT_REVISION.into(),
            variant: None,
            strict: false,
        })
    }

    /// Takes a branch, a tag or a commit instead of `main`.
    #[must_use]
    pub fn with_revision(mut self, revision: impl Into<String>) -> Self {
        self.revision = revision.into();
        self
    }

    /// Prefers the weight files of a variant, such as `fp16`: less to download, the same computation.
    #[must_use]
    pub fn with_variant(mut self, variant: impl Into<String>) -> Self {
        self.variant = Some(variant.into());
        self
    }

    /// Refuses weights that the configuration has no place for, instead of warning of them.
    #[must_use]
    pub fn with_strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }
}

/// Whether `id` is `owner/name` as the hub allows it; so it is no path either.
#[must_use]
pub fn is_hub_id(id: &str) -> bool {
    let is_name = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let edge = |c: char| "-.".contains(c);
        (1..=LONGEST_NAME).contains(&name.len())
            && name.chars().all(plain)
            && !name.starts_with(edge)
            && !name.ends_with(edge)
            && !name.contains("--")
            && !name.contains("..")
    };
    id.split_once('/')
        .is_some_and(|(owner, name)| is_name(owner) && is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_owner_and_name() {
        for id in ["ali-vilab/text-to-video-ms-1.7b", "a/b", "cerspense/zeroscope_v2_576w"] {
            assert!(HubModel::new(id).is_ok(), "{id}");
        }
        let long = format!("a/{}", "b".repeat(97));
        for id in [
            "",
            "a",
            "a/",
            "/a",
            "/etc/passwd",
            "../etc",
            "../../etc",
            "a/..",
            "a/b/c",
            "a\\b/c",
            "a/b--c",
            "a/.b",
            "a/b.",
            "a/b c",
            "a/b\0",
            "C:/x:",
            "a/é",
            &long,
        ] {
            let message = HubModel::new(id).map(|_| ()).map_err(|error| error.to_string());
            assert!(message.is_err_and(|message| message.contains("owner/name")), "{id}");
        }
    }
}
