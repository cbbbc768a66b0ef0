//! Where webhooks are never sent to.

use std::{
    io::{Read, Write},
    net::TcpListener,
};

use t2v_webhook::{Fetcher, WebhookError, WebhookPayload, WebhookSender};

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
        assert!(
            public_only.check_host(&format!("http://{host}:{port}/")).is_err(),
            "{host}"
        );
        let fetcher = Fetcher::new().with_http_allowed();
        let error = fetcher
            .fetch(&format!("http://{host}:{port}/"), &["image/"])
            .unwrap_err();
        assert!(matches!(error, WebhookError::Url { .. }), "{host}: {error}");
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

#[test]
fn a_host_that_cannot_be_looked_up_now_is_let_pass() {
    let sender = WebhookSender::new();
    sender.check_host("https://no-such-host.invalid/hook").unwrap();
    sender.check_host("https://8.8.8.8/hook").unwrap();
    sender
        .with_private_addresses_allowed()
        .check_host("https://127.0.0.1/hook")
        .unwrap();
}

/// Answers one GET with `answer`, and gives what it was asked.
fn serve(answer: Vec<u8>) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/ball.png", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut start = [0; 512];
        let len = stream.read(&mut start).unwrap();
        // A reader that has enough hangs up.
        let _ = stream.write_all(&answer);
        String::from_utf8_lossy(&start[..len]).into_owned()
    });
    (url, thread)
}

#[test]
fn a_file_is_fetched_within_its_limits() {
    let fetcher = Fetcher::new()
        .with_limit(8)
        .with_http_allowed()
        .with_private_addresses_allowed();
    let answer = |head: &str, body: &str| {
        let (length, head) = (body.len(), head.to_owned());
        format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
    };
    let (url, asked) = serve(answer("200 OK\r\nContent-Type: image/png", "12345678"));
    assert_eq!(fetcher.fetch(&url, &["image/"]).unwrap(), b"12345678");
    assert!(asked.join().unwrap().starts_with("GET /ball.png HTTP/1.1\r\n"));
    for (answer, reason) in [
        (
            answer("200 OK\r\nContent-Type: image/png", "123456789"),
            "more than 8 bytes",
        ),
        (answer("200 OK\r\nContent-Type: text/html", "<html>"), "text/html"),
        (answer("404 No", ""), "status 404"),
        (answer("302 Found\r\nLocation: http://127.0.0.1/", ""), "redirects"),
    ] {
        let (url, asked) = serve(answer);
        let message = fetcher.fetch(&url, &["image/"]).unwrap_err().to_string();
        assert!(message.contains(reason) && message.contains(&url), "{message}");
        asked.join().unwrap();
    }
}
