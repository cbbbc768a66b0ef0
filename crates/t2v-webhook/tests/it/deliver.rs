//! Webhooks against a receiver on this machine.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use t2v_webhook::{Attempt, Clock, RetryPolicy, WebhookError, WebhookPayload, WebhookSecret, WebhookSender};

const NOW: u64 = 1_614_265_330;

/// Stands still but for the waits, which it notes.
#[derive(Clone, Default)]
struct FakeClock(Arc<Mutex<Vec<Duration>>>);

impl FakeClock {
    fn waits(&self) -> Vec<Duration> {
        self.0.lock().unwrap().clone()
    }
}

impl Clock for FakeClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW) + self.waits().iter().sum::<Duration>()
    }

    fn sleep(&self, duration: Duration) {
        self.0.lock().unwrap().push(duration);
    }

    fn jitter(&self) -> f64 {
        1.0
    }
}

/// A request as it arrived.
struct Received {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Received {
    fn read(stream: &TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let mut lines = reader.by_ref().lines().map(|line| line.unwrap());
        let line = lines.next().unwrap();
        let headers: Vec<_> = lines
            .by_ref()
            .take_while(|line| !line.is_empty())
            .map(|line| {
                line.split_once(": ")
                    .map(|(k, v)| (k.to_lowercase(), v.to_string()))
                    .unwrap()
            })
            .collect();
        let mut received = Self {
            line,
            headers,
            body: Vec::new(),
        };
        received
            .body
            .resize(received.header("content-length").unwrap().parse().unwrap(), 0);
        reader.read_exact(&mut received.body).unwrap();
        received
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Gives one answer a connection, and keeps what arrived.
struct Receiver {
    url: String,
    thread: JoinHandle<Vec<Received>>,
}

impl Receiver {
    fn answering(answers: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook?x=1", listener.local_addr().unwrap());
        let answers = answers.to_vec();
        let serve = move |answer: &str| {
            let (mut stream, _) = listener.accept().unwrap();
            let received = Received::read(&stream);
            let head = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            received
        };
        let thread = std::thread::spawn(move || answers.into_iter().map(serve).collect());
        Self { url, thread }
    }

    fn received(self) -> Vec<Received> {
        self.thread.join().unwrap()
    }
}

fn secret() -> WebhookSecret {
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap()
}

fn sender(clock: &FakeClock) -> WebhookSender {
    WebhookSender::new()
        .with_http_allowed()
        .with_private_addresses_allowed()
        .with_clock(clock.clone())
}

fn payload() -> WebhookPayload {
    WebhookPayload::success(14, 8.5, ["https://example.com/x.mp4"]).with_track_id(Some(json!(7)))
}

fn seconds(seconds: &[u64]) -> Vec<Duration> {
    seconds.iter().map(|s| Duration::from_secs(*s)).collect()
}

#[test]
fn the_payload_arrives_signed() {
    let receiver = Receiver::answering(&["204 No Content"]);
    let other: WebhookSecret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".parse().unwrap();
    let sender = sender(&FakeClock::default())
        .with_secret(secret())
        .with_secret(other.clone());
    let delivery = sender.deliver(&receiver.url, &payload()).unwrap();
    assert_eq!((delivery.attempts, delivery.status), (1, 204));
    let [received] = receiver.received().try_into().ok().unwrap();
    assert_eq!(received.line, "POST /hook?x=1 HTTP/1.1");
    assert_eq!(received.header("content-type"), Some("application/json"));
    let expected = json!({
        "status": "success", "id": "14", "output": ["https://example.com/x.mp4"], "generationTime": 8.5, "track_id": 7,
    });
    assert_eq!(serde_json::from_slice::<Value>(&received.body).unwrap(), expected);
    assert_eq!(received.header("webhook-id"), Some("msg_14"));
    assert_eq!(received.header("webhook-timestamp"), Some(NOW.to_string().as_str()));
    let signatures = [secret(), other]
        .map(|secret| secret.sign("msg_14", NOW, &received.body))
        .join(" ");
    assert_eq!(received.header("webhook-signature"), Some(signatures.as_str()));
}

#[test]
fn without_a_secret_nothing_is_signed() {
    let receiver = Receiver::answering(&["200 OK"]);
    sender(&FakeClock::default())
        .deliver(&receiver.url, &payload())
        .unwrap();
    assert_eq!(receiver.received()[0].header("webhook-signature"), None);
}

#[test]
fn what_passes_is_tried_again_under_the_same_id() {
    let receiver = Receiver::answering(&["500 Oops", "408 Slow", "503 Busy", "200 OK"]);
    let clock = FakeClock::default();
    let sender = sender(&clock).with_secret(secret());
    let delivery = sender.deliver(&receiver.url, &payload()).unwrap();
    assert_eq!(delivery.attempts, 4);
    assert_eq!(clock.waits(), seconds(&[5, 20, 80]));
    let received = receiver.received();
    let times = [0, 5, 25, 105].map(|wait| NOW + wait);
    for (received, time) in received.iter().zip(times) {
        assert_eq!(received.header("webhook-id"), Some("msg_14"));
        assert_eq!(received.header("webhook-timestamp"), Some(time.to_string().as_str()));
        let signature = secret().sign("msg_14", time, &received.body);
        assert_eq!(received.header("webhook-signature"), Some(signature.as_str()));
    }
}

#[test]
fn retry_after_is_waited_for() {
    let date = "429 Slow down\r\nRetry-After: Thu, 25 Feb 2021 15:04:30 GMT"; // 140 s after NOW
    let receiver = Receiver::answering(&[
        "503 Busy\r\nRetry-After: 60",
        date,
        "503 Busy\r\nRetry-After: 0",
        "200 OK",
    ]);
    let clock = FakeClock::default();
    sender(&clock).deliver(&receiver.url, &payload()).unwrap();
    assert_eq!(clock.waits(), seconds(&[60, 80, 80]));
    receiver.received();
}

#[test]
fn a_wait_beyond_the_longest_is_given_up() {
    let receiver = Receiver::answering(&["429 Slow down\r\nRetry-After: 601"]);
    let clock = FakeClock::default();
    let error = sender(&clock).deliver(&receiver.url, &payload()).unwrap_err();
    assert!(matches!(error, WebhookError::Postponed { .. }), "{error}");
    assert!(clock.waits().is_empty());
    receiver.received();
}

#[test]
fn only_a_receiver_that_is_gone_is_final() {
    let receiver = Receiver::answering(&["410 Gone"]);
    let clock = FakeClock::default();
    let error = sender(&clock).deliver(&receiver.url, &payload()).unwrap_err();
    assert_eq!(error, WebhookError::Gone);
    assert!(clock.waits().is_empty());
    receiver.received();

    let receiver = Receiver::answering(&["400 Bad", "401 Who", "404 Where", "200 OK"]);
    let delivery = sender(&clock).deliver(&receiver.url, &payload()).unwrap();
    assert_eq!((delivery.attempts, clock.waits()), (4, seconds(&[5, 20, 80])));
    receiver.received();
}

#[test]
fn stored_bytes_are_sent_as_they_are() {
    let receiver = Receiver::answering(&["500 Oops", "200 OK"]);
    let sender = sender(&FakeClock::default()).with_secret(secret());
    let body = b"{ \"id\" : 14 }";
    let attempt = || sender.attempt_stored(&receiver.url, "msg_job-14", body);
    assert!(matches!(attempt(), Ok(Attempt::Failed { .. })));
    assert_eq!(attempt(), Ok(Attempt::Delivered { status: 200 }));
    for received in receiver.received() {
        assert_eq!(
            (received.body.as_slice(), received.header("webhook-id")),
            (&body[..], Some("msg_job-14"))
        );
        let signature = secret().sign("msg_job-14", NOW, body);
        assert_eq!(received.header("webhook-signature"), Some(signature.as_str()));
    }
    let error = sender.attempt_stored("https://example.com", "a b", body).unwrap_err();
    assert!(matches!(error, WebhookError::Payload(_)), "{error}");
}

#[test]
fn redirects_are_not_followed() {
    for code in [301, 302, 303, 307, 308] {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        target.set_nonblocking(true).unwrap();
        let answer = format!("{code} Moved\r\nLocation: http://{}/", target.local_addr().unwrap());
        let receiver = Receiver::answering(&[answer.leak()]);
        let error = sender(&FakeClock::default())
            .with_retry(RetryPolicy::once())
            .deliver(&receiver.url, &payload())
            .unwrap_err();
        assert!(matches!(error, WebhookError::Exhausted { attempts: 1, .. }), "{error}");
        assert!(error.to_string().contains("redirects are not followed"), "{error}");
        assert!(target.accept().is_err(), "the redirect was followed");
        receiver.received();
    }
}

#[test]
fn nobody_there_is_tried_again_until_the_attempts_are_used_up() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let clock = FakeClock::default();
    let sender = sender(&clock).with_retry(RetryPolicy::default().with_attempts(3));
    let error = sender.deliver(&format!("http://{port}/"), &payload()).unwrap_err();
    assert!(matches!(error, WebhookError::Exhausted { attempts: 3, .. }), "{error}");
    assert_eq!(clock.waits(), seconds(&[5, 20]));
}

#[test]
fn a_receiver_that_says_nothing_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (done, wait) = mpsc::channel::<()>();
    let silent = std::thread::spawn(move || {
        let stream = listener.accept().unwrap();
        let _ = wait.recv_timeout(Duration::from_secs(30));
        drop(stream);
    });
    let start = std::time::Instant::now();
    let sender = sender(&FakeClock::default())
        .with_timeout(Duration::from_millis(300))
        .with_retry(RetryPolicy::once());
    let error = sender.deliver(&url, &payload()).unwrap_err();
    assert!(error.to_string().contains("timeout"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
    done.send(()).unwrap();
    silent.join().unwrap();
}

#[test]
fn one_attempt_tells_what_the_receiver_asks_for() {
    let receiver = Receiver::answering(&["503 Busy\r\nRetry-After: 7200", "202 Accepted"]);
    let sender = sender(&FakeClock::default());
    let failed = Attempt::Failed {
        reason: "the receiver answered with status 503".into(),
        retry_after: Some(Duration::from_secs(7200)),
    };
    assert_eq!(sender.attempt(&receiver.url, &payload()), Ok(failed));
    assert_eq!(
        sender.attempt(&receiver.url, &payload()),
        Ok(Attempt::Delivered { status: 202 })
    );
    receiver.received();
}
