//! The files of the page, as browsers get them. What they do there is tested by `.ci/check_page`.

use std::{fs, path::Path};

use crate::support::TestServer;

/// The files of the page: their paths and texts.
fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let file = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        let path = match name.as_str() {
            "index.html" => "/".to_owned(),
            other => format!("/page/{other}"),
        };
        (path, fs::read_to_string(entry.path()).unwrap())
    };
    entries.map(file).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_served_and_is_not_sent_twice() {
    let server = TestServer::start("").await;
    let get = |path: String, tag: String| {
        let client = &server.client;
        async move {
            client
                .send("GET", &path, &[("if-none-match", tag.as_str())], None)
                .await
        }
    };
    for (path, text) in files() {
        let first = get(path.clone(), "\"other\"".into()).await;
        assert_eq!(
            (first.status, String::from_utf8_lossy(&first.bytes)),
            (200, text.into()),
            "{path}"
        );
        let policy = first.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(
            (first.header("cache-control"), first.header("x-content-type-options")),
            ("no-cache", "nosniff")
        );
        let tag = first.header("etag").to_owned();
        for list in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            let again = get(path.clone(), list).await;
            assert_eq!((again.status, again.bytes.len()), (304, 0), "{path}");
        }
    }
    for wrong in ["/page/no.mjs", "/page/..%2Fsrc%2Fmain.rs", "/page/"] {
        assert_eq!(server.client.send("GET", wrong, &[], None).await.status, 404, "{wrong}");
    }
    server.stop().await;
}

/// What the policy forbids is not in the page, and every file that another one names is there.
#[test]
fn files_name_files_that_there_are_and_no_others() {
    let files = files();
    let is_there = |name: &str| files.iter().any(|(path, _)| *path == format!("/page/{name}"));
    let first_name = |rest: &str| rest.split('"').next().unwrap().to_owned();
    let (_, page) = files.iter().find(|(path, _)| path == "/").unwrap();
    assert!(
        !["<style", " style=", " onclick=", "http:", "https:"]
            .iter()
            .any(|part| page.contains(part))
    );
    let named: Vec<String> = page.split("\"page/").skip(1).map(first_name).collect();
    assert!(
        named.iter().any(|name| name == "app.mjs") && named.iter().all(|name| is_there(name)),
        "{named:?}"
    );
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".mjs")) {
        for name in text.split(" from \"./").skip(1).map(first_name) {
            assert!(is_there(&name), "{path}: {name}");
        }
        assert!(!text.contains("innerHTML") && !text.contains("eval("), "{path}");
    }
}
