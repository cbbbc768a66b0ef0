//! Deliveries: signed, tried again, given up.

use std::{
    borrow::Cow,
    fmt,
    net::ToSocketAddrs,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ureq::{Agent, http::Uri};

use crate::{
    Clock, RetryPolicy, SystemClock, WebhookError, WebhookPayload, WebhookSecret,
    address::{is_public, parse},
    retry::{Verdict, verdict},
    transport::{Answer, Failure, agent, post},
};

/// Time for one attempt, from the name's look-up to the head of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Sends webhooks; may be shared between threads.
///
/// ```no_run
/// use t2v_webhook::{WebhookPayload, WebhookSender};
///
/// # fn main() -> Result<(), t2v_webhook::WebhookError> {
/// let sender = WebhookSender::new().with_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?);
/// let payload = WebhookPayload::success(1, 8.9, ["https://example.com/videos/1.mp4"]);
/// sender.deliver("https://example.org/hook", &payload)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct WebhookSender {
    secrets: Vec<WebhookSecret>,
    retry: RetryPolicy,
    timeout: Duration,
    allow_http: bool,
    allow_private: bool,
    clock: Arc<dyn Clock>,
}

/// A webhook that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// Attempts that it took.
    pub attempts: u32,
    /// HTTP status of the answer, 2xx.
    pub status: u16,
}

/// How one attempt ended, for those that keep a queue of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attempt {
    /// The receiver has it.
    Delivered {
        /// HTTP status, 2xx.
        status: u16,
    },
    /// It may be tried again.
    Failed {
        /// What happened.
        reason: String,
        /// The least wait, where the receiver asked for one.
        retry_after: Option<Duration>,
    },
}

impl Default for WebhookSender {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WebhookSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSender")
            .field("secrets", &self.secrets)
            .field("retry", &self.retry)
            .field("timeout", &self.timeout)
            .field("allow_http", &self.allow_http)
            .field("allow_private", &self.allow_private)
            .finish_non_exhaustive()
    }
}

impl WebhookSender {
    /// A sender without a secret: messages are not signed.
    #[must_use]
    pub fn new() -> Self {
        Self {
            secrets: Vec::new(),
            retry: RetryPolicy::default(),
            timeout: TIMEOUT,
            allow_http: false,
            allow_private: false,
            clock: Arc::new(SystemClock),
        }
    }

    /// Signs messages. With several secrets each message has a signature of each, so that secrets can be changed one
    /// side at a time.
    #[must_use]
    pub fn with_secret(mut self, secret: WebhookSecret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Sets how often a delivery is tried.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Sets the time for one attempt; otherwise 30 seconds.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Takes plain `http://` too: for networks of one's own, and tests.
    #[must_use]
    pub fn with_http_allowed(mut self) -> Self {
        self.allow_http = true;
        self
    }

    /// Connects to addresses that are not public, too. Then whoever sends a request can have this machine post to
    /// others of its network.
    #[must_use]
    pub fn with_private_addresses_allowed(mut self) -> Self {
        self.allow_private = true;
        self
    }

    /// Sets what deliveries wait by.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Whether a request may name this webhook, as far as its URL tells: to ask before a generation rather than after.
    ///
    /// # Errors
    /// No URL, not HTTPS, or a host that is not public.
    pub fn check_url(&self, url: &str) -> Result<(), WebhookError> {
        parse(url, self.allow_http, self.allow_private).map(|_| ())
    }

    /// Like [`check_url`](Self::check_url), and its host's name is looked up, which finds other spellings of addresses, such
    /// as `127.1`, and names of private ones. A name that can't be looked up now is let pass: it is checked again whenever
    /// it is connected to. Blocks.
    ///
    /// # Errors
    /// As for `check_url`, and a host that has an address which is not public.
    pub fn check_host(&self, url: &str) -> Result<(), WebhookError> {
        let uri = parse(url, self.allow_http, self.allow_private)?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let Ok(mut addresses) = (host, uri.port_u16().unwrap_or(443)).to_socket_addrs() else {
            return Ok(());
        };
        match addresses.any(|address| !is_public(address.ip())) {
            true if !self.allow_private => Err(WebhookError::url(url, "its host is not a public address")),
            _ => Ok(()),
        }
    }

    /// Posts `payload` to `url` until the receiver has it: an answer of 2xx. Blocks, also between attempts.
    ///
    /// Everything but 2xx is tried again, not sooner than a `Retry-After` asks for; only 410 is final, and redirects are not
    /// followed. `webhook-id` is the same in every attempt.
    ///
    /// # Errors
    /// A URL that can't be used, a receiver that is gone, or no attempt that succeeds.
    pub fn deliver(&self, url: &str, payload: &WebhookPayload) -> Result<Delivery, WebhookError> {
        let message = self.message(url, payload)?;
        let mut attempts = 1;
        loop {
            let (reason, retry_after) = match self.send(&message)? {
                Attempt::Delivered { status } => return Ok(Delivery { attempts, status }),
                Attempt::Failed { reason, retry_after } => (reason, retry_after),
            };
            if attempts >= self.retry.attempts {
                return Err(WebhookError::Exhausted { attempts, reason });
            }
            let longest = self.retry.longest_delay;
            if let Some(asked) = retry_after.filter(|asked| *asked > longest) {
                return Err(WebhookError::Postponed { asked, longest });
            }
            let delay = self.retry.delay(attempts, self.clock.jitter());
            self.clock.sleep(delay.max(retry_after.unwrap_or_default()));
            attempts += 1;
        }
    }

    /// Posts `payload` to `url` once.
    ///
    /// # Errors
    /// As for [`deliver`](Self::deliver), where another attempt would not help.
    pub fn attempt(&self, url: &str, payload: &WebhookPayload) -> Result<Attempt, WebhookError> {
        self.send(&self.message(url, payload)?)
    }

    /// Posts stored bytes to `url` once: a JSON body, under the `webhook-id` that it has in every attempt.
    ///
    /// # Errors
    /// As for [`attempt`](Self::attempt).
    pub fn attempt_stored(&self, url: &str, webhook_id: &str, body: &[u8]) -> Result<Attempt, WebhookError> {
        self.send(&self.stored(url, webhook_id, body.into())?)
    }

    fn message<'a>(&self, url: &'a str, payload: &WebhookPayload) -> Result<Message<'a>, WebhookError> {
        if payload.id.is_empty() {
            return Err(unusable_id(""));
        }
        let body = serde_json::to_vec(payload).map_err(|e| WebhookError::Payload(e.to_string()))?;
        self.stored(url, &format!("msg_{}", payload.id), body.into())
    }

    fn stored<'a>(&self, url: &'a str, id: &str, body: Cow<'a, [u8]>) -> Result<Message<'a>, WebhookError> {
        let uri = parse(url, self.allow_http, self.allow_private)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if id.is_empty() || !id.chars().all(plain) {
            return Err(unusable_id(id));
        }
        Ok(Message {
            url,
            uri,
            id: id.to_owned(),
            body,
            agent: agent(self.timeout, self.allow_http, self.allow_private),
        })
    }

    fn send(&self, message: &Message<'_>) -> Result<Attempt, WebhookError> {
        let now = self.clock.now();
        let headers = self.headers(message, now);
        let answer = match post(&message.agent, &message.uri, &headers, &message.body, now) {
            Ok(answer) => answer,
            Err(Failure::NotPublic(address)) => {
                let reason = format!("its host is at {address}, which is not a public address");
                return Err(WebhookError::url(message.url, reason));
            }
            Err(Failure::Passing(reason)) => {
                return Ok(Attempt::Failed {
                    reason,
                    retry_after: None,
                });
            }
        };
        let Answer { status, retry_after } = answer;
        match verdict(status) {
            Verdict::Delivered => Ok(Attempt::Delivered { status }),
            Verdict::Gone => Err(WebhookError::Gone),
            Verdict::Retry => Ok(Attempt::Failed {
                reason: format!("the receiver answered with status {status}{}", hint(status)),
                retry_after,
            }),
        }
    }

    fn headers(&self, message: &Message<'_>, now: SystemTime) -> Vec<(&'static str, String)> {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let timestamp = since.as_secs();
        let mut headers = vec![
            ("webhook-id", message.id.clone()),
            ("webhook-timestamp", timestamp.to_string()),
        ];
        let sign = |secret: &WebhookSecret| secret.sign(&message.id, timestamp, &message.body);
        let signatures: Vec<String> = self.secrets.iter().map(sign).collect();
        if !signatures.is_empty() {
            headers.push(("webhook-signature", signatures.join(" ")));
        }
        headers
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        300..400 => ": redirects are not followed",
        _ => "",
    }
}

fn unusable_id(id: &str) -> WebhookError {
    let id = id.escape_debug();
    WebhookError::Payload(format!("its id `{id}` may hold letters, digits, `-` and `_` only"))
}

/// A payload on its way.
struct Message<'a> {
    url: &'a str,
    uri: Uri,
    id: String,
    body: Cow<'a, [u8]>,
    agent: Agent,
}
