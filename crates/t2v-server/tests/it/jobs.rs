//! What becomes of jobs when things go wrong, and what users of such servers complain about.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use crate::support::{
    self, KEY, TestServer,
    receiver::{SECRET, receiver},
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_outlives_a_restart() {
    let server = TestServer::start("workers = 0\n").await;
    let mut accepted = Vec::new();
    for number in 0..5 {
        let id = server.client.create(&format!("ball {number}")).await;
        accepted.push((id.clone(), server.client.video(&id).await["seed"].clone()));
    }
    let folder = server.stop().await;
    let server = TestServer::start_in(folder, "workers = 2\n").await;
    for (id, seed) in &accepted {
        let video = server.client.ended(id).await;
        assert_eq!((&video["status"], &video["seed"]), (&json!("completed"), seed));
    }
    assert_eq!(server.stub.begun(), 5);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_under_way_is_handed_back_and_made_again() {
    let server = TestServer::start("").await;
    let id = server.client.create("slow").await;
    let begun = server.client.until(&id, &["in_progress"]).await;
    let folder = server.stop().await;
    let server = TestServer::start_in(folder, "").await;
    let video = server.client.ended(&id).await;
    assert_eq!((&video["status"], &video["attempt"]), (&json!("completed"), &json!(2)));
    assert_eq!((&video["seed"], server.stub.begun()), (&begun["seed"], 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grace_time_lets_work_be_finished() {
    let server = TestServer::start("grace = 30\n").await;
    let id = server.client.create("slow").await;
    server.client.until(&id, &["in_progress"]).await;
    server.server.shutdown.drain();
    let TestServer { server, folder, .. } = server;
    server.stopped().await;
    let server = TestServer::start_in(folder, "workers = 0\n").await;
    let video = server.client.video(&id).await;
    assert_eq!((&video["status"], &video["attempt"]), (&json!("completed"), &json!(1)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn identical_submissions_are_made_once() {
    let server = TestServer::start("").await;
    let bearer = format!("Bearer {KEY}");
    let send = |prompt: &str| {
        let (client, body) = (
            server.client.clone(),
            json!({"prompt": prompt}).to_string().into_bytes(),
        );
        let bearer = bearer.clone();
        async move {
            let headers = [("authorization", bearer.as_str()), ("idempotency-key", "order-7")];
            client.send("POST", "/v1/videos", &headers, Some(body)).await
        }
    };
    let answers = futures::future::join_all((0..50).map(|_| send("a ball"))).await;
    let ids: std::collections::BTreeSet<String> = answers
        .iter()
        .map(|answer| answer.json()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 1);
    server.client.ended(ids.first().unwrap()).await;
    assert_eq!(server.stub.begun(), 1);
    assert_eq!(send("another ball").await.status, 409);
    // The API of 2023 has the header, too.
    let body = json!({"key": KEY, "prompt": "a ball", "seed": 1})
        .to_string()
        .into_bytes();
    let headers = [("idempotency-key", "order-8")];
    let path = "/api/v1/enterprise/text2video";
    let first = server
        .client
        .send("POST", path, &headers, Some(body.clone()))
        .await
        .json();
    let second = server.client.send("POST", path, &headers, Some(body)).await.json();
    assert_eq!(first["id"], second["id"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_panics_and_hangs_end_one_job_only() {
    let server = TestServer::start("timeout = 1\n").await;
    for (prompt, code) in [
        ("fail", "generation_failed"),
        ("panic", "generation_failed"),
        ("hang", "timeout"),
    ] {
        let id = server.client.create(prompt).await;
        let video = server.client.ended(&id).await;
        assert_eq!(
            (&video["status"], &video["error"]["code"]),
            (&json!("failed"), &json!(code)),
            "{video}"
        );
        assert!(!video.to_string().contains("secret"), "{video}");
        assert_eq!(video["attempt"], 1);
    }
    let id = server.client.create("a ball").await;
    assert_eq!(server.client.ended(&id).await["status"], "completed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_is_an_answer_in_the_shape_of_its_api() {
    let server = TestServer::start("").await;
    server.stub.is_broken.store(true, Ordering::SeqCst);
    let legacy = server.client.legacy("get_all_models", json!({})).await;
    assert_eq!(
        (legacy.status, legacy.json()),
        (
            500,
            json!({"status": "error", "message": "The server made a mistake, which is in its log."})
        )
    );
    let v1 = server.client.v1("GET", "/v1/models", None).await;
    let error = &v1.json()["error"];
    assert_eq!(
        (v1.status, &error["type"], &error["code"]),
        (500, &json!("server_error"), &json!("internal_error"))
    );
    server.stub.is_broken.store(false, Ordering::SeqCst);
    assert_eq!(server.client.v1("GET", "/v1/models", None).await.status, 200);
    let metrics = server.client.send("GET", "/metrics", &[], None).await.bytes;
    let line = "t2v_http_requests_total{route=\"/v1/models\",status=\"500\"} 1";
    assert!(String::from_utf8_lossy(&metrics).contains(line));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_for_what_it_cannot_be_made_without() {
    let server = TestServer::start("lease = 1\n").await;
    let id = server.client.create("gone").await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.stub.begun() < 4 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_ne!(server.client.video(&id).await["status"], "failed");
    server.stub.is_back.store(true, Ordering::SeqCst);
    assert_eq!(server.client.ended(&id).await["status"], "completed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_or_too_much_is_told_when_to_come_back() {
    let toml = format!(
        "workers = 0\nqueued = 3\n[[keys]]\nsha256 = \"{}\"\nrequests_per_second = 2\n[[keys]]\nsha256 = \"{}\"\nqueued = 1\n",
        t2v_server::auth::key_hash("hasty"),
        t2v_server::auth::key_hash("greedy"),
    );
    let server = TestServer::start(&toml).await;
    let mut hasty = server.client.clone();
    hasty.key = "hasty".into();
    let answers = futures::future::join_all((0..8).map(|_| hasty.v1("GET", "/v1/models", None))).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!refused.is_empty() && refused.len() < 8, "{}", refused.len());
    assert_eq!(refused[0].header("retry-after"), "1");
    assert_eq!(refused[0].json()["error"]["code"], "rate_limit_exceeded");
    let answers = futures::future::join_all((0..8).map(|_| hasty.legacy("system_load", json!({})))).await;
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(
        (refused.header("retry-after"), &refused.json()["message"]),
        ("1", &json!("Rate limit exceeded"))
    );

    let mut greedy = server.client.clone();
    greedy.key = "greedy".into();
    greedy.create("a").await;
    let full = greedy.v1("POST", "/v1/videos", Some(json!({"prompt": "b"}))).await;
    assert_eq!((full.status, full.header("retry-after")), (429, "30"));
    server.client.create("c").await;
    server.client.create("d").await;
    let full = server
        .client
        .v1("POST", "/v1/videos", Some(json!({"prompt": "e"})))
        .await;
    assert!(
        full.status == 429
            && full.json()["error"]["message"]
                .as_str()
                .unwrap()
                .contains("queue is full")
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_delivered_signed_and_under_one_id() {
    let toml = format!("allow_private_webhooks = true\nwebhook_secret = {SECRET:?}\n");
    let server = TestServer::start(&toml).await;
    let (url, received) = receiver(&["500 Oops", "200 OK"]);
    let body = json!({"prompt": "a ball", "webhook": url, "track_id": "video_001"});
    let job = server.client.legacy("text2video", body).await.json();
    let bodies = tokio::task::spawn_blocking(move || {
        [(); 2].map(|()| {
            let hook = received.recv_timeout(Duration::from_secs(30)).unwrap();
            hook.verify();
            (hook.id, hook.body)
        })
    });
    let [first, second] = bodies.await.unwrap();
    assert_eq!(first, second);
    let body: Value = serde_json::from_slice(&first.1).unwrap();
    assert_eq!(
        (&body["status"], &body["track_id"]),
        (&json!("success"), &json!("video_001"))
    );
    assert_eq!(
        (body["id"].as_str().unwrap(), first.0),
        (job["id"].to_string().as_str(), format!("msg_{}", job["id"]))
    );
    let video = server.client.video(&format!("video_{}", job["id"])).await;
    assert_eq!(body["output"][0], video["output"]["video"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_and_cancelled_jobs_are_told_too() {
    let server = TestServer::start("allow_private_webhooks = true\n").await;
    let (url, received) = receiver(&["200 OK", "200 OK"]);
    let received = Arc::new(std::sync::Mutex::new(received));
    for (prompt, message) in [("fail", "The stub failed."), ("hang", "The job was cancelled.")] {
        let body = json!({"prompt": prompt, "webhook": url});
        let job = server.client.legacy("text2video", body).await.json();
        if prompt == "hang" {
            let id = format!("video_{}", job["id"]);
            server.client.until(&id, &["in_progress"]).await;
            server.client.v1("POST", &format!("/v1/videos/{id}/cancel"), None).await;
        }
        let received = Arc::clone(&received);
        let hook = tokio::task::spawn_blocking(move || {
            received.lock().unwrap().recv_timeout(Duration::from_secs(30)).unwrap()
        });
        let body: Value = serde_json::from_slice(&hook.await.unwrap().body).unwrap();
        assert_eq!((&body["status"], &body["message"]), (&json!("failed"), &json!(message)));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_how_the_server_is() {
    let server = TestServer::start("").await;
    let client = &server.client;
    let id = client.create("slow").await;
    client.ended(&id).await;
    let get = |path: &'static str| async move { client.send("GET", path, &[], None).await };
    assert_eq!(get("/health/live").await.status, 200);
    let ready = get("/health/ready").await;
    assert_eq!(
        (ready.status, ready.json()),
        (200, json!({"status": "ready", "missing": []}))
    );
    let metrics = String::from_utf8(get("/metrics").await.bytes).unwrap();
    for line in [
        "t2v_jobs_ended_total{state=\"succeeded\"} 1",
        "t2v_jobs{state=\"queued\"} 0",
        "t2v_http_requests_total{route=\"/v1/videos\",status=\"200\"} 1",
        "t2v_wait_seconds_count 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let description = get("/openapi.json").await.json();
    assert!(
        description["openapi"].as_str().unwrap().starts_with("3.1"),
        "{}",
        description["openapi"]
    );
    for path in [
        "/v1/videos",
        "/v1/videos/{id}/events",
        "/api/v1/enterprise/text2video",
        "/health/ready",
    ] {
        assert!(description["paths"][path].is_object(), "{path}");
    }
    let docs = get("/docs/").await;
    assert!(
        docs.status == 200 && String::from_utf8_lossy(&docs.bytes).contains("swagger"),
        "{docs:?}"
    );
    let page = get("/").await;
    assert!(
        page.status == 200 && String::from_utf8_lossy(&page.bytes).contains("page/app.mjs"),
        "{page:?}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_is_full_turns_ready_red_and_loses_nothing() {
    let server = TestServer::start("lease = 1\n").await;
    let storage = server.folder.path().join("data/storage");
    // A file in the place of the folder: nothing can be written below it, as on a full disk.
    std::fs::create_dir_all(storage.join("generations")).unwrap();
    std::fs::remove_dir_all(storage.join("generations")).unwrap();
    std::fs::write(storage.join("generations"), b"in the way").unwrap();
    let id = server.client.create("a ball").await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.client.send("GET", "/health/ready", &[], None).await.status != 503 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_ne!(server.client.video(&id).await["status"], "failed");
    std::fs::remove_file(storage.join("generations")).unwrap();
    assert_eq!(server.client.ended(&id).await["status"], "completed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_begun_where_something_starts_the_server_again() {
    let server = TestServer::start("allow_restart = true\n").await;
    let answer = server.client.legacy("restart_server", json!({})).await.json();
    assert_eq!(answer, json!({"message": "server restarting", "status": "success"}));
    tokio::time::timeout(Duration::from_secs(20), server.server.stopped())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drawn_key_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let start = || async {
        let mut config = support::config(folder.path(), "");
        config.keys.clear();
        let engine = Arc::new(support::Stub::default());
        t2v_server::server::Server::start_with(config, engine).await.unwrap()
    };
    let first = start().await;
    let key = first.new_key.clone().unwrap();
    let client = support::Client {
        url: format!("http://{}", first.address),
        key,
    };
    assert_eq!(client.v1("GET", "/v1/models", None).await.status, 200);
    first.shutdown.abort();
    first.stopped().await;
    let second = start().await;
    assert!(second.new_key.is_none());
    let client = support::Client {
        url: format!("http://{}", second.address),
        key: client.key,
    };
    assert_eq!(client.v1("GET", "/v1/models", None).await.status, 200);
    let kept = std::fs::read(folder.path().join("data/t2v.sqlite")).unwrap();
    let is_in = kept.windows(client.key.len()).any(|part| part == client.key.as_bytes());
    assert!(!is_in, "the key itself is kept");
    second.shutdown.abort();
    second.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_does_not_fill() {
    let server = TestServer::start("").await;
    let client = &server.client;
    let body = json!({"prompt": "a ball", "temp": "yes"});
    let temporary = client.v1("POST", "/v1/videos", Some(body)).await.json();
    let temporary = client.ended(temporary["id"].as_str().unwrap()).await;
    let day = temporary["expires_at"].as_i64().unwrap() - temporary["completed_at"].as_i64().unwrap();
    assert_eq!(day, 24 * 3600);
    let old = client.create("old").await;
    let old = client.ended(&old).await;
    assert_eq!(old["expires_at"], Value::Null);
    let new = client.create("new").await;
    let new = client.ended(&new).await;

    let (store, outputs) = (
        Arc::clone(&server.server.service.store),
        Arc::clone(&server.server.service.outputs),
    );
    let bytes = |video: &Value| store_bytes(&server, video);
    let retention = t2v_server::retention::Retention {
        store: Arc::clone(&store),
        outputs: Arc::clone(&outputs),
        most_bytes: Some(bytes(&new)),
        keep_jobs: Duration::from_secs(3600),
    };
    // The oldest ones go first, and the newest stays.
    assert_eq!(retention.remove_old().await, 2);
    let gone = client.video(old["id"].as_str().unwrap()).await;
    assert_eq!((&gone["status"], &gone["output"]), (&json!("completed"), &Value::Null));
    let content = |video: &Value| format!("/v1/videos/{}/content", video["id"].as_str().unwrap());
    assert_eq!(client.v1("GET", &content(&old), None).await.status, 404);
    assert_eq!(client.v1("GET", &content(&new), None).await.status, 200);

    // A job is forgotten when it is old and its video gone; the one with a video stays.
    let forgetting = t2v_server::retention::Retention {
        store: Arc::clone(&store),
        outputs: Arc::clone(&outputs),
        most_bytes: None,
        keep_jobs: Duration::ZERO,
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!((retention.forget_old().await, forgetting.forget_old().await), (0, 2));
    let status = |video: &Value| format!("/v1/videos/{}", video["id"].as_str().unwrap());
    assert_eq!(client.v1("GET", &status(&old), None).await.status, 404);
    assert_eq!(client.v1("GET", &status(&new), None).await.status, 200);

    // What an attempt left whose process was killed belongs to nobody.
    let file = server.folder.path().join("left");
    std::fs::write(&file, b"left").unwrap();
    let name = t2v_server::outputs::Outputs::draw_name();
    let files = [(t2v_server::worker::engine::Variant::Video, &file)];
    outputs.write(&name, &files).await.unwrap();
    assert_eq!(retention.remove_orphans(Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(retention.remove_orphans(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(client.v1("GET", &content(&new), None).await.status, 200);
    server.stop().await;
}

/// Bytes of the files of a video.
fn store_bytes(server: &TestServer, video: &Value) -> u64 {
    let url = video["output"]["video"].as_str().unwrap();
    let name = url.rsplit_once('/').unwrap().1.trim_end_matches(".mp4");
    let folder = server.folder.path().join("data/storage/generations");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    files
        .filter(|file| file.file_name().to_string_lossy().starts_with(name))
        .map(|file| file.metadata().unwrap().len())
        .sum()
}
