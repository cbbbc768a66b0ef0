//! A server in this process with a stub for an engine, and a client of it.

pub(crate) mod receiver;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use serde_json::{Value, json};
use t2v_pipeline::{InitMedia, Report, TextToVideoRequest};
use t2v_server::{
    config::{Config, Flags},
    job::JobProgress,
    server::Server,
    store::Live,
    worker::engine::{Engine, EngineError, Entry, Rendered, Task},
};

pub(crate) const KEY: &str = "key-of-the-tests";

/// Does what the prompt says: `fail`, `panic`, `hang` (until it is cancelled), `slow` (0.4 s in steps), `gone` (what it needs is
/// missing); anything else is done at once.
#[derive(Default)]
pub(crate) struct Stub {
    pub(crate) seeds: Mutex<Vec<u32>>,
    pub(crate) begun: AtomicUsize,
    pub(crate) is_back: AtomicBool,
    /// Its list of models panics.
    pub(crate) is_broken: AtomicBool,
    pub(crate) removed: Mutex<Vec<String>>,
}

impl Stub {
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

impl Engine for Stub {
    fn models(&self) -> Vec<String> {
        assert!(!self.is_broken.load(Ordering::SeqCst), "the stub has no list of models");
        vec!["stub".into()]
    }

    fn resolve(&self, request: &TextToVideoRequest, init: Option<&InitMedia>) -> Result<Report, EngineError> {
        request.validate()?;
        if request.model_id.as_deref().is_some_and(|model| model != "stub") {
            return Err(EngineError::UnknownModel(request.model_id.clone().unwrap()));
        }
        // As real models have it: multiples of 8.
        if request.height.is_some_and(|height| height % 8 != 0) {
            return Err(faults_of_a_model("height"));
        }
        let mut report = Report::default();
        report.model_id = "stub".into();
        report.prompt = request.prompt.clone();
        (report.width, report.height) = (request.width.unwrap_or(64), request.height.unwrap_or(64));
        (report.num_frames, report.fps) = (request.num_frames.unwrap_or(16), request.fps.unwrap_or(8));
        report.num_inference_steps = request.num_inference_steps.unwrap_or(20);
        report.seed = request.seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u128() as u32);
        report.speed = request.speed.unwrap_or_default();
        report.strength = init.map(|_| request.strength.unwrap_or(0.5));
        Ok(report)
    }

    fn nearest(&self, _: Option<&str>, size: [u32; 2], frames: u32) -> Result<([u32; 2], u32), EngineError> {
        Ok((size.map(|side| (side / 8 * 8).clamp(8, 1024)), frames.clamp(1, 32)))
    }

    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn render(&self, mut task: Task<'_>) -> Result<Rendered, EngineError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.seeds.lock().unwrap().push(task.request.seed.unwrap());
        match task.request.prompt.as_str() {
            "fail" => {
                return Err(EngineError::Failed {
                    public: "The stub failed.".into(),
                    detail: "at /srv/secret".into(),
                });
            }
            "panic" => panic!("the stub panics as it was told"),
            "gone" if !self.is_back.load(Ordering::SeqCst) => {
                return Err(EngineError::Unavailable("the folder /srv/secret is gone".into()));
            }
            "kill" => std::process::abort(),
            _ => {}
        }
        let steps = match task.request.prompt.as_str() {
            "hang" => usize::MAX,
            "slow" => 20,
            _ => 0,
        };
        for step in 0..steps {
            if task.cancel.is_cancelled() {
                return Err(EngineError::Cancelled);
            }
            (task.on_live)(Live {
                progress: Some(JobProgress {
                    stage: "denoising".into(),
                    done: step as u64,
                    total: 20,
                    percent: (step * 5).min(99) as u8,
                    eta: Some(1.0),
                }),
                preview: Some(format!("data:,{step}")),
            });
            std::thread::sleep(Duration::from_millis(20));
        }
        let files = task.variants.iter().map(|variant| {
            let path = task.folder.join(variant.name());
            std::fs::write(&path, format!("{} of {}", variant.name(), task.request.seed.unwrap())).unwrap();
            (*variant, path)
        });
        Ok(Rendered {
            report: self.resolve(&task.request, task.init.as_ref()).unwrap(),
            files: files.collect(),
        })
    }

    fn add_model(&self, _: &str, _: &Entry) -> Result<(), String> {
        Ok(())
    }

    fn open_model(&self, name: &str) -> Result<(), String> {
        match name {
            "damaged" => Err("the folder /srv/secret is damaged".into()),
            _ => Ok(()),
        }
    }

    fn remove_model(&self, name: &str) -> bool {
        self.removed.lock().unwrap().push(name.to_owned());
        false
    }

    fn clear_cache(&self) {}
}

/// A fault as only a model knows it; the library makes none from outside but of what it reads.
fn faults_of_a_model(field: &str) -> EngineError {
    let body = json!({"prompt": "x", field: -1});
    let faults = TextToVideoRequest::from_json(&body).unwrap_err();
    EngineError::Request(faults)
}

/// Prints what a test of a fault counted, as a row of the table in docs/operating.md.
pub(crate) fn report(fault: &str, database: &str, [accepted, ended, webhooks]: [usize; 3]) {
    assert_eq!(accepted, ended, "{fault}");
    println!("| {fault} | {database} | {accepted} | {ended} | {webhooks} |");
}

/// A configuration with its data in `folder`; `toml`: further settings.
pub(crate) fn config(folder: &Path, toml: &str) -> Config {
    let file = folder.join("t2v.toml");
    let data = folder.join("data");
    let common = format!("listen = \"127.0.0.1:0\"\ndata_dir = {data:?}\nkey = [{KEY:?}]\n");
    let wait = if toml.contains("wait = ") { "" } else { "wait = 0\n" };
    std::fs::write(&file, common + wait + toml).unwrap();
    let flags = Flags::try_parse_from(["t2v-server", "--config", file.to_str().unwrap()]).unwrap();
    Config::load(&flags).unwrap()
}

/// A server with a stub, and a client of it.
pub(crate) struct TestServer {
    pub(crate) server: Server,
    pub(crate) stub: Arc<Stub>,
    pub(crate) client: Client,
    pub(crate) folder: Arc<tempfile::TempDir>,
}

impl TestServer {
    pub(crate) async fn start(toml: &str) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), toml).await
    }

    pub(crate) async fn start_in(folder: Arc<tempfile::TempDir>, toml: &str) -> Self {
        // With RUST_LOG set, what servers log is shown.
        if std::env::var_os("RUST_LOG").is_some() {
            t2v_server::telemetry::init(false);
        }
        let stub = Arc::new(Stub::default());
        let engine: Arc<dyn Engine> = Arc::clone(&stub) as _;
        let server = Server::start_with(config(folder.path(), toml), engine).await.unwrap();
        let client = Client {
            url: format!("http://{}", server.address),
            key: KEY.into(),
        };
        Self {
            server,
            stub,
            client,
            folder,
        }
    }

    /// Stops it in order; its folder, for another one.
    pub(crate) async fn stop(self) -> Arc<tempfile::TempDir> {
        self.server.shutdown.abort();
        self.server.stopped().await;
        self.folder
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Asks a server; blocking calls run beside the test.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) url: String,
    pub(crate) key: String,
}

impl Client {
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.unwrap_or_default()).unwrap();
        tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent = ureq::Agent::config_builder()
                .http_status_as_error(false)
                .timeout_global(Some(Duration::from_secs(60)))
                .build()
                .into();
            let mut response = agent.run(request).unwrap();
            Answer {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                bytes: response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap(),
            }
        })
        .await
        .unwrap()
    }

    /// With the key as a Bearer token.
    pub(crate) async fn v1(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let body = body.map(|body| body.to_string().into_bytes());
        self.send(method, path, &[("authorization", &bearer)], body).await
    }

    /// With the key in the body.
    pub(crate) async fn legacy(&self, name: &str, mut body: Value) -> Answer {
        body["key"] = self.key.clone().into();
        let path = format!("/api/v1/enterprise/{name}");
        self.send(
            "POST",
            &path,
            &[("content-type", "text/plain")],
            Some(body.to_string().into_bytes()),
        )
        .await
    }

    /// Queues a video and gives its id.
    pub(crate) async fn create(&self, prompt: &str) -> String {
        let answer = self.v1("POST", "/v1/videos", Some(json!({"prompt": prompt}))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn video(&self, id: &str) -> Value {
        let answer = self.v1("GET", &format!("/v1/videos/{id}"), None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Waits until a video has one of these states. The time is for a slow machine with all of its tests at once.
    pub(crate) async fn until(&self, id: &str, states: &[&str]) -> Value {
        let deadline = Instant::now() + Duration::from_secs(300);
        loop {
            let video = self.video(id).await;
            if states.contains(&video["status"].as_str().unwrap()) {
                return video;
            }
            assert!(Instant::now() < deadline, "{video}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn ended(&self, id: &str) -> Value {
        self.until(id, &["completed", "failed"]).await
    }
}

/// The program, killed when it is dropped.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) client: Client,
}

impl Program {
    pub(crate) fn start(data: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_t2v-server"))
            .args(["--listen", "127.0.0.1:0", "--key", KEY, "--data-dir"])
            .arg(data)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        let client = Client {
            url: url.unwrap(),
            key: KEY.into(),
        };
        Self { child, client }
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A database of one test, where `T2V_TEST_POSTGRES` has the URL of a PostgreSQL server.
pub(crate) struct Database {
    admin: sqlx::PgPool,
    name: String,
    pub(crate) url: String,
}

impl Database {
    pub(crate) async fn create() -> Option<Self> {
        let Ok(url) = std::env::var("T2V_TEST_POSTGRES") else {
            println!(
                "not run: T2V_TEST_POSTGRES has no URL of a PostgreSQL server, such as postgres://user:password@host/db"
            );
            return None;
        };
        let admin = sqlx::PgPool::connect(&url).await.unwrap();
        let name = format!("t2v_test_{}", uuid::Uuid::new_v4().simple());
        let mut own = url::Url::parse(&url).unwrap();
        own.set_path(&name);
        let database = Self {
            admin,
            name,
            url: own.into(),
        };
        database.run(format!("CREATE DATABASE {}", database.name)).await;
        Some(database)
    }

    async fn run(&self, statement: String) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&self.admin)
            .await
            .unwrap();
    }

    /// Cuts every connection that servers have to it, as a restart of PostgreSQL does.
    pub(crate) async fn cut_connections(&self) {
        let cut = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            self.name
        );
        self.run(cut).await;
    }

    pub(crate) async fn drop(&self) {
        self.run(format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}
