//! Where webhooks are never sent to.

#![allow(clippy::unwrap_used)]

use std::net::TcpListener;

use t2v_webhook::{WebhookError, WebhookPayload, WebhookSender};

/// Names of this machine and other spellings of its address reach the resolver: it, too, must refuse them.
#[test]
fn private_addresses_are_never_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let strict = WebhookSender::new();
    let public_only = strict.clone().with_http_allowed();
    for host in [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ] {
        let error = public_only
            .deliver(&format!("http://{host}:{port}/"), &WebhookPayload::failed(1, ""))
            .unwrap_err();
        assert!(matches!(error, WebhookError::Url { .. }), "{host}: {error}");
        assert!(strict.check_url(&format!("http://{host}:{port}/")).is_err());
    }
    assert!(listener.accept().is_err(), "somebody connected");
}

#[test]
fn only_https_is_taken_unless_http_is_allowed() {
    let sender = WebhookSender::new();
    assert!(
        sender
            .check_url("http://example.com/")
            .unwrap_err()
            .to_string()
            .contains("https")
    );
    sender.check_url("https://example.com/").unwrap();
    sender.with_http_allowed().check_url("http://example.com/").unwrap();
}

#[test]
fn ids_that_would_not_be_headers_are_refused() {
    let sender = WebhookSender::new();
    for id in ["", "1.2", "1\r\nx: y", "é"] {
        let error = sender
            .deliver("https://example.com/", &WebhookPayload::failed(id, ""))
            .unwrap_err();
        assert!(matches!(error, WebhookError::Payload(_)), "{error}");
    }
}
