//! The program killed, stopped and woken at bad moments: every accepted job ends once, with a whole video and one webhook.
//! Run on SQLite, and on PostgreSQL where `T2V_TEST_POSTGRES` has its URL.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::support::{
    self, Database, Program,
    receiver::{Received, SECRET},
    report,
};
use serde_json::{Value, json};

/// Where jobs are kept.
enum Kept {
    Sqlite,
    Postgres(Database),
}

impl Kept {
    async fn all() -> Vec<Self> {
        let postgres = Database::create().await.map(Self::Postgres);
        [Self::Sqlite].into_iter().chain(postgres).collect()
    }

    fn configure(&self, data: &Path, toml: &str) -> String {
        let file = data.join("t2v.toml");
        let database = match self {
            Self::Sqlite => String::new(),
            Self::Postgres(database) => format!("database = {:?}\nstorage_is_shared = true\n", database.url),
        };
        let webhooks = format!("allow_private_webhooks = true\nwebhook_secret = {SECRET:?}\n");
        std::fs::write(&file, format!("{database}{webhooks}{toml}")).unwrap();
        file.display().to_string()
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }

    async fn remove(&self) {
        if let Self::Postgres(database) = self {
            database.drop().await;
        }
    }
}

/// Receives webhooks: how often each id came, with which body, its signature verified. Refuses all until it is told to take
/// them.
struct Receiver {
    url: String,
    takes: Arc<AtomicBool>,
    taken: Arc<Mutex<BTreeMap<String, Vec<Value>>>>,
    refused: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    fn start(takes: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Self {
            url: format!("http://{}/hook", listener.local_addr().unwrap()),
            takes: Arc::new(AtomicBool::new(takes)),
            taken: Arc::default(),
            refused: Arc::default(),
        };
        let (takes, taken, refused) = (receiver.takes.clone(), receiver.taken.clone(), receiver.refused.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let lines = reader.by_ref().lines().skip(1).map_while(Result::ok);
                let headers: BTreeMap<String, String> = lines
                    .take_while(|line| !line.is_empty())
                    .filter_map(|line| line.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned())))
                    .collect();
                let length = headers.get("content-length").and_then(|length| length.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                if reader.read_exact(&mut body).is_err() || body.is_empty() {
                    continue;
                }
                let id = headers["webhook-id"].clone();
                let received = Received {
                    id: id.clone(),
                    timestamp: headers["webhook-timestamp"].clone(),
                    signature: headers["webhook-signature"].clone(),
                    body: body.clone(),
                };
                received.verify();
                let status = if takes.load(Ordering::SeqCst) {
                    "200 OK"
                } else {
                    "503 Busy"
                };
                match status {
                    "200 OK" => {
                        let body = serde_json::from_slice(&body).unwrap();
                        taken.lock().unwrap().entry(id).or_default().push(body);
                    }
                    _ => refused.lock().unwrap().push(id),
                }
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
            }
        });
        receiver
    }

    /// How many webhooks came, each under an id of its own.
    fn taken(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    async fn until(&self, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !done(self) {
            assert!(Instant::now() < deadline, "{:?} {:?}", self.taken, self.refused);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn submit(program: &Program, steps: u32, frames: u32, webhook: &str) -> String {
    let body = json!({
        "prompt": "a red ball", "num_inference_steps": steps, "num_frames": frames, "webhook": webhook, "temp": "no"
    });
    let answer = program.client.v1("POST", "/v1/videos", Some(body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// A video that is there, whole, and alone.
async fn assert_whole(program: &Program, data: &Path, id: &str, frames: usize) -> Value {
    let video = program.client.ended(id).await;
    assert_eq!(video["status"], "completed", "{video}");
    let content = program
        .client
        .v1("GET", &format!("/v1/videos/{id}/content"), None)
        .await;
    let file = data.join("check.mp4");
    std::fs::write(&file, content.bytes).unwrap();
    let clip = t2v_mp4::read_frames(&file, t2v_mp4::ReadLimits::default()).unwrap();
    assert_eq!(clip.frames.len(), frames);
    video
}

fn stored_videos(data: &Path) -> usize {
    let files = std::fs::read_dir(data.join("storage/generations"))
        .into_iter()
        .flatten();
    files
        .filter(|file| {
            file.as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|extension| extension == "mp4")
        })
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_stopped_and_wakes_up_changes_nothing() {
    for kept in Kept::all().await {
        let data = tempfile::tempdir().unwrap();
        let config = kept.configure(data.path(), "lease = 1\nworkers = 1\n");
        let receiver = Receiver::start(true);
        let program = Program::start(data.path(), &["--config", &config]);
        let id = submit(&program, 30, 8, &receiver.url).await;
        program.client.until(&id, &["in_progress"]).await;
        program.signal("-STOP");
        // Another server takes the job over, where there can be one.
        let other = matches!(kept, Kept::Postgres(_)).then(|| Program::start(data.path(), &["--config", &config]));
        tokio::time::sleep(Duration::from_secs(3)).await;
        if let Some(other) = &other {
            other.client.until(&id, &["in_progress", "completed"]).await;
        }
        program.signal("-CONT");
        let video = assert_whole(&program, data.path(), &id, 8).await;
        if other.is_some() {
            assert!(video["attempt"].as_i64().unwrap() >= 2, "{video}");
        }
        receiver
            .until(|receiver| !receiver.taken.lock().unwrap().is_empty())
            .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(stored_videos(data.path()), 1, "the attempt that was lost left a file");
        let taken = receiver.taken.lock().unwrap().clone();
        let [hooks] = &taken.values().collect::<Vec<_>>()[..] else {
            panic!("{taken:?}");
        };
        assert_eq!(hooks.len(), 1);
        // Each server has an address of its own.
        let file = |url: &Value| url.as_str().unwrap().rsplit_once('/').unwrap().1.to_owned();
        assert_eq!(file(&hooks[0]["output"][0]), file(&video["output"]["video"]));
        report("SIGSTOP past the lease, SIGCONT", kept.name(), [1, 1, taken.len()]);
        drop((program, other));
        kept.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_outlives_the_program() {
    for kept in Kept::all().await {
        let data = tempfile::tempdir().unwrap();
        let config = kept.configure(data.path(), "");
        let receiver = Receiver::start(false);
        let program = Program::start(data.path(), &["--config", &config]);
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(submit(&program, 1, 2, &receiver.url).await);
        }
        for id in &ids {
            program.client.ended(id).await;
        }
        receiver
            .until(|receiver| !receiver.refused.lock().unwrap().is_empty())
            .await;
        program.kill();
        receiver.takes.store(true, Ordering::SeqCst);
        let program = Program::start(data.path(), &["--config", &config, "--workers", "0"]);
        // A delivery that was under way when the program was killed is begun again after its lease, 40 seconds.
        receiver
            .until(|receiver| receiver.taken.lock().unwrap().len() == ids.len())
            .await;
        for (id, hooks) in receiver.taken.lock().unwrap().iter() {
            assert!(
                ids.iter()
                    .any(|job| id.strip_prefix("msg_") == job.strip_prefix("video_")),
                "{id}"
            );
            assert!(hooks.iter().all(|hook| hook["status"] == "success"));
        }
        report(
            "kill -9 between result and webhook",
            kept.name(),
            [3, ids.len(), receiver.taken()],
        );
        drop(program);
        kept.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_no_job_is_lost() {
    for kept in Kept::all().await {
        let data = tempfile::tempdir().unwrap();
        let config = kept.configure(data.path(), "lease = 1\nmax_attempts = 50\nworkers = 2\n");
        let receiver = Receiver::start(true);
        let mut ids = Vec::new();
        for _ in 0..4 {
            let program = Program::start(data.path(), &["--config", &config]);
            for _ in 0..3 {
                ids.push(submit(&program, 2, 4, &receiver.url).await);
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            program.kill();
        }
        let program = Program::start(data.path(), &["--config", &config]);
        for id in &ids {
            assert_whole(&program, data.path(), id, 4).await;
        }
        let counts = program.client.v1("GET", "/v1/videos?limit=100", None).await.json();
        assert_eq!(counts["data"].as_array().unwrap().len(), ids.len());
        receiver
            .until(|receiver| receiver.taken.lock().unwrap().len() == ids.len())
            .await;
        report(
            "kill -9 four times, at work and while jobs wait",
            kept.name(),
            [12, ids.len(), receiver.taken()],
        );
        drop(program);
        kept.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_lose_no_job() {
    let Some(database) = Database::create().await else {
        return;
    };
    let kept = Kept::Postgres(database);
    let Kept::Postgres(database) = &kept else {
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let config = kept.configure(data.path(), "lease = 2\nmax_attempts = 50\nworkers = 2\n");
    let receiver = Receiver::start(true);
    let program = Program::start(data.path(), &["--config", &config]);
    let (mut ids, mut refused) = (Vec::new(), 0);
    for _ in 0..30 {
        let body = json!({
            "prompt": "a red ball", "num_inference_steps": 1, "num_frames": 2, "webhook": receiver.url
        });
        let answer = program.client.v1("POST", "/v1/videos", Some(body)).await;
        match answer.status {
            200 => ids.push(answer.json()["id"].as_str().unwrap().to_owned()),
            503 => refused += 1,
            _ => panic!("{answer:?}"),
        }
        database.cut_connections().await;
    }
    assert!(!ids.is_empty());
    println!("{refused} of 30 were refused with 503");
    for id in &ids {
        assert_whole(&program, data.path(), id, 2).await;
    }
    receiver.until(|receiver| receiver.taken() >= ids.len()).await;
    let listed = program.client.v1("GET", "/v1/videos?limit=100", None).await.json();
    // One that was refused may have been stored all the same: its client knows no more than that the answer was lost.
    let listed = listed["data"].as_array().unwrap().len();
    assert!((ids.len()..=30).contains(&listed), "{listed}");
    report(
        "connections of the database cut 30 times",
        kept.name(),
        [ids.len(), ids.len(), ids.len()],
    );
    drop(program);
    kept.remove().await;
}

/// Receives nothing: what it does with a connection, and how many came. Each has an address of its own, since deliveries to
/// one are few at once.
fn misbehaving(host: &str, act: impl Fn(std::net::TcpStream) + Send + Clone + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((host, 0)).unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let came = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&came);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            let act = act.clone();
            std::thread::spawn(move || act(stream.unwrap()));
        }
    });
    (url, came)
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_misbehave_hold_no_other_up() {
    for kept in Kept::all().await {
        let data = tempfile::tempdir().unwrap();
        let config = kept.configure(data.path(), "");
        let good = Receiver::start(true);
        let (secret, secret_came) = misbehaving("127.0.0.2", drop);
        let (hangs, _) = misbehaving("127.0.0.3", |stream| {
            let _ = stream.peek(&mut [0]);
            std::thread::sleep(Duration::from_secs(300));
        });
        let (drips, _) = misbehaving("127.0.0.4", |mut stream| {
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'a')) {
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        let (redirects, redirects_came) = misbehaving("127.0.0.5", move |mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(
                stream,
                "HTTP/1.1 307 Go\r\nLocation: {secret}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        });
        let program = Program::start(data.path(), &["--config", &config]);
        let mut ids = Vec::new();
        for url in [&hangs, &drips, &redirects, &hangs, &drips, &good.url] {
            ids.push(submit(&program, 1, 2, url).await);
        }
        for id in &ids {
            assert_whole(&program, data.path(), id, 2).await;
        }
        let done = Instant::now();
        good.until(|receiver| receiver.taken() == 1).await;
        assert!(
            done.elapsed() < Duration::from_secs(10),
            "the good one waited for the others"
        );
        assert!(redirects_came.load(Ordering::SeqCst) > 0);
        assert_eq!(secret_came.load(Ordering::SeqCst), 0, "a redirect was followed");
        let metrics = program.client.send("GET", "/metrics", &[], None).await.bytes;
        let metrics = String::from_utf8(metrics).unwrap();
        assert!(metrics.contains("t2v_webhooks_undelivered 5"), "{metrics}");
        report(
            "receivers that hang, drip and redirect to loopback, beside a good one",
            kept.name(),
            [6, ids.len(), good.taken()],
        );
        drop(program);
        kept.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_identical_submissions_are_one_job() {
    for kept in Kept::all().await {
        let data = tempfile::tempdir().unwrap();
        let config = kept.configure(data.path(), "");
        let receiver = Receiver::start(true);
        let program = Program::start(data.path(), &["--config", &config]);
        let body = json!({
            "prompt": "a red ball", "num_inference_steps": 1, "num_frames": 2, "webhook": receiver.url
        });
        let bearer = format!("Bearer {}", support::KEY);
        let send = || async {
            let headers = [("authorization", bearer.as_str()), ("idempotency-key", "order-7")];
            let answer = program
                .client
                .send("POST", "/v1/videos", &headers, Some(body.to_string().into()))
                .await;
            answer.json()["id"].as_str().unwrap().to_owned()
        };
        let ids: std::collections::BTreeSet<String> = futures::future::join_all((0..50).map(|_| send()))
            .await
            .into_iter()
            .collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        for id in &ids {
            assert_whole(&program, data.path(), id, 2).await;
        }
        receiver.until(|receiver| receiver.taken() == 1).await;
        assert_eq!(stored_videos(data.path()), 1);
        report(
            "50 identical submissions at once",
            kept.name(),
            [ids.len(), ids.len(), receiver.taken()],
        );
        drop(program);
        kept.remove().await;
    }
}
