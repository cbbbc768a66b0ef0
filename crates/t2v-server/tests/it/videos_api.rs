//! OpenAI's videos API, with this server's own fields beside its own.

use std::io::{BufRead, BufReader, Write};

use crate::support::{KEY, TestServer};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_video_is_queued_made_and_downloaded() {
    let server = TestServer::start("").await;
    let client = &server.client;
    let body = json!({"prompt": "a ball", "model": "stub", "seconds": "2", "size": "130x64", "fps": 10, "track_id": 5});
    let created = client.v1("POST", "/v1/videos", Some(body)).await;
    assert_eq!(created.status, 200, "{created:?}");
    let created = created.json();
    assert_eq!(
        (&created["object"], &created["model"]),
        (&json!("video"), &json!("stub"))
    );
    // What the model can make that is nearest.
    assert_eq!((&created["size"], &created["seconds"]), (&json!("128x64"), &json!("2")));
    assert_eq!(
        (&created["track_id"], &created["parameters"]["num_frames"]),
        (&json!(5), &json!(20))
    );
    let id = created["id"].as_str().unwrap();
    let video = client.ended(id).await;
    assert_eq!(
        (&video["status"], &video["progress"], &video["error"]),
        (&json!("completed"), &json!(100), &Value::Null)
    );
    assert!(video["completed_at"].as_i64().unwrap() >= video["created_at"].as_i64().unwrap());
    // The drawn seed is told from the beginning and used.
    assert_eq!(created["seed"], video["seed"]);
    assert_eq!(video["seed"], server.stub.seeds.lock().unwrap()[0]);
    for (variant, kind) in [
        ("video", "video/mp4"),
        ("thumbnail", "image/webp"),
        ("spritesheet", "image/jpeg"),
    ] {
        let content = client
            .v1("GET", &format!("/v1/videos/{id}/content?variant={variant}"), None)
            .await;
        assert_eq!((content.status, content.header("content-type")), (200, kind));
        assert_eq!(content.bytes, format!("{variant} of {}", video["seed"]).into_bytes());
        let path = video["output"][variant]
            .as_str()
            .unwrap()
            .strip_prefix(&client.url)
            .unwrap();
        assert_eq!(client.send("GET", path, &[], None).await.bytes, content.bytes);
    }
    assert_eq!(
        client
            .v1("GET", &format!("/v1/videos/{id}/content?variant=x"), None)
            .await
            .status,
        400
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_when_to_ask_again_and_how_long_it_takes() {
    let server = TestServer::start("").await;
    let client = &server.client;
    let id = client.create("slow").await;
    let first = client.v1("GET", &format!("/v1/videos/{id}"), None).await;
    assert_eq!(first.header("openai-poll-after-ms"), "1000", "nothing was measured yet");
    assert_eq!(first.json()["eta"], Value::Null);
    let measured = client.ended(&id).await["generation_time"].as_f64().unwrap();
    let ended = client.v1("GET", &format!("/v1/videos/{id}"), None).await;
    assert_eq!(ended.header("openai-poll-after-ms"), "");
    // Twice as wide, twice as high, twice the frames, three times the steps.
    client.create("hang").await;
    let body = json!({"prompt": "large", "width": 128, "height": 128, "num_frames": 32, "num_inference_steps": 60 / 2});
    let large = client.v1("POST", "/v1/videos", Some(body)).await.json();
    let small = client.create("small").await;
    let eta = large["eta"].as_f64().unwrap();
    // Half of the one that hangs is before it.
    let expected = measured * (0.5 + 12.0);
    assert!((eta / expected - 1.0).abs() < 0.05, "{eta} {expected}");
    let after = client.video(&small).await["eta"].as_f64().unwrap();
    assert!((after / (expected + measured) - 1.0).abs() < 0.05, "{after} {expected}");
    let load = client.legacy("system_load", json!({})).await.json();
    assert!(
        (load["queue_time"].as_f64().unwrap() / after - 1.0).abs() < 0.05,
        "{load} {after}"
    );
    // Nothing was measured at this speed: 7 of its 20 calls are whole, the others an eighth.
    let fast = json!({"prompt": "small", "speed": "fast"});
    let fast = client.v1("POST", "/v1/videos", Some(fast)).await.json()["eta"]
        .as_f64()
        .unwrap();
    let expected = after + measured * (7.0 + 13.0 / 8.0) / 20.0;
    assert!((fast / expected - 1.0).abs() < 0.02, "{fast} {expected}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_files_are_served() {
    let server = TestServer::start("").await;
    let client = &server.client;
    let id = client.create("a ball").await;
    let video = client.ended(&id).await;
    let path = video["output"]["video"]
        .as_str()
        .unwrap()
        .strip_prefix(&client.url)
        .unwrap();
    let whole = client.send("GET", path, &[], None).await;
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let size = whole.bytes.len();
    let part = client.send("GET", path, &[("range", "bytes=2-4")], None).await;
    assert_eq!((part.status, &part.bytes[..]), (206, &whole.bytes[2..5]));
    assert_eq!(part.header("content-range"), format!("bytes 2-4/{size}"));
    let tail = client.send("GET", path, &[("range", "bytes=-3")], None).await;
    assert_eq!((tail.status, &tail.bytes[..]), (206, &whole.bytes[size - 3..]));
    let beyond = client.send("GET", path, &[("range", "bytes=5000-")], None).await;
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, format!("bytes */{size}").as_str())
    );
    let other = client
        .send("GET", path, &[("range", "bytes=2-4"), ("if-range", "\"x\"")], None)
        .await;
    assert_eq!((other.status, other.bytes.len()), (200, size));
    let head = client.send("HEAD", path, &[], None).await;
    assert_eq!(
        (head.status, head.header("content-length"), head.bytes.len()),
        (200, size.to_string().as_str(), 0)
    );
    for wrong in [
        "/generations/x.mp4",
        "/generations/..%2f..%2ft2v.sqlite",
        &path.replace(".mp4", ".exe"),
    ] {
        assert_eq!(client.send("GET", wrong, &[], None).await.status, 404, "{wrong}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_openais_shape() {
    let server = TestServer::start("").await;
    let client = &server.client;
    let create = |body: Value| async move { client.v1("POST", "/v1/videos", Some(body)).await };
    for (body, status, param) in [
        (json!({}), 400, json!("prompt")),
        (json!({"prompt": ""}), 400, json!("prompt")),
        (json!({"prompt": "x", "size": "big"}), 400, json!("size")),
        (json!({"prompt": "x", "seconds": "0"}), 400, json!("seconds")),
        (json!({"prompt": "x", "width": 5000}), 400, json!("width")),
        (json!({"prompt": "x", "model": "sora-2"}), 404, json!("model")),
        (
            json!({"prompt": "x", "input_reference": 5}),
            400,
            json!("input_reference"),
        ),
    ] {
        let answer = create(body).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["param"]), (status, &param), "{answer:?}");
        assert!(error["message"].is_string() && error["type"] == "invalid_request_error");
        if status == 400 && error["code"] == "invalid_value" {
            let field = param.as_str().unwrap();
            assert!(error["faults"][field][0].is_string(), "{answer:?}");
        }
    }
    let body =
        json!({"seconds": "0", "size": "big", "width": 5000, "height": 63, "input_reference": 5, "output_type": 7});
    let all = create(body).await.json()["error"]["faults"].clone();
    let fields: Vec<&String> = all.as_object().unwrap().keys().collect();
    let expected = [
        "height",
        "input_reference",
        "output_type",
        "prompt",
        "seconds",
        "size",
        "width",
    ];
    assert_eq!(fields, expected, "{all}");
    for blank in [json!(""), json!(null), json!({"image_url": " "})] {
        let answer = create(json!({"prompt": "x", "input_reference": blank})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for headers in [&[][..], &[("authorization", "Bearer wrong")], &[("authorization", KEY)]] {
        let answer = client.send("GET", "/v1/videos", headers, None).await;
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_str()),
            (401, Some("invalid_api_key"))
        );
    }
    for path in [
        "/v1/videos/video_999",
        "/v1/videos/x",
        "/v1/nothing",
        "/v1/videos/video_999/content",
    ] {
        let answer = client.v1("GET", path, None).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["error"]["message"].is_string());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_and_references_are_taken() {
    let server = TestServer::start("").await;
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(8, 8)
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    let mut body = Vec::new();
    for (name, value) in [("prompt", "a ball"), ("seconds", "1"), ("size", "64x64")] {
        write!(
            body,
            "--line\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )
        .unwrap();
    }
    body.extend(b"--line\r\nContent-Disposition: form-data; name=\"input_reference\"; filename=\"a.png\"\r\n");
    body.extend(b"Content-Type: image/png\r\n\r\n");
    body.extend(png.into_inner());
    body.extend(b"\r\n--line--\r\n");
    let bearer = format!("Bearer {KEY}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "multipart/form-data; boundary=line"),
    ];
    let answer = server.client.send("POST", "/v1/videos", &headers, Some(body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let video = answer.json();
    assert_eq!(
        (&video["parameters"]["num_frames"], &video["parameters"]["strength"]),
        (&json!(8), &json!(0.5))
    );
    assert_eq!(
        server.client.ended(video["id"].as_str().unwrap()).await["status"],
        "completed"
    );
    let broken = server
        .client
        .send("POST", "/v1/videos", &headers, Some(b"--line\r\n".to_vec()))
        .await;
    assert_eq!(broken.status, 400, "{broken:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_pages() {
    let server = TestServer::start("workers = 0\n").await;
    let client = &server.client;
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(client.create(&format!("ball {number}")).await);
    }
    let page = client.v1("GET", "/v1/videos?limit=2", None).await.json();
    assert_eq!((&page["object"], &page["has_more"]), (&json!("list"), &json!(true)));
    assert_eq!((&page["first_id"], &page["last_id"]), (&json!(ids[2]), &json!(ids[1])));
    let page = client
        .v1("GET", &format!("/v1/videos?limit=2&after={}", ids[1]), None)
        .await
        .json();
    assert_eq!(
        (&page["data"][0]["id"], &page["has_more"]),
        (&json!(ids[0]), &json!(false))
    );
    let page = client.v1("GET", "/v1/videos?order=asc&limit=1", None).await.json();
    assert_eq!(page["data"][0]["id"], json!(ids[0]));
    for wrong in ["limit=0", "limit=101", "limit=x", "after=x", "order=up"] {
        assert_eq!(
            client.v1("GET", &format!("/v1/videos?{wrong}"), None).await.status,
            400,
            "{wrong}"
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_place_in_the_queue_is_told() {
    let server = TestServer::start("workers = 0\n").await;
    for position in 0..3 {
        let id = server.client.create("a ball").await;
        let video = server.client.video(&id).await;
        assert_eq!(
            (&video["queue_position"], &video["status"]),
            (&json!(position), &json!("queued"))
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_stops_ones_own_video_and_no_other() {
    let other = format!("[[keys]]\nsha256 = \"{}\"\n", t2v_server::auth::key_hash("other"));
    let server = TestServer::start(&other).await;
    let client = &server.client;
    let mut stranger = client.clone();
    stranger.key = "other".into();
    let running = client.create("hang").await;
    client.until(&running, &["in_progress"]).await;
    let (first, second) = (client.create("a").await, client.create("b").await);
    for id in [&running, &first] {
        for (method, path) in [
            ("POST", format!("/v1/videos/{id}/cancel")),
            ("DELETE", format!("/v1/videos/{id}")),
        ] {
            assert_eq!(stranger.v1(method, &path, None).await.status, 404);
        }
        assert_eq!(stranger.v1("GET", &format!("/v1/videos/{id}"), None).await.status, 404);
    }
    assert_eq!(stranger.legacy("clear_queue", json!({})).await.status, 200);
    assert_eq!(stranger.v1("GET", "/v1/videos", None).await.json()["data"], json!([]));
    assert_eq!(stranger.legacy("clear_cache", json!({})).await.status, 403);
    assert_eq!(client.video(&running).await["status"], "in_progress");

    let cancelled = client
        .v1("POST", &format!("/v1/videos/{first}/cancel"), None)
        .await
        .json();
    assert_eq!(
        (&cancelled["status"], &cancelled["error"]["code"]),
        (&json!("failed"), &json!("cancelled"))
    );
    client.v1("POST", &format!("/v1/videos/{running}/cancel"), None).await;
    assert_eq!(client.ended(&running).await["error"]["code"], "cancelled");
    assert_eq!(client.ended(&second).await["status"], "completed");
    let again = client
        .v1("POST", &format!("/v1/videos/{second}/cancel"), None)
        .await
        .json();
    assert_eq!(again["status"], "completed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_video_is_gone() {
    let server = TestServer::start("").await;
    let client = &server.client;
    let id = client.create("a ball").await;
    client.ended(&id).await;
    let deleted = client.v1("DELETE", &format!("/v1/videos/{id}"), None).await.json();
    assert_eq!(deleted, json!({"id": id, "object": "video.deleted", "deleted": true}));
    assert_eq!(client.v1("GET", &format!("/v1/videos/{id}"), None).await.status, 404);
    assert_eq!(client.v1("DELETE", &format!("/v1/videos/{id}"), None).await.status, 404);
    server.stop().await;
}

/// Reads events until the end: their names and data.
fn events(url: &str, id: &str) -> Vec<(String, Value)> {
    let response = ureq::get(format!("{url}/v1/videos/{id}/events"))
        .header("authorization", format!("Bearer {KEY}"))
        .call()
        .unwrap();
    let (mut events, mut name) = (Vec::new(), String::new());
    for line in BufReader::new(response.into_body().into_reader())
        .lines()
        .map_while(Result::ok)
    {
        if let Some(found) = line.strip_prefix("event: ") {
            name = found.to_owned();
        } else if let Some(data) = line.strip_prefix("data: ") {
            events.push((name.clone(), serde_json::from_str(data).unwrap()));
        }
    }
    events
}

/// Puts the fields of a patch in the place of those that there are.
fn patch(document: &mut Value, patch: &Value) {
    for (key, value) in patch.as_object().unwrap() {
        assert!(document.get(key).is_some(), "{key}");
        document[key] = value.clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_begin_with_a_snapshot_and_end_with_the_job() {
    let server = TestServer::start("").await;
    let id = server.client.create("slow").await;
    let (url, followed) = (server.client.url.clone(), id.clone());
    let heard = tokio::task::spawn_blocking(move || events(&url, &followed))
        .await
        .unwrap();
    let [(first, snapshot), patches @ .., (last, _)] = &heard[..] else {
        panic!("{heard:?}");
    };
    assert_eq!((first.as_str(), last.as_str()), ("snapshot", "end"));
    assert!(patches.len() >= 3, "{heard:?}");
    let mut document = snapshot.clone();
    let (mut progress, mut previews) = (0, 0);
    for (name, change) in patches {
        assert_eq!(name, "patch");
        previews += usize::from(change["preview"].is_string());
        patch(&mut document, change);
        let now = document["progress"].as_u64().unwrap();
        assert!(now >= progress);
        progress = now;
    }
    assert!(previews > 0);
    assert_eq!(document, server.client.video(&id).await);

    // After a reconnect nothing is lost, an error neither.
    let failed = server.client.create("fail").await;
    server.client.ended(&failed).await;
    let url = server.client.url.clone();
    let heard = tokio::task::spawn_blocking(move || events(&url, &failed))
        .await
        .unwrap();
    assert_eq!(heard[0].1["error"]["message"], "The stub failed.");
    assert_eq!(heard[1].0, "end");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed() {
    let server = TestServer::start("").await;
    let models = server.client.v1("GET", "/v1/models", None).await.json();
    assert_eq!(
        (&models["object"], &models["data"][0]["id"]),
        (&json!("list"), &json!("stub"))
    );
    let model = server.client.v1("GET", "/v1/models/stub", None).await.json();
    assert_eq!(
        (
            &model["id"],
            &model["object"],
            &model["defaults"]["width"],
            &model["limits"]
        ),
        (&json!("stub"), &json!("model"), &json!(64), &Value::Null)
    );
    let unknown = server.client.v1("GET", "/v1/models/no%2Fmodel", None).await;
    assert_eq!(
        (unknown.status, &unknown.json()["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    server.stop().await;
}
