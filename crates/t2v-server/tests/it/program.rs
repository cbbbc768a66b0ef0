//! The program itself with the embedded model: from its first start to a video, killed and started again.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::support::Program;
use serde_json::{Value, json};

fn request(steps: u32) -> Value {
    json!({
        "prompt": "a red ball bouncing in a blue sky", "num_inference_steps": steps, "num_frames": 4, "enhance_prompt": "no"
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_of_the_embedded_model_is_made_and_served() {
    let data = tempfile::tempdir().unwrap();
    let program = Program::start(data.path(), &["--wait", "120"]);
    let client = &program.client;
    assert_eq!(client.send("GET", "/health/ready", &[], None).await.status, 200);
    let body = client.legacy("text2video", request(2)).await.json();
    assert_eq!(body["status"], "success", "{body}");
    let path = body["output"][0]
        .as_str()
        .unwrap()
        .strip_prefix(&client.url)
        .unwrap()
        .to_owned();
    let file = data.path().join("video.mp4");
    std::fs::write(&file, client.send("GET", &path, &[], None).await.bytes).unwrap();
    let clip = t2v_mp4::read_frames(&file, t2v_mp4::ReadLimits::default()).unwrap();
    assert_eq!((clip.frames.len(), clip.width, clip.height), (4, 64, 64));
    let video = client.video(&format!("video_{}", body["id"])).await;
    assert_eq!(
        (&video["model"], &video["parameters"]["num_inference_steps"]),
        (&json!("tiny-world"), &json!(2))
    );
    let id = video["id"].as_str().unwrap();
    for (variant, format) in [
        ("thumbnail", image::ImageFormat::WebP),
        ("spritesheet", image::ImageFormat::Jpeg),
    ] {
        let content = client
            .v1("GET", &format!("/v1/videos/{id}/content?variant={variant}"), None)
            .await;
        image::load_from_memory_with_format(&content.bytes, format).unwrap();
    }
    // The seed that was drawn makes the same video again.
    let mut again = request(2);
    again["seed"] = video["seed"].clone();
    let again = client.legacy("text2video", again).await.json();
    let path = again["output"][0].as_str().unwrap().strip_prefix(&client.url).unwrap();
    assert_eq!(
        client.send("GET", path, &[], None).await.bytes,
        std::fs::read(&file).unwrap()
    );
    let faults = client
        .legacy("text2video", json!({"prompt": "x", "width": 65}))
        .await
        .json();
    assert!(
        faults["message"]["width"][0].as_str().unwrap().contains("multiple of"),
        "{faults}"
    );
    let model = client.v1("GET", "/v1/models/tiny-world", None).await.json();
    assert_eq!(
        model["limits"]["width"],
        json!({"minimum": 8, "maximum": 1024, "step": 8})
    );
    assert_eq!(
        model["limits"]["guidance_scale"],
        json!({"minimum": 1.0, "maximum": 20.0, "step": null})
    );
    assert_eq!(
        (&model["defaults"]["width"], &model["defaults"]["fps"]),
        (&json!(64), &json!(8))
    );
    let schedulers = model["schedulers"].as_array().unwrap();
    assert!(schedulers.contains(&model["defaults"]["scheduler"]), "{model}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_loses_no_job() {
    let data = tempfile::tempdir().unwrap();
    let config = data.path().join("t2v.toml");
    std::fs::write(&config, "lease = 2\nmax_attempts = 2\n").unwrap();
    let args = ["--config", config.to_str().unwrap(), "--wait", "0"];
    let program = Program::start(data.path(), &args);
    let mut body = request(50);
    body["num_frames"] = 16.into();
    let id = format!("video_{}", program.client.legacy("text2video", body).await.json()["id"]);
    let queued = format!(
        "video_{}",
        program.client.legacy("text2video", request(1)).await.json()["id"]
    );
    let begun = program.client.until(&id, &["in_progress"]).await;
    program.kill();
    // Its second attempt, and last one.
    let program = Program::start(data.path(), &args);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let video = program.client.video(&id).await;
        if video["attempt"] == 2 {
            assert_eq!(video["seed"], begun["seed"]);
            break;
        }
        assert!(Instant::now() < deadline, "{video}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    program.kill();
    let program = Program::start(data.path(), &args);
    let video = program.client.ended(&id).await;
    assert_eq!(
        (&video["status"], &video["error"]["code"]),
        (&json!("failed"), &json!("worker_lost")),
        "{video}"
    );
    assert_eq!(program.client.ended(&queued).await["status"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_program_hands_its_work_back() {
    let data = tempfile::tempdir().unwrap();
    let mut program = Program::start(data.path(), &["--wait", "0"]);
    let mut body = request(50);
    body["num_frames"] = 16.into();
    let id = format!("video_{}", program.client.legacy("text2video", body).await.json()["id"]);
    program.client.until(&id, &["in_progress"]).await;
    program.signal("-TERM");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(program.child.try_wait().unwrap().is_none(), "it finishes its work");
    program.signal("-TERM");
    let deadline = Instant::now() + Duration::from_secs(30);
    let status = loop {
        if let Some(status) = program.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(status.success(), "{status}");
    let program = Program::start(data.path(), &["--workers", "0"]);
    let video = program.client.video(&id).await;
    assert_eq!((&video["status"], &video["attempt"]), (&json!("queued"), &json!(1)));
}

#[test]
fn a_wrong_configuration_is_told_completely() {
    let output = Command::new(env!("CARGO_BIN_EXE_t2v-server"))
        .args([
            "--check-config",
            "--listen",
            "here",
            "--database",
            "x",
            "--device",
            "abacus",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    for field in ["listen", "database", "device"] {
        assert!(
            said.lines().any(|line| line.starts_with(&format!("error: {field}: "))),
            "{said}"
        );
    }
    let output = Command::new(env!("CARGO_BIN_EXE_t2v-server"))
        .arg("--check-config")
        .output()
        .unwrap();
    assert!(output.status.success());
    let output = Command::new(env!("CARGO_BIN_EXE_t2v-server"))
        .args([
            "--check-config",
            "--model",
            "sd=/no/such/sd",
            "--lora",
            "ink=/no/such/ink.safetensors",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    for fault in ["error: model: /no/such/sd", "error: lora: /no/such/ink.safetensors"] {
        assert!(said.lines().any(|line| line.starts_with(fault)), "{said}");
    }
}
