//! What can go wrong on the way to a webhook.

use std::time::Duration;

/// Longest part of a URL in a message.
const SHOWN: usize = 200;

/// Why a webhook was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The URL can't be that of a webhook, or of a file to fetch.
    #[error("the URL `{url}` cannot be used: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The secret is not one that deliveries can be signed with.
    #[error("the webhook secret cannot be used: {0}")]
    Secret(String),
    /// The payload can't be sent.
    #[error("the webhook's payload cannot be sent: {0}")]
    Payload(String),
    /// The receiver answered with 410, which asks for no second attempt.
    #[error("the webhook's receiver is gone: it answered with status 410")]
    Gone,
    /// The receiver asked for a longer wait than the [`RetryPolicy`](crate::RetryPolicy) has.
    #[error("the webhook's receiver asked to wait {asked:?}, longer than deliveries wait ({longest:?})")]
    Postponed {
        /// The wait that was asked for.
        asked: Duration,
        /// The policy's.
        longest: Duration,
    },
    /// Every attempt failed.
    #[error("the webhook was not delivered in {attempts} attempts; at last: {reason}")]
    Exhausted {
        /// How many there were.
        attempts: u32,
        /// How the last one failed.
        reason: String,
    },
}

impl WebhookError {
    pub(super) fn url(url: &str, reason: impl Into<String>) -> Self {
        let url = url.chars().take(SHOWN).flat_map(char::escape_debug).collect();
        let reason = reason.into();
        Self::Url { url, reason }
    }
}
