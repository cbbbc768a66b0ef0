//! What happens to a video, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use serde_json::Value;
use tokio::sync::{broadcast, watch};

use super::{Bearer, videos::parse};
use crate::{
    api::{
        Shared,
        error::{OpenAi, OpenAiError},
    },
    auth::Owner,
    document::{Document, changed_fields},
    job::{Job, JobId},
    service::{Service, ServiceError},
    store::{Change, Live},
};

/// How soon it is looked for changes that nobody told of: of jobs on other servers, and of the queue.
const POLL: Duration = Duration::from_secs(1);
/// The least time between two events: a page needs no more.
const PACE: Duration = Duration::from_millis(100);

/// Follows a video until it ends: first an event `snapshot` with the whole document of the video, then events `patch`, each
/// with the fields of the document that changed and their new values, and at the end an event `end`. A field of a patch takes the
/// place of the document's whole, and `null` is a value like others (so this is not the Merge Patch of RFC 7396). After a lost
/// connection the same begins anew, so nothing is missed.
#[utoipa::path(
    get, path = "/v1/videos/{id}/events", tag = "videos", security(("key" = [])),
    params(("id" = String, Path, description = "The id of the video.")),
    responses(
        (status = 200, description = "The events.", body = Object, content_type = "text/event-stream"),
        (status = "4XX", description = "There is none, or the key is wrong.", body = OpenAiError),
        (status = "5XX", description = "Something is missing for now.", body = OpenAiError)
    )
)]
pub(super) async fn events(
    State(app): Shared,
    Bearer(owner): Bearer,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, OpenAi> {
    let job = app.service.job(&owner, parse(&id)?).await?;
    let follower = Follower {
        service: Arc::clone(&app.service),
        changes: app.service.store.changes(),
        live: None,
        owner,
        id: job.id,
        told: None,
        is_over: false,
    };
    let stream = futures::stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    // Proxies must not collect events.
    let unbuffered = [("x-accel-buffering", "no")];
    Ok((unbuffered, Sse::new(stream).keep_alive(KeepAlive::default())))
}

/// Follows one job for one client.
struct Follower {
    service: Arc<Service>,
    changes: broadcast::Receiver<Change>,
    /// What the job tells, while it runs here.
    live: Option<watch::Receiver<Live>>,
    owner: Owner,
    id: JobId,
    /// The document as the client knows it, and whether it is that of a job that has ended.
    told: Option<(Value, bool)>,
    is_over: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        while !self.is_over {
            match &self.told {
                None => {}
                Some((_, true)) => {
                    self.is_over = true;
                    return Some(Event::default().event("end").data("{}"));
                }
                Some(_) => self.changed().await?,
            }
            let Ok((job, document)) = self.look().await else {
                // Gone, or the database is: the client asks again and is told.
                return None;
            };
            let told = self.told.replace((document.clone(), job.state.is_final()));
            match told {
                None => return Some(Event::default().event("snapshot").data(document.to_string())),
                Some((old, _)) => {
                    if let Some(patch) = changed_fields(&old, &document) {
                        return Some(Event::default().event("patch").data(patch.to_string()));
                    }
                }
            }
        }
        None
    }

    async fn look(&self) -> Result<(Job, Value), ServiceError> {
        let job = self.service.job(&self.owner, self.id).await?;
        let document: Document = self.service.document(&job).await?;
        Ok((job, serde_json::to_value(document).unwrap_or_default()))
    }

    /// Waits until there may be something to tell; `None` when the server stops.
    async fn changed(&mut self) -> Option<()> {
        tokio::time::sleep(PACE).await;
        if self.live.is_none() {
            self.live = self.service.live(self.id);
        }
        tokio::select! {
            () = told(&mut self.live) => Some(()),
            () = concerns(&mut self.changes, self.id) => Some(()),
            () = tokio::time::sleep(POLL) => Some(()),
            () = self.service.shutdown.draining() => None,
        }
    }
}

/// Waits until a job that runs here tells something.
async fn told(live: &mut Option<watch::Receiver<Live>>) {
    if let Some(receiver) = live {
        if receiver.changed().await.is_ok() {
            return;
        }
        // The attempt is over; there may be another one.
        *live = None;
    }
    std::future::pending().await
}

/// Waits for a change of the job.
async fn concerns(changes: &mut broadcast::Receiver<Change>, job: JobId) {
    use broadcast::error::RecvError;
    loop {
        match changes.recv().await {
            Ok(Change::Finished(id) | Change::Cancelling(id)) if id == job => return,
            Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
