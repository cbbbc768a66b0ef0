//! Downloads from a hub on this machine into an empty cache.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use crate::folders::fixture;
use serde_json::json;
use t2v_pipeline::{Device, Hub, HubModel, ModelRegistry, PipelineError};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub with one repository, `some-owner/model`, whose files are those of a folder; it notes what it is asked for.
struct FakeHub {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeHub {
    fn new(folder: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (folder, log) = (folder.clone(), Arc::clone(&log));
                std::thread::spawn(move || answer(&stream.unwrap(), &folder, &log));
            }
        });
        Self { endpoint, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn registry(&self, cache: &Path, model: HubModel) -> ModelRegistry {
        let hub = Hub::new(cache).with_endpoint(&self.endpoint);
        ModelRegistry::new(&Device::flex()).with_hub(hub).with_model("x", model)
    }
}

fn files(folder: &Path, inside: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder.join(inside)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_string();
        match path.is_dir() {
            true => found.extend(files(folder, &name)),
            false => found.push(name),
        }
    }
    found
}

fn answer(mut stream: &TcpStream, folder: &Path, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let _headers = lines.take_while(|line| !line.is_empty()).count();
    let (method, path) = request.trim_end_matches(" HTTP/1.1").split_once(' ').unwrap();
    log.lock().unwrap().push(format!("{method} {path}"));
    let entry = |file: String| json!({"type": "file", "oid": file, "size": 1, "path": file});
    let api = path.strip_prefix("/api/models/some-owner/model/");
    let file = path.strip_prefix(&format!("/some-owner/model/resolve/{COMMIT}/"));
    let (status, body, extra) = match (api, file) {
        (Some("revision/main"), _) => (200, json!({"sha": COMMIT}).to_string().into_bytes(), String::new()),
        (Some(api), _) if api.starts_with("tree/main") || api.starts_with(&format!("tree/{COMMIT}")) => {
            let tree: Vec<_> = files(folder, "").into_iter().map(entry).collect();
            (200, json!(tree).to_string().into_bytes(), String::new())
        }
        (_, Some(file)) => {
            let etag = file.replace('/', "-");
            let body = fs::read(folder.join(file)).unwrap();
            (200, body, format!("ETag: \"{etag}\"\r\nX-Repo-Commit: {COMMIT}\r\n"))
        }
        _ => (404, Vec::new(), String::new()),
    };
    let len = body.len();
    let head = format!("HTTP/1.1 {status} X\r\n{extra}Content-Length: {len}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    if method != "HEAD" {
        stream.write_all(&body).unwrap();
    }
}

/// A copy of a checkpoint with files that no pipeline needs.
fn repository() -> tempfile::TempDir {
    let fixture = fixture("tiny_a");
    let copy = tempfile::tempdir().unwrap();
    for file in files(&fixture, "") {
        let target = copy.path().join(&file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(fixture.join(&file), target).unwrap();
    }
    fs::write(copy.path().join("README.md"), "a model").unwrap();
    fs::write(
        copy.path().join("unet/diffusion_pytorch_model.fp16.safetensors"),
        "damaged",
    )
    .unwrap();
    copy
}

fn model() -> HubModel {
    HubModel::new("some-owner/model").unwrap()
}

fn message<T>(result: Result<T, PipelineError>) -> String {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_model_is_downloaded_once() {
    let (repository, cache) = (repository(), tempfile::tempdir().unwrap());
    let hub = FakeHub::new(repository.path().into());
    hub.registry(cache.path(), model()).pipeline("x").unwrap();
    let asked = hub.asked();
    let got = |file: &str| asked.iter().any(|line| line.starts_with("GET") && line.ends_with(file));
    assert!(
        got("unet/diffusion_pytorch_model.safetensors") && got("tokenizer/vocab.json"),
        "{asked:?}"
    );
    assert!(!got("README.md") && !got("fp16.safetensors"), "{asked:?}");
    let repository = cache.path().join("models--some-owner--model");
    assert_eq!(fs::read_to_string(repository.join("refs/main")).unwrap(), COMMIT);

    hub.registry(cache.path(), model()).pipeline("x").unwrap();
    assert!(hub.asked().is_empty(), "the cached model was asked for again");
}

#[test]
fn what_the_cache_lacks_is_downloaded() {
    let (repository, cache) = (repository(), tempfile::tempdir().unwrap());
    let hub = FakeHub::new(repository.path().into());
    hub.registry(cache.path(), model()).pipeline("x").unwrap();
    let snapshot = cache.path().join("models--some-owner--model/snapshots").join(COMMIT);
    fs::remove_file(snapshot.join("vae/config.json")).unwrap();
    fs::remove_file(cache.path().join("models--some-owner--model/blobs/vae-config.json")).unwrap();
    hub.asked();
    hub.registry(cache.path(), model()).pipeline("x").unwrap();
    let downloads: Vec<String> = hub
        .asked()
        .into_iter()
        .filter(|line| line.contains("GET /some-owner"))
        .collect();
    assert_eq!(
        downloads,
        [format!("GET /some-owner/model/resolve/{COMMIT}/vae/config.json")]
    );
}

#[test]
fn what_the_hub_lacks_is_named() {
    let (repository, cache) = (repository(), tempfile::tempdir().unwrap());
    let hub = FakeHub::new(repository.path().into());
    let missing = [HubModel::new("some-owner/other").unwrap(), model().with_revision("v2")];
    for model in missing {
        let message = message(hub.registry(cache.path(), model).pipeline("x"));
        assert!(message.contains("some-owner/") && message.contains("404"), "{message}");
    }
    fs::remove_file(repository.path().join("model_index.json")).unwrap();
    let message = message(hub.registry(cache.path(), model()).pipeline("x"));
    assert!(message.contains("model_index.json"), "{message}");
}
