//! Several servers on one PostgreSQL database. Run where `T2V_TEST_POSTGRES` has its URL.

use std::{collections::BTreeMap, time::Duration};

use crate::support::{Database, KEY, TestServer};
use serde_json::{Value, json};

/// A server on a database, with a name of its own and storage that all see.
async fn server(database: &Database, name: &str, storage: &tempfile::TempDir, toml: &str) -> TestServer {
    let common = format!(
        "name = {name:?}\ndatabase = {:?}\nstorage = \"file://{}\"\nstorage_is_shared = true\n",
        database.url,
        storage.path().display()
    );
    TestServer::start(&(common + toml)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_the_work() {
    let Some(database) = Database::create().await else {
        return;
    };
    let storage = tempfile::tempdir().unwrap();
    let first = server(&database, "a", &storage, "").await;
    let second = server(&database, "b", &storage, "").await;
    let ids = futures::future::join_all((0..40).map(|_| first.client.create("slow"))).await;
    for id in &ids {
        let video = second.client.ended(id).await;
        assert_eq!(video["status"], "completed");
        let path = video["output"]["video"]
            .as_str()
            .unwrap()
            .strip_prefix(&second.client.url)
            .unwrap();
        assert_eq!(first.client.send("GET", path, &[], None).await.status, 200);
    }
    let shares = [first.stub.begun(), second.stub.begun()];
    assert!(
        shares.iter().sum::<usize>() == 40 && shares.iter().all(|share| *share >= 10),
        "{shares:?}"
    );
    first.stop().await;
    second.stop().await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_load_balancer_a_job_stays_where_it_was_asked_for() {
    let Some(database) = Database::create().await else {
        return;
    };
    let storage = tempfile::tempdir().unwrap();
    let first = server(&database, "a", &storage, "wait = 20\n").await;
    let second = server(&database, "b", &storage, "").await;
    for _ in 0..6 {
        let body = json!({"prompt": "a ball", "loadbalancer": "no"});
        assert_eq!(
            first.client.legacy("text2video", body).await.json()["status"],
            "success"
        );
    }
    assert_eq!((first.stub.begun(), second.stub.begun()), (6, 0));
    let body = json!({"prompt": "a ball", "loadbalancer": "yes"});
    assert_eq!(
        first.client.legacy("text2video", body).await.json()["status"],
        "success"
    );
    first.stop().await;
    second.stop().await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn identical_submissions_to_two_servers_are_made_once() {
    let Some(database) = Database::create().await else {
        return;
    };
    let storage = tempfile::tempdir().unwrap();
    let servers = [
        server(&database, "a", &storage, "").await,
        server(&database, "b", &storage, "").await,
    ];
    let bearer = format!("Bearer {KEY}");
    let send = |number: usize| {
        let (client, bearer) = (servers[number % 2].client.clone(), bearer.clone());
        async move {
            let headers = [("authorization", bearer.as_str()), ("idempotency-key", "order-7")];
            let body = json!({"prompt": "a ball"}).to_string().into_bytes();
            client.send("POST", "/v1/videos", &headers, Some(body)).await.json()["id"].clone()
        }
    };
    let ids: Vec<Value> = futures::future::join_all((0..50).map(send)).await;
    assert!(ids.iter().all(|id| id.is_string() && *id == ids[0]), "{ids:?}");
    servers[0].client.ended(ids[0].as_str().unwrap()).await;
    assert_eq!(servers.iter().map(|server| server.stub.begun()).sum::<usize>(), 1);
    for server in servers {
        server.stop().await;
    }
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_and_cancelled_from_any_server() {
    let Some(database) = Database::create().await else {
        return;
    };
    let storage = tempfile::tempdir().unwrap();
    let front = server(&database, "front", &storage, "workers = 0\n").await;
    let back = server(&database, "back", &storage, "").await;
    let id = front.client.create("hang").await;
    front.client.until(&id, &["in_progress"]).await;
    let mut seen = BTreeMap::new();
    for _ in 0..60 {
        let video = front.client.video(&id).await;
        seen.insert(video["progress"].as_u64().unwrap(), video["preview"].is_string());
        if seen.len() > 1 && video["preview"].is_string() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(
        seen.len() > 1 && seen.values().any(|has_preview| *has_preview),
        "{seen:?}"
    );
    front.client.v1("POST", &format!("/v1/videos/{id}/cancel"), None).await;
    assert_eq!(front.client.ended(&id).await["error"]["code"], "cancelled");
    front.stop().await;
    back.stop().await;
    database.drop().await;
}
