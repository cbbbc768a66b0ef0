//! The tests of the crate from outside.

#![allow(clippy::unwrap_used)]

mod cluster;
mod faults;
#[cfg(target_os = "linux")]
mod full_disk;
mod jobs;
mod later_fields;
mod legacy_api;
mod page;
mod pictures;
mod program;
#[cfg(feature = "s3")]
mod s3;
mod support;
mod videos_api;
