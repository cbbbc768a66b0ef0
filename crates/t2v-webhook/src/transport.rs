//! One POST over HTTP/1.1, to no address but a checked one.

use std::{
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use ureq::{
    Agent, Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};

use crate::{address::is_public, retry::retry_after};

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
}

/// Why nothing came back.
pub(super) enum Failure {
    /// The host is not a public address.
    NotPublic(IpAddr),
    /// It may be otherwise next time.
    Passing(String),
}

/// An HTTP client that follows no redirects, uses no proxy, and keeps no connection.
pub(super) fn agent(timeout: Duration, allow_http: bool, allow_private: bool) -> Agent {
    let config = Agent::config_builder()
        .https_only(!allow_http)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .proxy(None)
        .timeout_global(Some(timeout))
        .user_agent(concat!("t2v/", env!("CARGO_PKG_VERSION")))
        .build();
    let resolver = CheckedResolver {
        resolver: DefaultResolver::default(),
        allow_private,
    };
    Agent::with_parts(config, DefaultConnector::new(), resolver)
}

/// Sends `body`; what the answer holds besides its head is not read.
pub(super) fn post(
    agent: &Agent,
    uri: &Uri,
    headers: &[(&str, String)],
    body: &[u8],
    now: SystemTime,
) -> Result<Answer, Failure> {
    let mut request = agent.post(uri.clone()).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let response = request.send(body).map_err(failure)?;
    let header = response.headers().get("retry-after");
    Ok(Answer {
        status: response.status().as_u16(),
        retry_after: header.and_then(|value| retry_after(value.to_str().ok()?, now)),
    })
}

pub(super) fn failure(error: Error) -> Failure {
    if let Error::Other(other) = &error
        && let Some(NotPublic(address)) = other.downcast_ref()
    {
        return Failure::NotPublic(*address);
    }
    Failure::Passing(error.to_string())
}

/// The host's name resolved once: the addresses that are checked are those that are connected to.
#[derive(Debug)]
struct CheckedResolver {
    resolver: DefaultResolver,
    allow_private: bool,
}

impl Resolver for CheckedResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let addresses = self.resolver.resolve(uri, config, timeout)?;
        let mut private = addresses.iter().map(|a| a.ip()).filter(|ip| !is_public(*ip));
        match private.next() {
            Some(address) if !self.allow_private => Err(Error::Other(Box::new(NotPublic(address)))),
            _ => Ok(addresses),
        }
    }
}

#[derive(Debug)]
struct NotPublic(IpAddr);

impl std::error::Error for NotPublic {}

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a public address", self.0)
    }
}
