//! Handlers that panic: their client is answered all the same.

use std::{any::Any, panic::AssertUnwindSafe};

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use futures::FutureExt;

use super::error::{ApiError, rendered};

/// Answers with 500, in the shape of the path's API, where a handler panics. What is shared is not left half changed: jobs are
/// in the database, and locks are taken over from whoever panicked.
pub(super) async fn caught(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let route = route.as_ref().map_or("none", MatchedPath::as_str);
            tracing::error!(route, reason = reason(panic.as_ref()), "a handler panicked");
            rendered(&path, &ApiError::Panicked)
        }
    }
}

/// What a panic says.
fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_say_why() {
        let panics: [(Box<dyn Any + Send>, &str); 3] = [
            (Box::new("a"), "a"),
            (Box::new("b".to_owned()), "b"),
            (Box::new(5), "unknown"),
        ];
        for (panic, expected) in panics {
            assert_eq!(reason(panic.as_ref()), expected);
        }
    }
}
