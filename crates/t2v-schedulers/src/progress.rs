//! The count of the steps of a run.

use crate::{SchedulerError, SchedulerKind};

/// Counts the model calls of a run against the number of timesteps.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    kind: SchedulerKind,
    len: usize,
    next: usize,
}

impl Progress {
    /// No timesteps are set.
    pub(crate) fn new(kind: SchedulerKind) -> Self {
        Self { kind, len: 0, next: 0 }
    }

    /// A new run of `len` calls, from the first.
    pub(crate) fn restart(&mut self, len: usize) {
        (self.len, self.next) = (len, 0);
    }

    /// Makes `index` the next call.
    pub(crate) fn begin_at(&mut self, index: usize) {
        self.next = index;
    }

    /// The next call's index.
    pub(crate) fn current(&self) -> Result<usize, SchedulerError> {
        self.check(self.next)
    }

    /// Goes on to the call after.
    pub(crate) fn advance(&mut self) {
        self.next += 1;
    }

    /// Passes on an index that belongs to a timestep.
    pub(crate) fn check(&self, index: usize) -> Result<usize, SchedulerError> {
        let Self { kind, len, .. } = *self;
        match len {
            0 => Err(SchedulerError::NoTimesteps { kind }),
            _ if index >= len => Err(SchedulerError::IndexOutOfRange { kind, index, len }),
            _ => Ok(index),
        }
    }
}
