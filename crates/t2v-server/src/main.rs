//! The program: a configuration is read, a server is started, and signals stop it.

use std::{io::Write, process::ExitCode};

use clap::Parser;
use t2v_server::{
    config::{Config, Flags},
    server::{Server, StartError},
    shutdown, telemetry,
};

fn main() -> ExitCode {
    let flags = Flags::parse();
    let config = match Config::load(&flags) {
        Ok(config) => config,
        Err(faults) => {
            for fault in faults {
                eprintln!("error: {fault}");
            }
            return ExitCode::FAILURE;
        }
    };
    if flags.check_config {
        return told(&config);
    }
    telemetry::init(config.log_json);
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tells whether the files of a configuration are there; what else may be wrong was told before.
fn told(config: &Config) -> ExitCode {
    let missing = config.missing_files();
    for fault in &missing {
        eprintln!("error: {fault}");
    }
    if !missing.is_empty() {
        return ExitCode::FAILURE;
    }
    println!("the configuration is in order");
    ExitCode::SUCCESS
}

fn run(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served: Result<(), StartError> = runtime.block_on(async {
        let server = Server::start(config).await?;
        greet(&server);
        tokio::spawn(shutdown::on_signals(server.shutdown.clone()));
        server.stopped().await;
        Ok(())
    });
    // An engine that does not stop must not keep the process.
    runtime.shutdown_background();
    Ok(served?)
}

/// Tells where the server is. Whether anybody reads it is no matter.
fn greet(server: &Server) {
    let mut out = std::io::stdout().lock();
    let (address, url) = (server.address, &server.public_url);
    // What follows `#` stays in the browser.
    let (fragment, key) = match &server.new_key {
        Some(key) => (format!("#key={key}"), format!("key (it is not shown again): {key}\n")),
        None => (String::new(), String::new()),
    };
    let _ = write!(
        out,
        "listening on http://{address}\npage: {url}/{fragment}\ndocs: {url}/docs\n{key}"
    )
    .and_then(|()| out.flush());
}
