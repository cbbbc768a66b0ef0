//! One at a time, in the order of coming; who waits can give up.

use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{CancelToken, PipelineError};

/// How soon a waiting generation notices that it was cancelled.
const PATIENCE: Duration = Duration::from_millis(20);

/// A value that is lent to one user at a time, first come, first served.
#[derive(Debug, Default)]
pub(crate) struct Turns<T> {
    queue: Mutex<Queue>,
    moved: Condvar,
    value: Mutex<T>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The user of the value, then those who wait for it.
    tickets: VecDeque<u64>,
    drawn: u64,
}

impl<T> Turns<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            queue: Mutex::default(),
            moved: Condvar::new(),
            value: Mutex::new(value),
        }
    }

    /// Waits for the value.
    ///
    /// # Errors
    /// [`PipelineError::Cancelled`], also while it waits.
    pub(crate) fn take(&self, cancel: &CancelToken) -> Result<Turn<'_, T>, PipelineError> {
        cancel.check()?;
        let place = Place::last(self);
        let mut queue = lock(&self.queue);
        while queue.tickets.front() != Some(&place.ticket) {
            (queue, _) = self
                .moved
                .wait_timeout(queue, PATIENCE)
                .unwrap_or_else(PoisonError::into_inner);
            if cancel.is_cancelled() {
                // The place is given up behind the lock.
                drop(queue);
                return Err(PipelineError::Cancelled);
            }
        }
        drop(queue);
        Ok(Turn {
            value: lock(&self.value),
            _place: place,
        })
    }
}

/// What a panicking user leaves behind is usable: components are put in their slots when they are whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value, until it is dropped. Fields are dropped in this order: the next in the queue finds the value unlocked.
pub(crate) struct Turn<'a, T> {
    value: MutexGuard<'a, T>,
    _place: Place<'a, T>,
}

impl<T> Deref for Turn<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Turn<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// A place in the queue.
struct Place<'a, T> {
    turns: &'a Turns<T>,
    ticket: u64,
}

impl<'a, T> Place<'a, T> {
    fn last(turns: &'a Turns<T>) -> Self {
        let mut queue = lock(&turns.queue);
        queue.drawn += 1;
        let ticket = queue.drawn;
        queue.tickets.push_back(ticket);
        Self { turns, ticket }
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        lock(&self.turns.queue).tickets.retain(|ticket| *ticket != self.ticket);
        self.turns.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use super::*;

    #[test]
    fn the_first_to_come_is_the_first_served() {
        let turns = Turns::new(Vec::new());
        let cancel = CancelToken::new();
        let first = turns.take(&cancel).unwrap();
        std::thread::scope(|scope| {
            for i in 0..8 {
                let (turns, cancel) = (&turns, &cancel);
                scope.spawn(move || turns.take(cancel).unwrap().push(i));
                while lock(&turns.queue).tickets.len() < i + 2 {
                    std::thread::yield_now();
                }
            }
            drop(first);
        });
        assert_eq!(*turns.take(&cancel).unwrap(), (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn who_waits_can_give_up_and_leaves_no_trace() {
        let turns = Turns::new(0);
        let held = turns.take(&CancelToken::new()).unwrap();
        let cancel = CancelToken::new();
        std::thread::scope(|scope| {
            let (told, hear) = mpsc::channel();
            let (turns, cancel) = (&turns, &cancel);
            scope.spawn(move || told.send(turns.take(cancel).map(|_| ())));
            assert!(hear.recv_timeout(Duration::from_millis(60)).is_err());
            cancel.cancel();
            let result = hear.recv_timeout(Duration::from_secs(30)).unwrap();
            assert!(matches!(result, Err(PipelineError::Cancelled)));
        });
        assert_eq!(lock(&turns.queue).tickets.len(), 1);
        drop(held);
        let start = Instant::now();
        *turns.take(&CancelToken::new()).unwrap() += 1;
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_panic_ends_a_turn() {
        let turns = Turns::new(0);
        std::thread::scope(|scope| {
            let panicking = scope.spawn(|| {
                let _turn = turns.take(&CancelToken::new()).unwrap();
                panic!("made up");
            });
            assert!(panicking.join().is_err());
        });
        *turns.take(&CancelToken::new()).unwrap() += 1;
    }
}
