//! What every database must do: one suite, run on each. PostgreSQL is tested where `T2V_TEST_POSTGRES` has its URL.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use t2v_pipeline::{Report, TextToVideoRequest};

use super::*;
use crate::job::{Failure, Idempotency, OutputType, State, Success};

const LEASE: Duration = Duration::from_secs(60);
const NO_LIMITS: QueueLimits = QueueLimits {
    per_owner: 1000,
    total: 1000,
};

fn worker(server: &str) -> WorkerName {
    WorkerName {
        server: server.to_owned(),
        number: 0,
    }
}

fn new_job(owner: &str) -> NewJob {
    let mut parameters = Report::default();
    parameters.model_id = "tiny-world".into();
    parameters.seed = 7;
    (parameters.width, parameters.height, parameters.num_frames) = (10, 10, 5);
    parameters.num_inference_steps = 3;
    let mut request = TextToVideoRequest::new("a red ball\0 in a \"blue\" sky").with_seed(7);
    request.webhook = Some("https://example.com/hook".into());
    request.track_id = Some("video_001".into());
    NewJob {
        owner: owner.to_owned(),
        request,
        parameters,
        init: None,
        pinned_to: None,
        idempotency: None,
        max_attempts: 3,
        keep: None,
        output_type: OutputType::Mp4,
        samples: 1,
        link: None,
    }
}

async fn submit(store: &dyn Store, job: &NewJob) -> Job {
    match store.submit(job, NO_LIMITS).await.unwrap() {
        Submitted::New(job) => *job,
        other => panic!("{other:?}"),
    }
}

async fn claim(store: &dyn Store) -> Job {
    store.claim(&worker("a"), LEASE).await.unwrap().unwrap()
}

async fn state(store: &dyn Store, id: JobId) -> State {
    store.job(id).await.unwrap().unwrap().state
}

fn success(output: &str, bytes: u64) -> Outcome {
    Outcome::Succeeded(Box::new(Success {
        output: output.to_owned(),
        bytes,
        report: Report::default(),
        generation_time: 1.5,
    }))
}

fn notice(job: &Job, host: &str) -> Notice {
    Notice {
        url: format!("https://{host}/hook"),
        host: host.to_owned(),
        body: format!("{{\"id\":\"{}\"}}", job.id),
    }
}

async fn a_job_comes_back_as_it_was_given(store: &dyn Store) {
    let mut new = new_job("me");
    new.init = Some(crate::job::InitObject {
        kind: crate::job::InitKind::Image,
        path: "inputs/x".into(),
        mask: Some("inputs/y".into()),
    });
    new.request.key = None;
    (new.output_type, new.samples, new.link) = (OutputType::Base64, 3, Some("link".into()));
    let job = submit(store, &new).await;
    let found = store.job(job.id).await.unwrap().unwrap();
    assert_eq!(
        (found.output_type, found.samples, found.link.as_deref()),
        (OutputType::Base64, 3, Some("link"))
    );
    assert_eq!((found.state, found.attempt), (State::Queued, 0));
    assert_eq!(found.request, new.request);
    assert_eq!(found.parameters, new.parameters);
    assert_eq!((found.owner.as_str(), found.init), ("me", new.init));
    assert!(found.created_at.0 > 1_600_000_000_000 && found.started_at.is_none());
    assert!(store.job(JobId(job.id.0 + 1)).await.unwrap().is_none());
    store.ping().await.unwrap();
}

async fn jobs_are_claimed_once_and_in_order(store: &dyn Store) {
    let mut expected = Vec::new();
    for _ in 0..4 {
        expected.push(submit(store, &new_job("me")).await.id);
    }
    let ahead = |id| async move { store.ahead(id).await.unwrap() };
    assert!(ahead(expected[0]).await.is_empty());
    let [ahead_of_last] = &ahead(expected[3]).await[..] else {
        panic!("one model");
    };
    assert_eq!((ahead_of_last.queued, ahead_of_last.queued_work), (3, 3 * 1500));
    let claimed = futures::future::join_all((0..6).map(|_| store.claim(&LONE, LEASE))).await;
    let claimed: Vec<JobId> = claimed
        .into_iter()
        .filter_map(|job| job.unwrap().map(|job| job.id))
        .collect();
    assert_eq!(claimed.iter().collect::<BTreeSet<_>>(), expected.iter().collect());
    assert_eq!(claimed.len(), 4);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.queued, counts.running), (0, 4));
    let running = ahead(expected[0]).await;
    assert_eq!((running[0].queued, running[0].running_work), (0, 4 * 1500));
}

static LONE: std::sync::LazyLock<WorkerName> = std::sync::LazyLock::new(|| worker("a"));

async fn a_later_attempt_fences_an_earlier_one(store: &dyn Store) {
    submit(store, &new_job("me")).await;
    let first = store
        .claim(&worker("a"), Duration::from_millis(20))
        .await
        .unwrap()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(store.reap(LEASE).await.unwrap().is_empty());
    let second = store.claim(&worker("b"), LEASE).await.unwrap().unwrap();
    assert_eq!((first.attempt, second.attempt), (1, 2));
    assert_eq!(
        store.heartbeat(first.claim(), LEASE, &Live::default()).await.unwrap(),
        Heartbeat::Lost
    );
    assert!(!store.finish(first.claim(), &success("late", 1), None).await.unwrap());
    assert!(!store.release(first.claim(), Duration::ZERO).await.unwrap());
    assert_eq!(
        store.heartbeat(second.claim(), LEASE, &Live::default()).await.unwrap(),
        Heartbeat::Held { cancel: false }
    );
    assert!(store.finish(second.claim(), &success("own", 1), None).await.unwrap());
    assert!(!store.finish(second.claim(), &success("own", 1), None).await.unwrap());
    let job = store.job(first.id).await.unwrap().unwrap();
    assert_eq!(job.success().unwrap().output, "own");
    assert!(store.is_output("own").await.unwrap() && !store.is_output("late").await.unwrap());
}

async fn a_heartbeat_keeps_a_job_and_tells_how_far_it_is(store: &dyn Store) {
    let id = submit(store, &new_job("me")).await.id;
    let job = store
        .claim(&worker("a"), Duration::from_millis(20))
        .await
        .unwrap()
        .unwrap();
    let live = Live {
        progress: Some(JobProgress {
            stage: "denoising".into(),
            done: 3,
            total: 25,
            percent: 12,
            eta: Some(1.5),
        }),
        preview: Some("data:image/png;base64,AA==".into()),
    };
    store.heartbeat(job.claim(), LEASE, &live).await.unwrap();
    store.heartbeat(job.claim(), LEASE, &Live::default()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(store.reap(LEASE).await.unwrap().is_empty());
    let found = store.job(id).await.unwrap().unwrap();
    assert_eq!(found.state, State::Running);
    assert_eq!((found.progress, found.preview), (live.progress, live.preview));
}

async fn a_job_whose_workers_are_lost_ends_after_its_attempts(store: &dyn Store) {
    let id = submit(store, &new_job("me")).await.id;
    for attempt in 1..=3 {
        let job = store
            .claim(&worker("a"), Duration::from_millis(5))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(job.attempt, attempt);
        tokio::time::sleep(Duration::from_millis(40)).await;
        let ended = store.reap(LEASE).await.unwrap();
        assert_eq!(ended, if attempt == 3 { vec![id] } else { vec![] });
    }
    assert!(store.claim(&worker("a"), LEASE).await.unwrap().is_none());
    let job = store.job(id).await.unwrap().unwrap();
    assert_eq!(
        (job.state, job.failure().unwrap().code.as_str()),
        (State::Failed, "worker_lost")
    );
    let due = store.due_notice(LEASE, 2).await.unwrap().unwrap();
    assert!(
        due.body.contains("\"failed\"") && due.body.contains("video_001"),
        "{}",
        due.body
    );
}

async fn a_job_that_is_handed_back_is_as_before(store: &dyn Store) {
    let id = submit(store, &new_job("me")).await.id;
    let later = submit(store, &new_job("me")).await.id;
    for _ in 0..5 {
        let job = claim(store).await;
        assert_eq!(job.id, id, "it keeps its place");
        assert!(store.release(job.claim(), Duration::ZERO).await.unwrap());
    }
    let job = claim(store).await;
    assert!(job.max_attempts - job.attempt >= 2);
    store.release(job.claim(), LEASE).await.unwrap();
    assert_eq!(claim(store).await.id, later, "what waits for something lets others by");
}

async fn the_end_of_a_job_and_its_webhook_are_one(store: &dyn Store) {
    submit(store, &new_job("me")).await;
    let job = claim(store).await;
    let stale = Claim {
        id: job.id,
        attempt: job.attempt + 1,
    };
    let webhook = notice(&job, "example.com");
    assert!(!store.finish(stale, &success("x", 1), Some(&webhook)).await.unwrap());
    assert!(store.due_notice(LEASE, 2).await.unwrap().is_none());
    assert!(
        store
            .finish(job.claim(), &success("x", 1), Some(&webhook))
            .await
            .unwrap()
    );
    let due = store.due_notice(LEASE, 2).await.unwrap().unwrap();
    assert_eq!((due.job, &due.body, &due.url), (job.id, &webhook.body, &webhook.url));
    assert!(store.due_notice(LEASE, 2).await.unwrap().is_none());
}

async fn a_webhook_is_tried_until_it_is_settled(store: &dyn Store) {
    submit(store, &new_job("me")).await;
    let job = claim(store).await;
    let webhook = notice(&job, "example.com");
    store
        .finish(job.claim(), &success("x", 1), Some(&webhook))
        .await
        .unwrap();
    let first = store.due_notice(Duration::from_millis(10), 2).await.unwrap().unwrap();
    // Its sender was killed.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let second = store.due_notice(LEASE, 2).await.unwrap().unwrap();
    assert_eq!((first.id, first.attempt, second.attempt), (second.id, 1, 2));
    assert!(second.age >= first.age);
    let settle = |due: DueNotice, settlement| async move {
        store.settle_notice(due.id, due.attempt, &settlement).await.unwrap()
    };
    assert!(!settle(first, Settlement::Delivered).await);
    let later = Settlement::Later(Duration::from_millis(30), "refused".into());
    assert!(settle(second, later).await);
    assert!(store.due_notice(LEASE, 2).await.unwrap().is_none());
    assert_eq!(store.counts().await.unwrap().undelivered, 1);
    tokio::time::sleep(Duration::from_millis(80)).await;
    let third = store.due_notice(LEASE, 2).await.unwrap().unwrap();
    assert!(settle(third, Settlement::Delivered).await);
    assert_eq!(store.counts().await.unwrap().undelivered, 0);
}

async fn a_dead_receiver_holds_no_other_up(store: &dyn Store) {
    for host in ["dead.example", "dead.example", "dead.example", "alive.example"] {
        submit(store, &new_job("me")).await;
        let job = claim(store).await;
        store
            .finish(job.claim(), &success(&job.id.to_string(), 1), Some(&notice(&job, host)))
            .await
            .unwrap();
    }
    let mut hosts = Vec::new();
    while let Some(due) = store.due_notice(LEASE, 2).await.unwrap() {
        hosts.push(due.url);
    }
    let [dead, alive] = ["https://dead.example/hook", "https://alive.example/hook"];
    assert_eq!(hosts, [dead, dead, alive]);
}

async fn identical_submissions_are_one_job(store: &dyn Store) {
    let mut job = new_job("me");
    job.idempotency = Some(Idempotency {
        key: "once".into(),
        digest: "a".into(),
    });
    let all = futures::future::join_all((0..50).map(|_| store.submit(&job, NO_LIMITS))).await;
    let (mut ids, mut new) = (BTreeSet::new(), 0);
    for submitted in all {
        match submitted.unwrap() {
            Submitted::New(job) => {
                new += 1;
                ids.insert(job.id);
            }
            Submitted::Existing(job) => {
                ids.insert(job.id);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((new, ids.len()), (1, 1));
    job.owner = "you".into();
    assert!(matches!(
        store.submit(&job, NO_LIMITS).await.unwrap(),
        Submitted::New(_)
    ));
    job.idempotency.as_mut().unwrap().digest = "b".into();
    assert!(matches!(
        store.submit(&job, NO_LIMITS).await.unwrap(),
        Submitted::Conflict
    ));
}

async fn a_full_queue_takes_no_more(store: &dyn Store) {
    let limits = QueueLimits { per_owner: 2, total: 3 };
    for (owner, fits) in [
        ("me", true),
        ("me", true),
        ("me", false),
        ("you", true),
        ("them", false),
    ] {
        let submitted = store.submit(&new_job(owner), limits).await.unwrap();
        match (owner, fits) {
            (_, true) => assert!(matches!(submitted, Submitted::New(_)), "{submitted:?}"),
            ("me", _) => assert!(matches!(submitted, Submitted::OwnerFull), "{submitted:?}"),
            _ => assert!(matches!(submitted, Submitted::QueueFull), "{submitted:?}"),
        }
    }
}

async fn cancelling_is_the_owners(store: &dyn Store) {
    let queued = submit(store, &new_job("me")).await.id;
    assert!(store.cancel(queued, "you").await.unwrap().is_none());
    assert!(!store.delete(queued, "you").await.unwrap());
    assert_eq!(store.cancel_queued("you").await.unwrap(), 0);
    assert_eq!(state(store, queued).await, State::Queued);
    assert_eq!(
        store.cancel(queued, "me").await.unwrap().unwrap().state,
        State::Cancelled
    );
    assert!(
        store.due_notice(LEASE, 2).await.unwrap().is_some(),
        "its webhook is told"
    );

    submit(store, &new_job("me")).await;
    let running = claim(store).await;
    assert_eq!(
        store.cancel(running.id, "me").await.unwrap().unwrap().state,
        State::Running
    );
    assert_eq!(
        store.heartbeat(running.claim(), LEASE, &Live::default()).await.unwrap(),
        Heartbeat::Held { cancel: true }
    );
    store
        .finish(running.claim(), &Outcome::cancelled(), None)
        .await
        .unwrap();
    let again = store.cancel(running.id, "me").await.unwrap().unwrap();
    assert_eq!((again.state, again.attempt), (State::Cancelled, 1));

    for _ in 0..2 {
        submit(store, &new_job("me")).await;
    }
    assert_eq!(store.cancel_queued("me").await.unwrap(), 2);
    assert_eq!(store.counts().await.unwrap().queued, 0);
}

async fn a_cancelled_job_of_a_lost_worker_is_cancelled(store: &dyn Store) {
    let id = submit(store, &new_job("me")).await.id;
    store.claim(&worker("a"), Duration::from_millis(5)).await.unwrap();
    store.cancel(id, "me").await.unwrap();
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert_eq!(store.reap(LEASE).await.unwrap(), [id]);
    assert_eq!(state(store, id).await, State::Cancelled);
}

async fn lists_have_pages(store: &dyn Store) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(submit(store, &new_job("me")).await.id);
    }
    submit(store, &new_job("you")).await;
    store.delete(ids[1], "me").await.unwrap();
    let list = |after, limit, ascending| async move {
        let page = Page {
            after,
            limit,
            ascending,
        };
        let (jobs, more) = store.list("me", page).await.unwrap();
        (jobs.iter().map(|job| job.id).collect::<Vec<_>>(), more)
    };
    assert_eq!(list(None, 2, false).await, (vec![ids[4], ids[3]], true));
    assert_eq!(list(Some(ids[3]), 2, false).await, (vec![ids[2], ids[0]], false));
    assert_eq!(list(None, 3, true).await, (vec![ids[0], ids[2], ids[3]], true));
    assert_eq!(list(Some(ids[3]), 3, true).await, (vec![ids[4]], false));
    assert!(store.job(ids[1]).await.unwrap().is_none());
}

async fn a_pinned_job_stays_with_its_server(store: &dyn Store) {
    let mut job = new_job("me");
    job.pinned_to = Some("a".into());
    let id = submit(store, &job).await.id;
    assert!(store.claim(&worker("b"), LEASE).await.unwrap().is_none());
    assert_eq!(store.server_seen("a", LEASE).await.unwrap(), 1);
    assert_eq!(store.server_seen("b", LEASE).await.unwrap(), 2);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(store.reap(LEASE).await.unwrap().is_empty());
    assert_eq!(store.server_seen("b", Duration::from_millis(40)).await.unwrap(), 1);
    assert_eq!(store.reap(Duration::from_millis(40)).await.unwrap(), [id]);
    let job = store.job(id).await.unwrap().unwrap();
    assert_eq!(
        (job.state, job.failure().unwrap().code.as_str()),
        (State::Failed, "server_lost")
    );
    let mut job = new_job("me");
    job.pinned_to = Some("b".into());
    let id = submit(store, &job).await.id;
    assert_eq!(store.claim(&worker("b"), LEASE).await.unwrap().unwrap().id, id);
}

async fn what_is_old_or_too_much_can_be_removed(store: &dyn Store) {
    let mut ids = Vec::new();
    for (number, keep) in [(0, Some(Duration::ZERO)), (1, None), (2, None), (3, None)] {
        let mut new = new_job("me");
        new.keep = keep;
        submit(store, &new).await;
        let job = claim(store).await;
        store
            .finish(job.claim(), &success(&format!("o{number}"), 100), None)
            .await
            .unwrap();
        ids.push(job.id);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let removable = |most| async move {
        let jobs = store.removable(most, 10).await.unwrap();
        jobs.iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(removable(None).await, [ids[0]]);
    assert_eq!(removable(Some(250)).await, [ids[0], ids[1]]);
    store.purged(ids[0]).await.unwrap();
    assert_eq!(removable(Some(250)).await, [ids[1]]);
    assert!(store.job(ids[0]).await.unwrap().unwrap().is_purged);
    store.delete(ids[3], "me").await.unwrap();
    assert_eq!(removable(None).await, [ids[3]]);
    store.purged(ids[3]).await.unwrap();
    assert!(removable(None).await.is_empty());
    assert!(!store.is_output("o3").await.unwrap() && store.is_output("o2").await.unwrap());
}

async fn the_pace_of_a_model_is_measured(store: &dyn Store) {
    let pace = async |model: &str, speed| store.pace(model, speed).await.unwrap();
    assert!(pace("tiny-world", Speed::Exact).await.is_none());
    // The second one is three times the work, and took as long: 3 seconds for 4 * 1500 units in all.
    for frames in [5, 15] {
        let mut new = new_job("me");
        new.parameters.num_frames = frames;
        submit(store, &new).await;
        let job = claim(store).await;
        let output = format!("x{frames}");
        store.finish(job.claim(), &success(&output, 1), None).await.unwrap();
    }
    let close =
        |pace: Option<f64>, expected: f64| assert!((pace.unwrap() - expected).abs() < 1e-9, "{pace:?} {expected}");
    close(pace("tiny-world", Speed::Exact).await, 3.0 / 6000.0);
    assert!(pace("another", Speed::Exact).await.is_none());
    // Nothing was measured at this speed yet; then it has a pace of its own, and the other keeps its own.
    close(pace("tiny-world", Speed::Fast).await, 3.0 / 6000.0);
    let mut new = new_job("me");
    (new.parameters.num_inference_steps, new.parameters.speed) = (16, Speed::Fast);
    submit(store, &new).await;
    let job = claim(store).await;
    let [running] = &store.ahead(job.id).await.unwrap()[..] else {
        panic!("one model at one speed");
    };
    // Every second call of 16 is whole, the others are an eighth: 9 calls of 500 pixels.
    assert_eq!((running.speed, running.running_work), (Speed::Fast, 9 * 500));
    store.finish(job.claim(), &success("fast", 1), None).await.unwrap();
    let own = pace("tiny-world", Speed::Fast).await;
    assert!(
        own.is_some() && own != pace("tiny-world", Speed::Exact).await,
        "{own:?}"
    );
    close(own, 1.5 / 4500.0);
    close(pace("tiny-world", Speed::Exact).await, 3.0 / 6000.0);
}

async fn a_link_leads_to_the_output_while_it_is_there(store: &dyn Store) {
    let mut new = new_job("me");
    new.link = Some("later".into());
    let id = submit(store, &new).await.id;
    let linked = || async { store.linked_output("later").await.unwrap() };
    assert_eq!(linked().await, None);
    let job = claim(store).await;
    store.finish(job.claim(), &success("o", 1), None).await.unwrap();
    assert_eq!(linked().await.as_deref(), Some("o"));
    assert_eq!(store.linked_output("o").await.unwrap(), None);
    store.purged(id).await.unwrap();
    assert_eq!(linked().await, None);
}

async fn what_a_job_without_a_video_started_from_is_removed(store: &dyn Store) {
    let mut new = new_job("me");
    new.init = Some(crate::job::InitObject {
        kind: crate::job::InitKind::Image,
        path: "inputs/x".into(),
        mask: Some("inputs/y".into()),
    });
    let id = submit(store, &new).await.id;
    assert!(store.removable(None, 10).await.unwrap().is_empty());
    store.cancel(id, "me").await.unwrap();
    assert_eq!(store.removable(None, 10).await.unwrap()[0].id, id);
    store.purged(id).await.unwrap();
    assert!(store.removable(None, 10).await.unwrap().is_empty());
}

/// Ends the next job, with a webhook if there is one to give.
async fn end(store: &dyn Store, output: Option<&str>, host: Option<&str>) -> JobId {
    submit(store, &new_job("me")).await;
    let job = claim(store).await;
    let outcome = match output {
        Some(output) => success(output, 1),
        None => Outcome::Failed(Failure::new("x", "y")),
    };
    let notice = host.map(|host| notice(&job, host));
    assert!(store.finish(job.claim(), &outcome, notice.as_ref()).await.unwrap());
    job.id
}

async fn old_jobs_are_forgotten_but_never_before_their_webhook(store: &dyn Store) {
    let video = end(store, Some("o"), None).await;
    let removed = end(store, Some("p"), None).await;
    store.purged(removed).await.unwrap();
    let failed = end(store, None, None).await;
    let told = end(store, None, Some("told.example.com")).await;
    let due = store.due_notice(LEASE, 1).await.unwrap().unwrap();
    assert!(
        store
            .settle_notice(due.id, due.attempt, &Settlement::Delivered)
            .await
            .unwrap()
    );
    let waiting = end(store, None, Some("away.example.com")).await;
    let queued = submit(store, &new_job("me")).await.id;
    tokio::time::sleep(Duration::from_millis(20)).await;

    assert_eq!(store.trim(LEASE, 10).await.unwrap(), 0, "none is old enough");
    let age = Duration::from_millis(5);
    assert_eq!(
        store.trim(age, 2).await.unwrap(),
        2,
        "no more than asked for, the oldest first"
    );
    assert!(store.job(told).await.unwrap().is_some());
    assert_eq!(store.trim(age, 10).await.unwrap(), 1);
    for id in [removed, failed, told] {
        assert!(store.job(id).await.unwrap().is_none());
    }
    for id in [video, waiting, queued] {
        assert!(store.job(id).await.unwrap().is_some());
    }
    // Its webhook is still delivered, and then the job goes, too.
    let due = store.due_notice(LEASE, 1).await.unwrap().unwrap();
    assert_eq!(due.job, waiting);
    assert_eq!(store.trim(age, 10).await.unwrap(), 0, "it is under way");
    let given_up = Settlement::GivenUp("gone".into());
    assert!(store.settle_notice(due.id, due.attempt, &given_up).await.unwrap());
    assert_eq!(store.trim(age, 10).await.unwrap(), 1);
    assert_eq!(store.counts().await.unwrap().queued, 1);
}

async fn settings_and_models_are_shared(store: &dyn Store) {
    assert_eq!(store.setting("x").await.unwrap(), None);
    assert_eq!(store.setting_or_insert("x", "1").await.unwrap(), "1");
    assert_eq!(store.setting_or_insert("x", "2").await.unwrap(), "1");
    store.set_setting("x", "3").await.unwrap();
    assert_eq!(store.setting("x").await.unwrap().as_deref(), Some("3"));
    store.add_model("z", "models/z").await.unwrap();
    store.add_model("z", "models/z2").await.unwrap();
    let models = store.models().await.unwrap();
    assert_eq!((models.len(), models[0].source.as_str()), (1, "models/z2"));
    assert!(store.remove_model("z").await.unwrap() && !store.remove_model("z").await.unwrap());
}

async fn changes_are_heard(store: &dyn Store) {
    let mut changes = store.changes();
    let id = submit(store, &new_job("me")).await.id;
    let job = claim(store).await;
    store.cancel(id, "me").await.unwrap();
    store
        .finish(job.claim(), &Outcome::Failed(Failure::new("x", "y")), None)
        .await
        .unwrap();
    for expected in [Change::Queued, Change::Cancelling(id), Change::Finished(id)] {
        loop {
            let change = tokio::time::timeout(LEASE, changes.recv()).await.unwrap().unwrap();
            if change == expected {
                break;
            }
        }
    }
}

async fn sqlite() -> Option<(Arc<dyn Store>, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("t2v.sqlite").display());
    Some((open(&url).await.unwrap(), folder))
}

/// A database of one test.
struct TestDatabase {
    admin: sqlx::PgPool,
    name: String,
}

impl TestDatabase {
    async fn run(&self, statement: String) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&self.admin)
            .await
            .unwrap();
    }

    async fn create(&self) {
        self.run(format!("CREATE DATABASE {}", self.name)).await;
    }

    async fn remove(&self) {
        // Its connections may still be closing.
        self.run(format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

async fn postgres() -> Option<(Arc<dyn Store>, TestDatabase)> {
    let Ok(url) = std::env::var("T2V_TEST_POSTGRES") else {
        println!(
            "not run: T2V_TEST_POSTGRES has no URL of a PostgreSQL server, such as postgres://user:password@host/db"
        );
        return None;
    };
    let name = format!("t2v_test_{}", uuid::Uuid::new_v4().simple());
    let admin = sqlx::PgPool::connect(&url).await.unwrap();
    let database = TestDatabase { admin, name };
    database.create().await;
    let mut own = url::Url::parse(&url).unwrap();
    own.set_path(&database.name);
    Some((open(own.as_str()).await.unwrap(), database))
}

macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                if let Some((store, _kept)) = super::sqlite().await {
                    super::$test(store.as_ref()).await;
                }
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                if let Some((store, database)) = super::postgres().await {
                    super::$test(store.as_ref()).await;
                    drop(store);
                    database.remove().await;
                }
            })*
        }
    };
}

suite!(
    a_job_comes_back_as_it_was_given,
    jobs_are_claimed_once_and_in_order,
    a_later_attempt_fences_an_earlier_one,
    a_heartbeat_keeps_a_job_and_tells_how_far_it_is,
    a_job_whose_workers_are_lost_ends_after_its_attempts,
    a_job_that_is_handed_back_is_as_before,
    the_end_of_a_job_and_its_webhook_are_one,
    a_webhook_is_tried_until_it_is_settled,
    a_dead_receiver_holds_no_other_up,
    identical_submissions_are_one_job,
    a_full_queue_takes_no_more,
    cancelling_is_the_owners,
    a_cancelled_job_of_a_lost_worker_is_cancelled,
    lists_have_pages,
    a_pinned_job_stays_with_its_server,
    what_is_old_or_too_much_can_be_removed,
    the_pace_of_a_model_is_measured,
    a_link_leads_to_the_output_while_it_is_there,
    what_a_job_without_a_video_started_from_is_removed,
    old_jobs_are_forgotten_but_never_before_their_webhook,
    settings_and_models_are_shared,
    changes_are_heard,
);

#[tokio::test]
async fn what_is_in_sqlite_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("t2v.sqlite").display());
    let id = {
        let store = open(&url).await.unwrap();
        submit(store.as_ref(), &new_job("me")).await.id
    };
    let store = open(&url).await.unwrap();
    assert_eq!(claim(store.as_ref()).await.id, id);
}

#[tokio::test]
async fn unusable_addresses_are_named_without_their_password() {
    for url in ["mysql://me:secret@localhost/x", "t2v.sqlite", ""] {
        let error = open(url).await.err().unwrap().to_string();
        assert!(error.contains("sqlite://") && !error.contains("secret"), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_of_sqlite_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("t2v.sqlite").display());
    let store = open(&url).await.unwrap();
    submit(store.as_ref(), &new_job("me")).await;
    let mut files = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        files += 1;
    }
    assert!(files >= 2, "the database and its log");
}

#[tokio::test]
async fn webhooks_are_forgotten_with_their_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("t2v.sqlite").display());
    let store = open(&url).await.unwrap();
    end(store.as_ref(), None, Some("example.com")).await;
    let due = store.due_notice(LEASE, 1).await.unwrap().unwrap();
    store
        .settle_notice(due.id, due.attempt, &Settlement::Delivered)
        .await
        .unwrap();
    let kept = sqlx::SqlitePool::connect(&url).await.unwrap();
    let count = || async {
        sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM outbox")
            .fetch_one(&kept)
            .await
            .unwrap()
    };
    store.trim(LEASE, 10).await.unwrap();
    assert_eq!(count().await, 1);
    tokio::time::sleep(Duration::from_millis(20)).await;
    store.trim(Duration::from_millis(5), 10).await.unwrap();
    assert_eq!(count().await, 0);
}
