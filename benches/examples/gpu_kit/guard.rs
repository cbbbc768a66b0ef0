//! Failures of a device as errors, so that what follows is still tried.

use std::panic::{self, AssertUnwindSafe};

use t2v_benches::Error;

/// Runs work; a panic, by which backends say that a kernel can't be compiled or memory is short, is an error, too.
///
/// # Errors
/// The work's own, or the message of its panic.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied());
        Err(text.unwrap_or("a panic without a message").into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_errors() {
        let fault = guarded::<()>(|| panic!("no {}", "memory")).map_err(|fault| fault.to_string());
        assert_eq!(fault, Err("no memory".to_owned()));
        assert!(guarded(|| Ok(1)).is_ok_and(|value| value == 1));
    }
}
