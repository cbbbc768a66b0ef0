//! Files and parts of them ([RFC 9110, 14](https://www.rfc-editor.org/rfc/rfc9110#section-14)).

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{
            ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, RANGE,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
};
use http_range_header::{SyntacticallyCorrectRange, parse_range_header};

use crate::outputs::{Content, Wanted};

/// The part that a request asks for. Of several parts, and of what can't be understood, the whole is given, as is allowed.
pub(super) fn wanted(headers: &HeaderMap) -> Wanted {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let ranges = text(RANGE).and_then(|range| parse_range_header(range).ok());
    let (first, last) = match ranges.map(|ranges| ranges.into_ranges()).as_deref() {
        Some([SyntacticallyCorrectRange::FromStart(first)]) => (Some(*first), None),
        Some([SyntacticallyCorrectRange::Indexed(first, last)]) => (Some(*first), Some(*last)),
        Some([SyntacticallyCorrectRange::FromLast(count)]) => (None, Some(*count)),
        _ => return Wanted::Whole,
    };
    Wanted::Part {
        first,
        last,
        if_etag: text(IF_RANGE).map(str::to_owned),
    }
}

/// The answer with a file or a part of it.
pub(super) fn answer(content: Content, kind: &'static str) -> Response {
    let Content {
        size,
        range,
        etag,
        stream,
    } = content;
    let is_whole = range == (0..size);
    if range.is_empty() && !is_whole {
        let all = format!("bytes */{size}");
        return (StatusCode::RANGE_NOT_SATISFIABLE, [(CONTENT_RANGE, all)]).into_response();
    }
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, (range.end - range.start).into());
    // A name is never given twice.
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=86400, immutable"),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(ETAG, etag);
    }
    if !is_whole {
        let part = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        if let Ok(part) = HeaderValue::from_str(&part) {
            headers.insert(CONTENT_RANGE, part);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: &str) -> Wanted {
        let value = HeaderValue::from_str(range).unwrap();
        wanted(&HeaderMap::from_iter([(RANGE, value)]))
    }

    #[test]
    fn one_range_is_understood() {
        let part = |first, last| Wanted::Part {
            first,
            last,
            if_etag: None,
        };
        assert_eq!(of("bytes=0-"), part(Some(0), None));
        assert_eq!(of("bytes=5-9"), part(Some(5), Some(9)));
        assert_eq!(of("bytes=-9"), part(None, Some(9)));
        for whole in ["bytes=9-5", "bytes=0-1,3-4", "lines=1-2", "x", ""] {
            assert_eq!(of(whole), Wanted::Whole, "{whole}");
        }
        assert_eq!(wanted(&HeaderMap::new()), Wanted::Whole);
    }
}
