//! The Stable Diffusion API of 2023, in its exact shapes.

use crate::support::{self, TestServer};
use serde_json::{Value, json};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The body of the documentation, but for model and size.
fn example() -> Value {
    json!({
        "model_id": "stub",
        "prompt": "Girl smiling and sitting on bench, ultra HD video",
        "negative_prompt": "Low Quality",
        "width": "512",
        "height": "512",
        "scheduler": "UniPCMultistepScheduler",
        "num_inference_steps": "30",
        "enhance_prompt": "yes",
        "guidance_scale": 7.5,
        "strength": 0.7,
        "seed": null,
        "webhook": null,
        "track_id": null
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_is_done_in_time_is_a_success() {
    let server = TestServer::start("wait = 20\n").await;
    let answer = server.client.legacy("text2video", example()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    assert_eq!(keys(&body), ["status", "generationTime", "id", "output"]);
    assert_eq!(body["status"], "success");
    assert!(body["generationTime"].is_f64() && body["id"].is_u64());
    let url = body["output"][0].as_str().unwrap();
    let path = url.strip_prefix(&server.client.url).unwrap();
    assert!(path.starts_with("/generations/") && path.ends_with(".mp4"), "{path}");
    let video = server.client.send("GET", path, &[], None).await;
    assert_eq!((video.status, video.header("content-type")), (200, "video/mp4"));
    let seed = server.stub.seeds.lock().unwrap()[0];
    assert_eq!(video.bytes, format!("video of {seed}").into_bytes());

    let fetched = server
        .client
        .legacy("fetch", json!({"request_id": body["id"]}))
        .await
        .json();
    assert_eq!(fetched, json!({"status": "success", "id": body["id"], "output": [url]}));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_comes_before_the_video() {
    let server = TestServer::start("wait = 0\n").await;
    let body = server
        .client
        .legacy("text2video", json!({"prompt": "slow"}))
        .await
        .json();
    assert_eq!(
        keys(&body),
        ["status", "eta", "messege", "fetch_result", "id", "output"]
    );
    assert_eq!(
        (body["status"].as_str(), &body["output"]),
        (Some("processing"), &json!([]))
    );
    assert_eq!(body["messege"], "Try to fetch request after given estimated time");
    assert!(body["eta"].as_f64().unwrap() > 0.0);
    let path = body["fetch_result"]
        .as_str()
        .unwrap()
        .strip_prefix(&server.client.url)
        .unwrap()
        .to_owned();
    let fetch = || async {
        let key = json!({"key": support::KEY}).to_string().into_bytes();
        server.client.send("POST", &path, &[], Some(key)).await.json()
    };
    let waiting = fetch().await;
    assert_eq!(keys(&waiting), ["status", "message", "output", "tip"]);
    assert_eq!(
        (waiting["status"].as_str(), waiting["output"].as_str()),
        (Some("processing"), Some(""))
    );
    server.client.ended(&format!("video_{}", body["id"])).await;
    assert_eq!(fetch().await["status"], "success");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_told_all_at_once_and_by_field() {
    let server = TestServer::start("").await;
    let body = json!({"width": "5000", "num_inference_steps": 51, "scheduler": "Nonesuch"});
    let answer = server.client.legacy("text2video", body).await;
    assert_eq!(answer.status, 400);
    let body = answer.json();
    assert_eq!(body["status"], "error");
    assert_eq!(body["message"]["prompt"], json!(["The prompt field is required."]));
    assert_eq!(
        keys(&body["message"]),
        ["num_inference_steps", "prompt", "scheduler", "width"]
    );
    assert_eq!(server.stub.begun(), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_every_kind_come_in_one_round() {
    let server = TestServer::start("").await;
    let body = json!({
        "prompt": " ", "width": "5000", "height": 63, "webhook": "https://127.0.0.1/hook", "loadbalancer": "yes",
        "init_image": "bm8gcGljdHVyZQ==", "output_type": "avi"
    });
    let answer = server.client.legacy("text2video", body).await;
    let faults = answer.json()["message"].clone();
    let expected = [
        "height",
        "init_image",
        "loadbalancer",
        "output_type",
        "prompt",
        "webhook",
        "width",
    ];
    assert_eq!((answer.status, keys(&faults)), (400, expected.to_vec()), "{faults}");
    assert_eq!(faults["prompt"], json!(["The prompt field is required."]));
    assert!(
        faults["height"][0].as_str().unwrap().contains("whole number"),
        "{faults}"
    );
    // A model that there is not has no sizes, and is one fault more.
    let body = json!({"prompt": "x", "width": 5000, "model_id": "nonesuch"});
    let faults = server.client.legacy("text2video", body).await.json()["message"].clone();
    assert_eq!(keys(&faults), ["model_id", "width"]);
    assert!(
        !server.folder.path().join("data/storage/inputs").exists(),
        "nothing is kept for a job that is none"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_a_fitting_status_and_the_shape_of_the_api() {
    let server = TestServer::start("body_limit = 5000\n").await;
    let client = &server.client;
    let send = |path: &'static str, body: &str| {
        let body = body.as_bytes().to_vec();
        async move { client.send("POST", path, &[], Some(body)).await }
    };
    let path = "/api/v1/enterprise/text2video";
    for (body, status) in [
        ("not json", 400),
        ("[]", 400),
        ("{}", 401),
        ("{\"key\": \"wrong\", \"prompt\": \"x\"}", 401),
        ("{\"key\": 5}", 401),
        (&format!("{{\"key\": \"{}\"}}", "x".repeat(6000)), 413),
    ] {
        let answer = send(path, body).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.json()["status"], "error");
    }
    let wrong_key = send(path, "{\"key\": \"\"}").await.json();
    assert_eq!(wrong_key["message"], "Invalid Api Key");
    assert!(wrong_key["tip"].is_string());
    let answer = client
        .legacy("text2video", json!({"prompt": "x", "model_id": "nonesuch"}))
        .await;
    assert_eq!(
        (answer.status, answer.json()),
        (404, json!({"status": "error", "message": "Model id not found"}))
    );
    for id in [json!(999), json!("999"), json!("abc"), json!(-1)] {
        assert_eq!(client.legacy("fetch", json!({"request_id": id})).await.status, 404);
    }
    assert_eq!(client.legacy("fetch", json!({})).await.status, 400);
    for name in [
        "text2img",
        "img2img",
        "inpaint",
        "controlnet",
        "super_resolution",
        "nsfw_image_check",
    ] {
        let answer = client.legacy(name, json!({})).await;
        assert_eq!(answer.status, 404);
        assert!(answer.json()["message"].as_str().unwrap().contains("text2video"));
    }
    let answer = client.legacy("nonesuch", json!({})).await;
    assert_eq!((answer.status, answer.json()["status"].as_str()), (404, Some("error")));
    assert_eq!(client.send("GET", path, &[], None).await.status, 405);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_generation_is_told_without_the_servers_secrets() {
    let server = TestServer::start("wait = 20\n").await;
    for (prompt, message) in [("fail", "The stub failed."), ("panic", "by a fault of this program")] {
        let answer = server.client.legacy("text2video", json!({"prompt": prompt})).await;
        let body = answer.json();
        assert_eq!((answer.status, body["status"].as_str()), (500, Some("failed")));
        assert_eq!(keys(&body), ["status", "id", "message", "output"]);
        assert!(body["message"].as_str().unwrap().contains(message), "{body}");
        let fetched = server.client.legacy("fetch", json!({"request_id": body["id"]})).await;
        assert_eq!((fetched.status, fetched.json()), (200, body));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_answer_as_documented() {
    let server = TestServer::start("").await;
    let client = &server.client;
    let call = |name: &'static str, body: Value| async move { client.legacy(name, body).await.json() };
    let schedulers = call("schedulers_list", json!({})).await;
    let names = schedulers["schedulers"].as_array().unwrap();
    for name in [
        "DDPMScheduler",
        "UniPCMultistepScheduler",
        "LCMScheduler",
        "ScoreSdeVeScheduler",
    ] {
        assert!(names.contains(&name.into()), "{names:?}");
    }
    assert_eq!(names.len(), 18);
    let models = call("get_all_models", json!({})).await;
    assert_eq!(
        (&models["status"], &models["models"][0]["model_id"]),
        (&json!("success"), &json!("stub"))
    );
    assert_eq!(
        models["models"][0]["load_data"].as_str().unwrap().len(),
        "01/25/2023 11:52:22".len()
    );
    let found = json!({"status": "success", "message": "Model exists on server"});
    assert_eq!(call("verify_model", json!({"model_id": "stub"})).await, found);
    assert_eq!(
        client.legacy("verify_model", json!({"model_id": "x"})).await.status,
        404
    );
    let details = call("system_details", json!({})).await;
    assert_eq!(details, json!({"model_count": 1, "queue_time": 0.0, "status": "ok"}));
    let load = call("system_load", json!({})).await;
    assert_eq!(load, json!({"queue_num": 0, "queue_time": 0.0, "status": "ok"}));
    let cleared = json!({"status": "success", "message": "Cache cleared successfully"});
    assert_eq!(call("clear_cache", json!({})).await, cleared);
    let cleared = json!({"status": "success", "message": "Queue cleared, server is restarting"});
    assert_eq!(call("clear_queue", json!({})).await, cleared);
    let synced = call("sync_model", json!({})).await;
    assert_eq!(
        (&synced["message"], &synced["model_list"]),
        (&json!("1 Models synced successfully"), &json!(["stub"]))
    );
    for name in [
        "restart_server",
        "update_server",
        "load_vae",
        "load_model",
        "delete_model",
        "update_s3",
    ] {
        let answer = client.legacy(name, json!({"model_id": "x", "url": "/etc"})).await;
        assert!([400, 404].contains(&answer.status), "{name}: {answer:?}");
        assert_eq!(answer.json()["status"], "error");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_picture_can_be_started_from() {
    let server = TestServer::start("wait = 20\n").await;
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(8, 8)
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, png.into_inner());
    let uploaded = server
        .client
        .legacy("upload_image", json!({"image": encoded}))
        .await
        .json();
    assert_eq!(
        (&uploaded["status"], &uploaded["message"]),
        (&json!("success"), &json!("image uploaded"))
    );
    let url = uploaded["image_url"].as_str().unwrap();
    let path = url.strip_prefix(&server.client.url).unwrap();
    assert_eq!(
        server.client.send("GET", path, &[], None).await.header("content-type"),
        "image/png"
    );
    for init in [
        url.to_owned(),
        format!("data:image/png;base64,{encoded}"),
        encoded.clone(),
    ] {
        let answer = server
            .client
            .legacy("video/img2video", json!({"prompt": "x", "init_image": init}))
            .await;
        assert_eq!(
            (answer.status, answer.json()["status"].as_str()),
            (200, Some("success")),
            "{answer:?}"
        );
    }
    for (init, status) in [
        (json!(null), 400),
        (json!("bm8gcGljdHVyZQ=="), 400),
        (json!("https://127.0.0.1/x"), 400),
    ] {
        let answer = server
            .client
            .legacy("video/img2video", json!({"prompt": "x", "init_image": init}))
            .await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.json()["message"]["init_image"].is_array(), "{answer:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_to_private_places_are_refused_at_once() {
    let server = TestServer::start("").await;
    for url in [
        "http://example.com/hook",
        "https://127.0.0.1/hook",
        "https://127.1/hook",
        "https://2130706433/hook",
        "https://localhost/hook",
        "https://[::1]/hook",
        "https://10.0.0.1/hook",
        "file:///etc/passwd",
        "hook",
    ] {
        let answer = server
            .client
            .legacy("text2video", json!({"prompt": "x", "webhook": url}))
            .await;
        assert_eq!(answer.status, 400, "{url}");
        assert!(answer.json()["message"]["webhook"].is_array(), "{answer:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_load_balancer_needs_another_server() {
    let server = TestServer::start("wait = 20\n").await;
    let answer = server
        .client
        .legacy("text2video", json!({"prompt": "x", "loadbalancer": "yes"}))
        .await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.json()["message"]["loadbalancer"][0]
            .as_str()
            .unwrap()
            .contains("more than 1 server")
    );
    let answer = server
        .client
        .legacy("text2video", json!({"prompt": "x", "loadbalancer": "no"}))
        .await;
    assert_eq!(answer.json()["status"], "success");
    server.stop().await;
}
