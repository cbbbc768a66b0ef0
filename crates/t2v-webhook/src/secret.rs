//! Signatures of Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use std::{fmt, str::FromStr};

use base64::prelude::{BASE64_STANDARD, Engine};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::WebhookError;

const PREFIX: &str = "whsec_";
/// Bytes that the specification allows.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// What sender and receiver share: `whsec_` and 24 to 64 random bytes in base64.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// The `webhook-signature` of a message sent at `timestamp` (seconds since 1970): `v1,` and the HMAC-SHA256 of
    /// `id.timestamp.body` in base64.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut code = Vec::new();
        // HMAC takes keys of every length.
        if let Ok(mut hmac) = Hmac::<Sha256>::new_from_slice(&self.0) {
            hmac.update(format!("{id}.{timestamp}.").as_bytes());
            hmac.update(body);
            code = hmac.finalize().into_bytes().to_vec();
        }
        format!("v1,{}", BASE64_STANDARD.encode(code))
    }
}

impl FromStr for WebhookSecret {
    type Err = WebhookError;

    fn from_str(secret: &str) -> Result<Self, WebhookError> {
        let encoded = secret.strip_prefix(PREFIX).ok_or_else(|| {
            let reason = format!("it must begin with `{PREFIX}`, as Standard Webhooks' secrets do");
            WebhookError::Secret(reason)
        })?;
        let bytes = BASE64_STANDARD
            .decode(encoded)
            .map_err(|_| WebhookError::Secret(format!("what follows `{PREFIX}` must be base64")))?;
        if !LENGTHS.contains(&bytes.len()) {
            let (min, max) = (LENGTHS.start(), LENGTHS.end());
            let reason = format!("it must hold {min} to {max} bytes, not {}", bytes.len());
            return Err(WebhookError::Secret(reason));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the reference libraries' tests (`libraries/*/`, message `msg_p5jXN8AQM9LWM0D4loKWxJek`).
    #[test]
    fn signs_as_the_reference_libraries_do() {
        let secret: WebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let signature = secret.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn unusable_secrets_are_refused_and_none_is_shown() {
        let short = format!("whsec_{}", BASE64_STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", BASE64_STANDARD.encode([7; 65]));
        for secret in [
            "",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_",
            "whsec_???",
            &short,
            &long,
        ] {
            let message = secret.parse::<WebhookSecret>().unwrap_err().to_string();
            assert!(secret.len() < 8 || !message.contains(secret), "{message}");
        }
        let secret: WebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "WebhookSecret(..)");
    }
}
