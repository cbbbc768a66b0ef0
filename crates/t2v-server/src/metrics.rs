//! What is measured, in Prometheus' text format.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{
    job::Outcome,
    store::{Counts, Settlement},
};

/// Seconds that generations and waits take.
const LONG: [f64; 12] = [
    0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
];
/// Seconds that steps and requests take.
const SHORT: [f64; 12] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    route: String,
    status: u16,
}

/// What one server measures.
pub struct Metrics {
    registry: Registry,
    jobs: Family<StateLabel, Gauge>,
    ended: Family<StateLabel, Counter>,
    webhooks: Family<StateLabel, Counter>,
    undelivered: Gauge,
    waits: Histogram,
    generations: Histogram,
    steps: Histogram,
    requests: Family<RequestLabel, Counter>,
    request_times: Histogram,
    memory: Gauge,
    memory_peak: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing measured yet.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("t2v"),
            jobs: Family::default(),
            ended: Family::default(),
            webhooks: Family::default(),
            undelivered: Gauge::default(),
            waits: Histogram::new(LONG),
            generations: Histogram::new(LONG),
            steps: Histogram::new(SHORT),
            requests: Family::default(),
            request_times: Histogram::new(SHORT),
            memory: Gauge::default(),
            memory_peak: Gauge::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("jobs", "Jobs that have not ended, of all servers", self.jobs.clone());
        registry.register("jobs_ended", "Jobs that this server ended", self.ended.clone());
        registry.register("webhooks", "Attempts to deliver a webhook", self.webhooks.clone());
        registry.register(
            "webhooks_undelivered",
            "Webhooks to be delivered",
            self.undelivered.clone(),
        );
        let waits = "Time from a job's acceptance to its begin";
        registry.register_with_unit("wait", waits, Unit::Seconds, self.waits.clone());
        let generations = "Time from a job's begin to its stored video";
        registry.register_with_unit("generation", generations, Unit::Seconds, self.generations.clone());
        let steps = "Time of a denoising step";
        registry.register_with_unit("step", steps, Unit::Seconds, self.steps.clone());
        registry.register("http_requests", "Requests that were answered", self.requests.clone());
        let times = "Time from a request to the head of its answer";
        registry.register_with_unit("http_request", times, Unit::Seconds, self.request_times.clone());
        registry.register_with_unit("memory", "Memory in use", Unit::Bytes, self.memory.clone());
        registry.register_with_unit(
            "memory_peak",
            "Most memory in use so far",
            Unit::Bytes,
            self.memory_peak.clone(),
        );
        self
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.waits.observe(time.as_secs_f64());
    }

    pub(crate) fn stepped(&self, time: Duration) {
        self.steps.observe(time.as_secs_f64());
    }

    pub(crate) fn ended(&self, outcome: &Outcome) {
        if let Outcome::Succeeded(success) = outcome {
            self.generations.observe(success.generation_time);
        }
        let state = outcome.state().name();
        self.ended.get_or_create(&StateLabel { state }).inc();
    }

    pub(crate) fn delivered(&self, settlement: &Settlement) {
        let state = match settlement {
            Settlement::Delivered => "delivered",
            Settlement::Later(..) => "failed",
            Settlement::GivenUp(_) => "given_up",
        };
        self.webhooks.get_or_create(&StateLabel { state }).inc();
    }

    pub(crate) fn answered(&self, route: &str, status: u16, time: Duration) {
        let label = RequestLabel {
            route: route.to_owned(),
            status,
        };
        self.requests.get_or_create(&label).inc();
        self.request_times.observe(time.as_secs_f64());
    }

    /// All of it as text; `counts`: what there is in the database, if it answers.
    #[must_use]
    pub fn text(&self, counts: Option<Counts>) -> String {
        if let Some(counts) = counts {
            for (state, count) in [("queued", counts.queued), ("running", counts.running)] {
                let gauge = self.jobs.get_or_create(&StateLabel { state });
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
            self.undelivered
                .set(i64::try_from(counts.undelivered).unwrap_or(i64::MAX));
        }
        if let Some((now, peak)) = memory() {
            self.memory.set(now);
            self.memory_peak.set(peak as f64);
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Bytes of this process in memory, now and at most, where the system tells.
fn memory() -> Option<(i64, i64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = |name: &str| -> Option<i64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches("kB").trim().parse().ok()
    };
    Some((kib("VmRSS:")? * 1024, kib("VmHWM:")? * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_told() {
        let metrics = Metrics::new();
        metrics.waited(Duration::from_secs(2));
        metrics.stepped(Duration::from_millis(20));
        metrics.ended(&Outcome::cancelled());
        metrics.delivered(&Settlement::Delivered);
        metrics.answered("/v1/videos", 200, Duration::from_millis(2));
        let counts = Counts {
            queued: 3,
            running: 1,
            undelivered: 2,
        };
        let text = metrics.text(Some(counts));
        for line in [
            "t2v_jobs{state=\"queued\"} 3",
            "t2v_jobs{state=\"running\"} 1",
            "t2v_webhooks_undelivered 2",
            "t2v_jobs_ended_total{state=\"cancelled\"} 1",
            "t2v_webhooks_total{state=\"delivered\"} 1",
            "t2v_wait_seconds_count 1",
            "t2v_step_seconds_count 1",
            "t2v_http_requests_total{route=\"/v1/videos\",status=\"200\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
