//! Videos in a bucket: a small S3 in this process, which keeps objects in memory and takes nothing that is not signed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use crate::support::TestServer;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// Of an object that never changes.
const MODIFIED: &str = "Wed, 01 Jan 2025 00:00:00 GMT";

/// `PUT`, `GET` (with a range), `HEAD`, `DELETE` of objects and `GET` of a list, as the client of `object_store` asks for them.
async fn bucket(State(objects): State<Objects>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let signature = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap());
    if !signature.is_some_and(|signature| signature.starts_with("AWS4-HMAC-SHA256 Credential=an-id/")) {
        return (StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>").into_response();
    }
    let key = uri
        .path()
        .trim_start_matches("/clips")
        .trim_start_matches('/')
        .to_owned();
    let mut objects = objects.lock().unwrap();
    let missing = (StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>").into_response();
    match method {
        Method::PUT => {
            objects.insert(key, body);
            [(header::ETAG, "\"1\"")].into_response()
        }
        Method::DELETE => {
            objects.remove(&key);
            StatusCode::NO_CONTENT.into_response()
        }
        Method::GET if key.is_empty() => list(&objects, uri.query().unwrap_or_default()).into_response(),
        Method::HEAD | Method::GET => objects.get(&key).map_or(missing, |object| part(object, &headers)),
        Method::POST => delete_several(&mut objects, &String::from_utf8_lossy(&body)).into_response(),
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn part(object: &Bytes, headers: &HeaderMap) -> Response {
    let length = object.len();
    let known = [
        (header::ETAG, "\"1\"".to_owned()),
        (header::LAST_MODIFIED, MODIFIED.to_owned()),
    ];
    let range = headers
        .get(header::RANGE)
        .map(|range| range.to_str().unwrap().to_owned());
    let Some(range) = range.as_deref().and_then(|range| range.strip_prefix("bytes=")) else {
        return (known, object.clone()).into_response();
    };
    let (first, last) = range.split_once('-').unwrap();
    let first: usize = first.parse().unwrap();
    let end = last.parse().map_or(length, |last: usize| (last + 1).min(length));
    let told = [(header::CONTENT_RANGE, format!("bytes {first}-{}/{length}", end - 1))];
    (StatusCode::PARTIAL_CONTENT, known, told, object.slice(first..end)).into_response()
}

fn list(objects: &BTreeMap<String, Bytes>, query: &str) -> String {
    let prefix = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("prefix="))
        .unwrap_or_default();
    let prefix = prefix.replace("%2F", "/");
    let found = objects.iter().filter(|(key, _)| key.starts_with(&prefix));
    let entries: String = found
        .map(|(key, object)| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2025-01-01T00:00:00.000Z</LastModified><ETag>\"1\"</ETag><Size>{}</Size></Contents>",
                object.len()
            )
        })
        .collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>")
}

fn delete_several(objects: &mut BTreeMap<String, Bytes>, body: &str) -> String {
    let keys: Vec<&str> = body
        .split("<Key>")
        .skip(1)
        .filter_map(|part| part.split("</Key>").next())
        .collect();
    let deleted = |key: &str| {
        objects.remove(key);
        format!("<Deleted><Key>{key}</Key></Deleted>")
    };
    let entries: String = keys.into_iter().map(deleted).collect();
    format!("<DeleteResult>{entries}</DeleteResult>")
}

#[tokio::test(flavor = "multi_thread")]
async fn videos_lie_in_a_bucket_and_are_served_from_it() {
    let objects = Objects::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(bucket).with_state(Arc::clone(&objects));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

    let server = TestServer::start("wait = 20\nallow_private_webhooks = true\n").await;
    let client = &server.client;
    let mut settings = json!({
        "bucket_name": "clips", "region_name": "us-east-1", "endpoint_url": endpoint,
        "aws_access_key_id": "another-id", "aws_secret_access_key": "a-secret",
    });
    let refused = client.legacy("update_s3", settings.clone()).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    settings["aws_access_key_id"] = json!("an-id");
    let taken = client.legacy("update_s3", settings).await;
    assert_eq!(taken.status, 200, "{taken:?}");

    let answer = client.legacy("text2video", json!({"prompt": "a ball"})).await.json();
    assert_eq!(answer["status"], "success", "{answer}");
    let url = answer["output"][0].as_str().unwrap().to_owned();
    let name = url.rsplit('/').next().unwrap();
    let kept = {
        let objects = objects.lock().unwrap();
        let found = objects.iter().find(|(key, _)| key.ends_with(name));
        found
            .map(|(_, object)| object.clone())
            .unwrap_or_else(|| panic!("{name} is not in {:?}", objects.keys()))
    };
    let path = url.strip_prefix(&client.url).unwrap();
    let served = client.send("GET", path, &[], None).await;
    assert_eq!((served.status, &served.bytes[..]), (200, &kept[..]));
    let part = client.send("GET", path, &[("range", "bytes=2-5")], None).await;
    assert_eq!((part.status, &part.bytes[..]), (206, &kept[2..6]));

    // What the settings were tried with is removed again.
    let keys: Vec<String> = objects.lock().unwrap().keys().cloned().collect();
    assert!(keys.iter().all(|key| key.starts_with("generations/")), "{keys:?}");
    server.stop().await;
}
