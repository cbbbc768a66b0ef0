//! From rows to jobs, the same for every database.

use serde::de::DeserializeOwned;
use sqlx::{ColumnIndex, Database, Decode, Row, Type};
use t2v_pipeline::TextToVideoRequest;

use super::{StoreError, StoreResult};
use crate::job::{Job, JobId, Timestamp};

/// The job in a row of the table `jobs`.
pub(super) fn job<'r, R>(row: &'r R) -> StoreResult<Job>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    let number = |column| row.try_get::<i64, _>(column);
    let text = |column| row.try_get::<Option<String>, _>(column);
    let time = |column| -> Result<_, sqlx::Error> { Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp)) };
    Ok(Job {
        id: JobId(number("id")?),
        owner: row.try_get("owner")?,
        state: row.try_get::<String, _>("state")?.parse().map_err(damaged("state"))?,
        request: request(&row.try_get::<String, _>("request")?)?,
        parameters: json("parameters", &row.try_get::<String, _>("parameters")?)?,
        init: optional_json("init", text("init")?)?,
        pinned_to: text("pinned_to")?,
        attempt: number("attempt")?,
        max_attempts: number("max_attempts")?,
        worker: text("worker")?,
        cancel_requested: number("cancel_requested")? != 0,
        progress: optional_json("progress", text("progress")?)?,
        preview: text("preview")?,
        outcome: optional_json("outcome", text("outcome")?)?,
        is_purged: time("purged_at")?.is_some(),
        output_type: row
            .try_get::<String, _>("output_type")?
            .parse()
            .map_err(damaged("output_type"))?,
        samples: u8::try_from(number("samples")?).map_err(damaged("samples"))?,
        link: text("link")?,
        created_at: Timestamp(number("created_at")?),
        started_at: time("started_at")?,
        finished_at: time("finished_at")?,
        expires_at: time("expires_at")?,
    })
}

/// As requests are read that come from clients: what was accepted once is accepted again.
fn request(json: &str) -> StoreResult<TextToVideoRequest> {
    TextToVideoRequest::from_slice(json.as_bytes()).map_err(damaged("request"))
}

fn optional_json<T: DeserializeOwned>(column: &'static str, text: Option<String>) -> StoreResult<Option<T>> {
    text.map(|text| json(column, &text)).transpose()
}

fn json<T: DeserializeOwned>(column: &'static str, text: &str) -> StoreResult<T> {
    serde_json::from_str(text).map_err(damaged(column))
}

fn damaged<E: ToString>(column: &'static str) -> impl Fn(E) -> StoreError {
    move |error| StoreError::Damaged {
        column,
        reason: error.to_string(),
    }
}

/// JSON of what a column takes.
pub(super) fn to_json<T: serde::Serialize>(column: &'static str, value: &T) -> StoreResult<String> {
    serde_json::to_string(value).map_err(damaged(column))
}

/// Makes sure that a type can be read of rows of a database; used where a statement returns one column.
pub(super) fn first<'r, R, T>(row: &'r R) -> StoreResult<T>
where
    R: Row,
    usize: ColumnIndex<R>,
    T: Decode<'r, R::Database> + Type<R::Database>,
    R::Database: Database,
{
    Ok(row.try_get(0)?)
}
