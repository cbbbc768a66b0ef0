//! Webhooks: a video's result sent to the address that its request names.
//!
//! The key decision: an address comes from whoever sends a request, so it is not trusted. Only HTTPS and only public
//! addresses are connected to, those that were checked and no others, and redirects are not followed. Deliveries are
//! signed as [Standard Webhooks](https://www.standardwebhooks.com) says, and tried again as the receiver's answers ask
//! for.

mod address;
mod clock;
mod error;
mod fetch;
mod payload;
mod retry;
mod secret;
mod sender;
mod transport;

pub use clock::{Clock, SystemClock};
pub use error::WebhookError;
pub use fetch::Fetcher;
pub use payload::WebhookPayload;
pub use retry::RetryPolicy;
pub use secret::WebhookSecret;
pub use sender::{Attempt, Delivery, WebhookSender};
