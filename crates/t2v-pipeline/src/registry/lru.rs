//! Loaded values by name: the least recently used ones give way, none is loaded twice.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

/// Values by name, kept up to a number of bytes.
///
/// A value that somebody still holds when it gives way lives on until it is let go of, and is found again until then:
/// no second copy is loaded meanwhile.
pub(super) struct Lru<T> {
    budget: Option<u64>,
    state: Mutex<State<T>>,
}

struct State<T> {
    entries: BTreeMap<String, Entry<T>>,
    clock: u64,
}

struct Entry<T> {
    /// Held while the value is loaded.
    gate: Arc<Mutex<()>>,
    kept: Option<Arc<T>>,
    alive: Weak<T>,
    bytes: u64,
    used: u64,
}

impl<T> Entry<T> {
    fn new() -> Self {
        Self {
            gate: Arc::default(),
            kept: None,
            alive: Weak::new(),
            bytes: 0,
            used: 0,
        }
    }

    fn is_alive(&self) -> bool {
        self.alive.strong_count() > 0
    }

    /// Whether somebody besides the cache holds the value.
    fn is_in_use(&self) -> bool {
        self.alive.strong_count() > usize::from(self.kept.is_some())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panicking loader leaves behind is an entry without a value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Lru<T> {
    /// `budget`: bytes; `None` keeps everything.
    pub(super) fn new(budget: Option<u64>) -> Self {
        let (entries, clock) = (BTreeMap::new(), 0);
        let state = Mutex::new(State { entries, clock });
        Self { budget, state }
    }

    /// The value `name`, loaded if there is none. `open` tells its bytes and gives what loads it; between the two room
    /// is made.
    pub(super) fn get_or_load<E, L: FnOnce() -> Result<T, E>>(
        &self,
        name: &str,
        open: impl FnOnce() -> Result<(u64, L), E>,
    ) -> Result<Arc<T>, E> {
        if let Some(value) = self.get(name) {
            return Ok(value);
        }
        let gate = Arc::clone(&lock(&self.state).entry(name).gate);
        let _loading = lock(&gate);
        if let Some(value) = self.get(name) {
            return Ok(value);
        }
        let loaded = open().and_then(|(bytes, load)| {
            lock(&self.state).make_room(self.budget, bytes, name);
            Ok((Arc::new(load()?), bytes))
        });
        let mut state = lock(&self.state);
        match loaded {
            Ok((value, bytes)) => {
                state.put(name, &gate, &value, bytes);
                state.make_room(self.budget, 0, name);
                Ok(value)
            }
            Err(error) => {
                // The map and this thread hold the gate: nobody else waits.
                let is_last = |entry: &Entry<T>| Arc::ptr_eq(&entry.gate, &gate) && Arc::strong_count(&gate) == 2;
                if state.entries.get(name).is_some_and(is_last) {
                    state.entries.remove(name);
                }
                Err(error)
            }
        }
    }

    fn get(&self, name: &str) -> Option<Arc<T>> {
        let mut state = lock(&self.state);
        state.clock += 1;
        let clock = state.clock;
        let entry = state.entries.get_mut(name)?;
        let value = entry.alive.upgrade()?;
        (entry.used, entry.kept) = (clock, Some(Arc::clone(&value)));
        state.make_room(self.budget, 0, name);
        Some(value)
    }

    /// Forgets `name`; who holds the value keeps it.
    pub(super) fn remove(&self, name: &str) {
        lock(&self.state).entries.remove(name);
    }

    /// Lets go of every value.
    pub(super) fn clear(&self) {
        for entry in lock(&self.state).entries.values_mut() {
            entry.kept = None;
        }
    }

    /// Names and bytes of the values in memory.
    pub(super) fn loaded(&self) -> Vec<(String, u64)> {
        let state = lock(&self.state);
        let alive = state.entries.iter().filter(|(_, entry)| entry.is_alive());
        alive.map(|(name, entry)| (name.clone(), entry.bytes)).collect()
    }
}

impl<T> State<T> {
    fn entry(&mut self, name: &str) -> &mut Entry<T> {
        self.entries.entry(name.into()).or_insert_with(Entry::new)
    }

    /// Keeps a loaded value, unless its name was removed meanwhile.
    fn put(&mut self, name: &str, gate: &Arc<Mutex<()>>, value: &Arc<T>, bytes: u64) {
        self.clock += 1;
        let used = self.clock;
        if let Some(entry) = self.entries.get_mut(name)
            && Arc::ptr_eq(&entry.gate, gate)
        {
            entry.kept = Some(Arc::clone(value));
            entry.alive = Arc::downgrade(value);
            (entry.bytes, entry.used) = (bytes, used);
        }
    }

    /// Lets go of values until `needed` bytes more fit the budget: idle ones first, which frees their memory, then
    /// those in use, whose memory their users free; of each the least recently used first, and `current` last.
    fn make_room(&mut self, budget: Option<u64>, needed: u64, current: &str) {
        let Some(budget) = budget else { return };
        let sum = |entries: &BTreeMap<String, Entry<T>>, counts: fn(&Entry<T>) -> bool| {
            entries.values().filter(|e| counts(e)).map(|e| e.bytes).sum::<u64>()
        };
        let mut alive = needed.saturating_add(sum(&self.entries, Entry::is_alive));
        let mut kept = needed.saturating_add(sum(&self.entries, |entry| entry.kept.is_some()));
        let mut order: Vec<_> = self
            .entries
            .iter_mut()
            .filter(|(_, entry)| entry.kept.is_some())
            .map(|(name, entry)| ((name == current, entry.is_in_use(), entry.used), entry))
            .collect();
        order.sort_by_key(|(rank, _)| *rank);
        for ((_, in_use, _), entry) in order {
            if (if in_use { kept } else { alive }) > budget {
                entry.kept = None;
                kept -= entry.bytes;
                alive -= if in_use { 0 } else { entry.bytes };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use super::*;

    type Loaded<T> = Result<T, Infallible>;

    fn loader<F: FnOnce() -> String>(bytes: u64, load: F) -> Loaded<(u64, impl FnOnce() -> Loaded<String>)> {
        Ok((bytes, move || Ok(load())))
    }

    fn get(lru: &Lru<String>, name: &str, bytes: u64) -> Arc<String> {
        lru.get_or_load(name, || loader(bytes, || name.to_uppercase()))
            .unwrap_or_else(|never| match never {})
    }

    fn names(lru: &Lru<String>) -> Vec<String> {
        lru.loaded().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn the_least_recently_used_gives_way() {
        let lru = Lru::new(Some(10));
        for name in ["a", "b", "c", "a"] {
            assert_eq!(*get(&lru, name, 3), name.to_uppercase());
        }
        assert_eq!(names(&lru), ["a", "b", "c"]);
        get(&lru, "d", 4);
        assert_eq!(names(&lru), ["a", "c", "d"]);
        get(&lru, "e", 10);
        assert_eq!(lru.loaded(), [("e".to_string(), 10)]);
    }

    #[test]
    fn room_is_made_before_loading() {
        let lru = Lru::new(Some(10));
        get(&lru, "a", 6);
        let loaded = lru.get_or_load("b", || loader(6, || names(&lru).join(" ")));
        assert_eq!(loaded, Ok(Arc::new(String::new())));
    }

    #[test]
    fn a_value_in_use_lives_on_and_is_found_again() {
        let lru = Lru::new(Some(10));
        let a = get(&lru, "a", 6);
        let b = get(&lru, "b", 6);
        assert_eq!(names(&lru), ["a", "b"]);
        assert!(Arc::ptr_eq(&a, &get(&lru, "a", 6)));
        drop(b);
        assert_eq!(names(&lru), ["a"]);
        drop(a);
        assert_eq!(names(&lru), ["a"]);
    }

    #[test]
    fn idle_values_go_before_older_ones_in_use() {
        let lru = Lru::new(Some(10));
        let _a = get(&lru, "a", 4);
        get(&lru, "b", 4);
        get(&lru, "c", 4);
        assert_eq!(names(&lru), ["a", "c"]);
    }

    #[test]
    fn a_value_beyond_the_budget_is_given_but_not_kept() {
        let lru = Lru::new(Some(10));
        let a = get(&lru, "a", 11);
        assert!(Arc::ptr_eq(&a, &get(&lru, "a", 11)));
        assert_eq!(names(&lru), ["a"]);
        drop(a);
        assert!(names(&lru).is_empty());
    }

    #[test]
    fn a_failure_is_not_kept() {
        let lru = Lru::<String>::new(None);
        type Opened = (u64, fn() -> Result<String, &'static str>);
        let failed = lru.get_or_load("a", || Err::<Opened, _>("no file"));
        assert_eq!(failed, Err("no file"));
        let failed = lru.get_or_load("a", || Ok::<Opened, _>((1, || Err("damaged"))));
        assert_eq!(failed, Err("damaged"));
        assert!(lock(&lru.state).entries.is_empty());
        assert_eq!(*get(&lru, "a", 1), "A");
    }

    #[test]
    fn what_is_removed_while_it_loads_is_not_kept() {
        let lru = Lru::<String>::new(None);
        let load = || {
            lru.remove("a");
            "old".to_string()
        };
        let old = lru.get_or_load("a", || loader(1, load));
        assert_eq!(old, Ok(Arc::new("old".to_string())));
        assert_eq!(*get(&lru, "a", 1), "A");
    }

    #[test]
    fn threads_wait_for_one_loader() {
        let lru = Lru::<String>::new(None);
        let (loads, start) = (AtomicUsize::new(0), Barrier::new(8));
        let load = || {
            loads.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(50));
            "a".to_string()
        };
        let ask = || {
            start.wait();
            lru.get_or_load("a", || loader(1, load))
        };
        std::thread::scope(|scope| {
            let asked: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            assert!(asked.into_iter().all(|thread| thread.join().is_ok()));
        });
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }
}
