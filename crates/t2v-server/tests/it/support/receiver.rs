//! A receiver of webhooks.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::mpsc,
};

use t2v_pipeline::webhook::WebhookSecret;

/// What servers of these tests sign with.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A webhook as it arrived.
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// Whether it is signed with [`SECRET`].
    pub(crate) fn verify(&self) {
        let secret: WebhookSecret = SECRET.parse().unwrap();
        let timestamp = self.timestamp.parse().unwrap();
        assert_eq!(self.signature, secret.sign(&self.id, timestamp, &self.body));
    }
}

/// Receives webhooks, and answers each with the next of some statuses.
pub(crate) fn receiver(statuses: &'static [&'static str]) -> (String, mpsc::Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (send, received) = mpsc::channel();
    std::thread::spawn(move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut headers = std::collections::HashMap::new();
            for line in reader
                .by_ref()
                .lines()
                .skip(1)
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
            {
                let (name, value) = line.split_once(": ").unwrap();
                headers.insert(name.to_lowercase(), value.to_owned());
            }
            let mut body = vec![0; headers["content-length"].parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
            let _ = send.send(Received {
                id: header("webhook-id"),
                timestamp: header("webhook-timestamp"),
                signature: header("webhook-signature"),
                body,
            });
        }
    });
    (url, received)
}
