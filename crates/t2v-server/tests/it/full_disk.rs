//! A disk that is really full: a small tmpfs, which takes the right to mount one (root). Elsewhere the reason is printed.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::support::{self, Client, TestServer};
use serde_json::json;

/// A file system of 4 MiB.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    fn mount(folder: &Path) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=4m,mode=0755", "tmpfs"])
            .arg(folder);
        let refused = match mount.output() {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Some(error.to_string()),
        };
        match refused {
            None => Some(Self {
                folder: folder.to_owned(),
            }),
            Some(reason) => {
                println!("not run: a tmpfs cannot be mounted: {reason}");
                None
            }
        }
    }

    /// Fills it, but for some bytes.
    fn fill(&self, spare: u64) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.folder.join("filler")).unwrap();
        let block = [7; 4096];
        while file.write_all(&block).is_ok() {}
        file.set_len(file.metadata().unwrap().len() - spare).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.folder.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What still has files open there keeps it until it ends.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

async fn is_ready(client: &Client) -> bool {
    client.send("GET", "/health/ready", &[], None).await.status == 200
}

async fn until_ready(client: &Client, wanted: bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while is_ready(client).await != wanted {
        assert!(Instant::now() < deadline, "ready is not {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Videos that are there and whole.
async fn assert_whole(client: &Client, ids: &[String]) {
    for id in ids {
        let video = client.ended(id).await;
        assert_eq!(video["status"], "completed", "{video}");
        let content = client.v1("GET", &format!("/v1/videos/{id}/content"), None).await;
        assert_eq!(content.bytes, format!("video of {}", video["seed"]).into_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_videos_turns_ready_red_and_loses_nothing() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let Some(disk) = SmallDisk::mount(&folder.path().join("data/storage")) else {
        return;
    };
    let server = TestServer::start_in(folder, "lease = 1\nworkers = 2\n").await;
    let client = &server.client;
    // One is being made when the disk fills, others come after it.
    let mut ids = vec![client.create("slow").await];
    client.until(&ids[0], &["in_progress"]).await;
    disk.fill(0);
    for _ in 0..4 {
        ids.push(client.create("a ball").await);
    }
    until_ready(client, false).await;
    let missing = client.send("GET", "/health/ready", &[], None).await.json()["missing"].clone();
    assert_eq!(missing, json!(["storage"]));
    tokio::time::sleep(Duration::from_secs(3)).await;
    for id in &ids {
        let status = client.video(id).await["status"].clone();
        assert!(status == "queued" || status == "in_progress", "{id} {status}");
    }
    disk.free();
    until_ready(client, true).await;
    assert_whole(client, &ids).await;
    support::report("disk of the videos full", "SQLite", [ids.len(), ids.len(), 0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_everything_loses_nothing_that_was_accepted() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let Some(disk) = SmallDisk::mount(&folder.path().join("data")) else {
        return;
    };
    let server = TestServer::start_in(folder, "lease = 1\nworkers = 2\nmax_attempts = 20\n").await;
    let client = &server.client;
    let mut ids = vec![client.create("slow").await];
    client.until(&ids[0], &["in_progress"]).await;
    disk.fill(300 << 10);
    let mut refused = 0;
    for number in 0..20 {
        // Long enough that the log of the database has no room for all.
        let body = json!({"prompt": format!("{number} {}", "ball ".repeat(2000))});
        let answer = client.v1("POST", "/v1/videos", Some(body)).await;
        match answer.status {
            200 => ids.push(answer.json()["id"].as_str().unwrap().to_owned()),
            503 => refused += 1,
            _ => panic!("{answer:?}"),
        }
    }
    assert!(refused > 0 && ids.len() > 1, "{refused} were refused");
    until_ready(client, false).await;
    disk.free();
    until_ready(client, true).await;
    println!("{refused} of 20 were refused with 503");
    ids.push(client.create("a ball").await);
    assert_whole(client, &ids).await;
    support::report("disk of jobs and videos full", "SQLite", [ids.len(), ids.len(), 0]);
    // After a restart all are there, too.
    let folder = server.stop().await;
    let server = TestServer::start_in(folder, "workers = 0\n").await;
    assert_whole(&server.client, &ids).await;
    server.stop().await;
    drop(disk);
}
