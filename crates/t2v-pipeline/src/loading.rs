//! Reading a network's weights while their bytes are told, and until it is to stop.
//!
//! The network is read on the thread of the generation, where a GPU wants it, and what is told is told from another, so that a
//! large tensor keeps nobody waiting.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use t2v_weights::ReadMeter;

use crate::{PipelineError, monitor::Monitor};

/// From one report to the next.
const EVERY: Duration = Duration::from_millis(100);

/// Runs `load`, whose bytes `meter` counts, and tells them. A cancelled load leaves nothing behind.
///
/// # Errors
/// Those of `load`, and [`PipelineError::Cancelled`].
pub(crate) fn watched<T>(
    monitor: &mut Monitor<'_>,
    meter: &ReadMeter,
    load: impl FnOnce() -> Result<T, PipelineError>,
) -> Result<T, PipelineError> {
    meter.reset();
    monitor.advance(0, 0)?;
    let (finished, is_finished) = channel();
    let (loaded, told) = thread::scope(|scope| {
        let watcher = scope.spawn(|| tell(monitor, meter, is_finished));
        let loaded = load();
        drop(finished);
        (loaded, watcher.join())
    });
    let (is_stopped, total) = (meter.is_stopped(), meter.total() as usize);
    meter.reset();
    if let Err(panic) = told.flatten() {
        resume_unwind(panic);
    }
    if is_stopped {
        return Err(PipelineError::Cancelled);
    }
    let loaded = loaded?;
    monitor.advance(total, total)?;
    Ok(loaded)
}

/// Tells how much is read until it is finished, or has it stopped. Gives what a callback panicked with.
fn tell(monitor: &mut Monitor<'_>, meter: &ReadMeter, is_finished: Receiver<()>) -> thread::Result<()> {
    while let Err(RecvTimeoutError::Timeout) = is_finished.recv_timeout(EVERY) {
        let (read, total) = (meter.read() as usize, meter.total() as usize);
        // The end is told once, when the network is there.
        let is_within = (1..total).contains(&read);
        let told = match is_within {
            true => catch_unwind(AssertUnwindSafe(|| monitor.advance(read, total))),
            false => Ok(monitor.check()),
        };
        match told {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                meter.stop();
                return Ok(());
            }
            Err(panic) => {
                meter.stop();
                return Err(panic);
            }
        }
    }
    Ok(())
}
