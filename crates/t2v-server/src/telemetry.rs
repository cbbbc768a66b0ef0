//! Logs: structured, on standard error, without keys and prompts.

use tracing_subscriber::{EnvFilter, fmt};

/// What is logged where `RUST_LOG` does not say.
const USUAL: &str = "info,sqlx=warn,hyper=warn";

/// Begins to log, as text or as JSON with a line each. Does nothing where somebody did so before.
pub fn init(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL));
    let logs = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let begun = match json {
        true => logs.json().flatten_event(true).try_init(),
        false => logs
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init(),
    };
    if begun.is_err() {
        tracing::debug!("logs go where they went before");
    }
}
