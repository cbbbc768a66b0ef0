//! Text to video over HTTP.
//!
//! The key decision: a job is a row of a database from the moment at which it is accepted, and everything else looks there.
//! Servers are alike and keep nothing that matters to themselves, so one that is killed loses no job, and several on one
//! database share the work.
//!
//! The way of a request: [`api`] reads it and hands it to the [`service`], which has it checked by the [`models`] and stored
//! by the [`store`]. A [`worker`] claims it there, runs its engine, writes the [`outputs`], and ends the job in one
//! transaction with its webhook, which the [`outbox`] delivers.

pub mod admin;
pub mod api;
pub mod auth;
pub mod config;
pub mod document;
pub mod events;
pub mod faults;
pub mod health;
pub mod inputs;
pub mod job;
pub mod limits;
pub mod metrics;
pub mod models;
pub mod notice;
pub mod outbox;
pub mod outputs;
pub mod retention;
pub mod server;
pub mod service;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod worker;
