//! The server with a model that takes no time, to measure everything but models: `scripts/load.sh` puts load on it.
//!
//! `cargo run -p t2v-server --example stub_server -- --listen 127.0.0.1:0`: flags, environment and file are the program's.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Parser;
use t2v_pipeline::{InitMedia, Report, TextToVideoRequest};
use t2v_server::{
    config::{Config, Flags},
    server::Server,
    shutdown, telemetry,
    worker::engine::{Engine, EngineError, Entry, Rendered, Task, Variant},
};

/// Bytes of its video: what 16 frames of 64 by 64 pixels come to.
const VIDEO_BYTES: usize = 20_000;

/// Makes files of zeros at once.
struct Instantly;

impl Engine for Instantly {
    fn models(&self) -> Vec<String> {
        vec!["stub".into()]
    }

    fn resolve(&self, request: &TextToVideoRequest, _init: Option<&InitMedia>) -> Result<Report, EngineError> {
        request.validate()?;
        let mut report = Report::default();
        report.model_id = "stub".into();
        report.prompt = request.prompt.clone();
        (report.width, report.height) = (request.width.unwrap_or(64), request.height.unwrap_or(64));
        (report.num_frames, report.fps) = (request.num_frames.unwrap_or(16), request.fps.unwrap_or(8));
        report.num_inference_steps = request.num_inference_steps.unwrap_or(20);
        report.seed = request.seed.unwrap_or(0);
        Ok(report)
    }

    fn nearest(&self, _: Option<&str>, size: [u32; 2], frames: u32) -> Result<([u32; 2], u32), EngineError> {
        Ok((size, frames))
    }

    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn render(&self, task: Task<'_>) -> Result<Rendered, EngineError> {
        let write = |variant: &Variant| -> std::io::Result<(Variant, PathBuf)> {
            let path = task.folder.join(variant.name());
            std::fs::write(&path, [0; VIDEO_BYTES])?;
            Ok((*variant, path))
        };
        let files: std::io::Result<Vec<_>> = task.variants.iter().map(write).collect();
        Ok(Rendered {
            report: self.resolve(&task.request, None)?,
            files: files.map_err(|error| EngineError::Unavailable(error.to_string()))?,
        })
    }

    fn add_model(&self, _: &str, _: &Entry) -> Result<(), String> {
        Err("the stub has one model".into())
    }

    fn open_model(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn remove_model(&self, _: &str) -> bool {
        false
    }

    fn clear_cache(&self) {}
}

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Config::load(&Flags::parse()) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("error: {}", faults.join("\nerror: "));
            return ExitCode::FAILURE;
        }
    };
    telemetry::init(config.log_json);
    match Server::start_with(config, Arc::new(Instantly)).await {
        Ok(server) => {
            println!("listening on http://{}", server.address);
            tokio::spawn(shutdown::on_signals(server.shutdown.clone()));
            server.stopped().await;
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
