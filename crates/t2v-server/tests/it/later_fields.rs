//! Fields of the API's later versions, and what the server tells and keeps for its operator.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use crate::support::{
    self, Client, KEY, TestServer,
    receiver::{SECRET, receiver},
};
use serde_json::{Value, json};

async fn post(client: &Client, path: &str, mut body: Value) -> Value {
    body["key"] = KEY.into();
    let answer = client
        .send("POST", path, &[], Some(body.to_string().into_bytes()))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

async fn file(client: &Client, url: &Value) -> support::Answer {
    let path = url.as_str().unwrap().strip_prefix(&client.url).unwrap().to_owned();
    client.send("GET", &path, &[], None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gif_is_made_beside_the_video_where_it_is_asked_for() {
    let toml = format!("wait = 20\nallow_private_webhooks = true\nwebhook_secret = {SECRET:?}\n");
    let server = TestServer::start(&toml).await;
    let client = &server.client;
    let (url, received) = receiver(&["200 OK"]);
    let [enterprise, v6] = ["/api/v1/enterprise/text2video", "/api/v6/video/text2video"];
    for (path, body, extension) in [
        (enterprise, json!({"prompt": "x"}), ".mp4"),
        (
            enterprise,
            json!({"prompt": "x", "output_type": "gif", "webhook": url}),
            ".gif",
        ),
        (v6, json!({"prompt": "x"}), ".gif"),
        (v6, json!({"prompt": "x", "output_type": "MP4"}), ".mp4"),
    ] {
        let answer = post(client, path, body).await;
        let output = answer["output"][0].clone();
        assert!(output.as_str().unwrap().ends_with(extension), "{answer}");
        let kind = if extension == ".gif" { "image/gif" } else { "video/mp4" };
        let found = file(client, &output).await;
        assert_eq!((found.status, found.header("content-type")), (200, kind));
        let fetched = client.legacy("fetch", json!({"request_id": answer["id"]})).await.json();
        assert_eq!(fetched["output"][0], output);
        let id = format!("video_{}", answer["id"]);
        let video = client.video(&id).await;
        let has_gif = extension == ".gif";
        assert_eq!(video["output"]["gif"].is_string(), has_gif, "{video}");
        assert_eq!(
            file(client, &video["output"]["video"]).await.header("content-type"),
            "video/mp4"
        );
        let content = client
            .v1("GET", &format!("/v1/videos/{id}/content?variant=gif"), None)
            .await;
        assert_eq!(content.status, if has_gif { 200 } else { 404 });
    }
    let hook = received.recv_timeout(Duration::from_secs(30)).unwrap();
    hook.verify();
    let body: Value = serde_json::from_slice(&hook.body).unwrap();
    assert!(body["output"][0].as_str().unwrap().ends_with(".gif"), "{body}");
    // Nothing of it is left when the video is deleted.
    let names = |extension: &'static str| {
        let files = std::fs::read_dir(server.folder.path().join("data/storage/generations")).unwrap();
        files
            .filter(|file| {
                file.as_ref()
                    .unwrap()
                    .path()
                    .extension()
                    .is_some_and(|it| it == extension)
            })
            .count()
    };
    assert_eq!((names("gif"), names("mp4")), (2, 4));
    for id in 1..=4 {
        client.v1("DELETE", &format!("/v1/videos/video_{id}"), None).await;
    }
    let retention = t2v_server::retention::Retention {
        store: server.server.service.store.clone(),
        outputs: server.server.service.outputs.clone(),
        most_bytes: None,
        keep_jobs: Duration::from_secs(3600),
    };
    assert_eq!(retention.remove_old().await, 4);
    assert_eq!((names("gif"), names("mp4")), (0, 0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instant_response_has_the_url_at_which_the_video_will_be() {
    let server = TestServer::start("wait = 20\n").await;
    let client = &server.client;
    let began = Instant::now();
    let body = json!({"prompt": "slow", "instant_response": "yes", "output_type": "gif"});
    let answer = post(client, "/api/v1/enterprise/text2video", body).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(answer["status"], "processing");
    let link = answer["future_links"][0].clone();
    assert!(link.as_str().unwrap().ends_with(".gif"), "{answer}");
    assert_eq!(file(client, &link).await.status, 404, "not yet");
    let id = format!("video_{}", answer["id"]);
    let video = client.ended(&id).await;
    let found = file(client, &link).await;
    assert_eq!((found.status, found.header("content-type")), (200, "image/gif"));
    assert_eq!(found.bytes, file(client, &video["output"]["gif"]).await.bytes);
    client.v1("DELETE", &format!("/v1/videos/{id}"), None).await;
    assert_eq!(file(client, &link).await.status, 404, "not any more");
    // Without it there are no such links, and the answer waits.
    let answer = post(
        client,
        "/api/v1/enterprise/text2video",
        json!({"prompt": "slow", "instant_response": false}),
    )
    .await;
    assert_eq!(
        (&answer["status"], &answer["future_links"]),
        (&json!("success"), &Value::Null)
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_tells_that_a_model_is_open() {
    let root = tempfile::tempdir().unwrap();
    let toml = format!(
        "allow_private_webhooks = true\nwebhook_secret = {SECRET:?}\nmodel_root = [{:?}]\n",
        root.path()
    );
    let server = TestServer::start(&toml).await;
    let (url, received) = receiver(&["200 OK", "200 OK"]);
    for (name, status, message) in [
        ("mine", "success", "model loaded"),
        ("damaged", "failed", "The model cannot be opened."),
    ] {
        let body = json!({"model_id": name, "url": root.path(), "webhook": url});
        let answer = server.client.legacy("load_model", body).await.json();
        assert_eq!(answer, json!({"message": "model load started", "status": "success"}));
        let hook = received.recv_timeout(Duration::from_secs(30)).unwrap();
        hook.verify();
        let body: Value = serde_json::from_slice(&hook.body).unwrap();
        assert_eq!(body, json!({"status": status, "message": message, "model_id": name}));
    }
    assert_eq!(*server.stub.removed.lock().unwrap(), ["damaged"]);
    server.stop().await;

    let server = TestServer::start("").await;
    let body = json!({"model_id": "a b", "url": "/etc", "webhook": url});
    let answer = server.client.legacy("load_model", body).await;
    let faults = answer.json()["message"].clone();
    assert!(
        answer.status == 400 && faults["webhook"].is_array() && faults["model_id"].is_array(),
        "{faults}"
    );
    server.stop().await;
}

#[cfg(feature = "s3")]
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_does_not_answer_is_refused_in_time() {
    let server = TestServer::start("").await;
    // Accepts and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let body = json!({
        "bucket_name": "videos", "region_name": "x", "endpoint_url": format!("http://{}", silent.local_addr().unwrap()),
        "aws_access_key_id": "id", "aws_secret_access_key": "secret"
    });
    let began = Instant::now();
    let answer = server.client.legacy("update_s3", body).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert_eq!(
        answer.json()["message"],
        json!({"endpoint_url": ["The endpoint url does not answer."]})
    );
    // Videos go where they went before.
    let id = server.client.create("a ball").await;
    assert_eq!(server.client.ended(&id).await["status"], "completed");
    server.stop().await;
}
