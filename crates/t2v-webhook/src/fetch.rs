//! Files that a request names by URL: fetched from public addresses only, and no more of them than is wanted.

use std::{io::Read, time::Duration};

use crate::{
    WebhookError,
    address::parse,
    transport::{self, Failure},
};

/// Fetches what URLs of requests name; may be shared between threads.
///
/// As for webhooks: HTTPS, public addresses, those that were checked and no others, and no redirects.
///
/// ```no_run
/// use t2v_webhook::Fetcher;
///
/// # fn main() -> Result<(), t2v_webhook::WebhookError> {
/// let picture = Fetcher::new().with_limit(16 << 20).fetch("https://example.org/ball.png", &["image/"])?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Fetcher {
    timeout: Duration,
    limit: u64,
    allow_http: bool,
    allow_private: bool,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self::new()
    }
}

impl Fetcher {
    /// A fetcher that takes files of at most 64 MiB which arrive within 30 seconds.
    #[must_use]
    pub fn new() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            limit: 64 << 20,
            allow_http: false,
            allow_private: false,
        }
    }

    /// Sets the time for a file, from its host's look-up to its last byte.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the most bytes of a file.
    #[must_use]
    pub fn with_limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Takes plain `http://` too: for networks of one's own, and tests.
    #[must_use]
    pub fn with_http_allowed(mut self) -> Self {
        self.allow_http = true;
        self
    }

    /// Connects to addresses that are not public, too. Then whoever sends a request can have this machine ask others of its
    /// network.
    #[must_use]
    pub fn with_private_addresses_allowed(mut self) -> Self {
        self.allow_private = true;
        self
    }

    /// The bytes at `url`, whose type begins with one of `types` or is `application/octet-stream`. Blocks.
    ///
    /// # Errors
    /// A URL that can't be used, an answer other than 200, another type, too many bytes, or too long a wait.
    pub fn fetch(&self, url: &str, types: &[&str]) -> Result<Vec<u8>, WebhookError> {
        let uri = parse(url, self.allow_http, self.allow_private)?;
        let fault = |reason: String| WebhookError::url(url, reason);
        let agent = transport::agent(self.timeout, self.allow_http, self.allow_private);
        let mut response = agent.get(uri).call().map_err(|error| match transport::failure(error) {
            Failure::NotPublic(address) => fault(format!("its host is at {address}, which is not a public address")),
            Failure::Passing(reason) => fault(reason),
        })?;
        match response.status().as_u16() {
            200 => {}
            status @ 300..400 => return Err(fault(format!("status {status}: redirects are not followed"))),
            status => return Err(fault(format!("it was answered with status {status}"))),
        }
        let found = response
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok());
        let found = found.unwrap_or("application/octet-stream").to_ascii_lowercase();
        if !found.starts_with("application/octet-stream") && !types.iter().any(|kind| found.starts_with(kind)) {
            let wanted = types.join("* or ");
            return Err(fault(format!("its type is `{}`, not {wanted}*", found.escape_debug())));
        }
        let mut bytes = Vec::new();
        let mut body = response.body_mut().as_reader().take(self.limit + 1);
        body.read_to_end(&mut bytes).map_err(|error| fault(error.to_string()))?;
        if bytes.len() as u64 > self.limit {
            return Err(fault(format!("it has more than {} bytes", self.limit)));
        }
        Ok(bytes)
    }
}
