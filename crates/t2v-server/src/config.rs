//! The configuration: flags, before the environment (`T2V_…`), before a TOML file, before defaults.

mod fields;
mod flags;
mod models;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use fields::Fields;
pub use flags::Flags;
use serde::Deserialize;
use t2v_pipeline::{DeviceName, Dtype, webhook::WebhookSecret};

use crate::{outputs::StorageSettings, worker::engine::Entry};

/// All that a server can be told. `Debug` shows no keys and secrets.
#[derive(Clone)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where what is not said elsewhere is kept.
    pub data_dir: PathBuf,
    /// Where jobs are: `sqlite://…` or `postgres://…`.
    pub database: String,
    /// Where videos are.
    pub storage: StorageSettings,
    /// Whether a folder of videos is one that all servers of the database see.
    pub storage_is_shared: bool,
    /// Where clients find the server; `None`: where it listens, which is one address then.
    pub public_url: Option<String>,
    /// What the server calls itself; `None`: a name that is drawn once and kept in the data folder.
    pub name: Option<String>,
    /// Keys that may do everything.
    pub keys: Vec<String>,
    /// Further keys, by their hashes.
    pub hashed_keys: Vec<HashedKey>,
    /// Models by name, besides the embedded one, and what requests may add to them.
    pub models: BTreeMap<String, Entry>,
    /// The model of requests that name none.
    pub default_model: Option<String>,
    /// Folders below which `load_model` may open models.
    pub model_roots: Vec<PathBuf>,
    /// Whether `load_model` may open, and so download, models of the hub.
    pub allow_hub: bool,
    /// What models run on.
    pub device: DeviceName,
    /// What their networks compute in.
    pub dtype: Dtype,
    /// Jobs at once; 0: only serve.
    pub workers: usize,
    /// How long `text2video` waits for the video.
    pub wait: Duration,
    /// Whether webhooks and files to start from may be `http://` and at private addresses.
    pub allow_private_webhooks: bool,
    /// What webhooks are signed with; `None`: a secret that is drawn once and kept in the database.
    pub webhook_secret: Option<WebhookSecret>,
    /// Jobs of one key that may wait or run.
    pub queued_per_key: u64,
    /// Jobs that may wait in all.
    pub queued: u64,
    /// Requests of one key a second.
    pub requests_per_second: Option<u32>,
    /// How often a job may be begun.
    pub max_attempts: u32,
    /// How long a job is a worker's without a heartbeat.
    pub lease: Duration,
    /// The longest generation.
    pub timeout: Duration,
    /// How long work under way is waited for when the server stops.
    pub grace: Duration,
    /// How long a job waits for the only server that may run it.
    pub server_limit: Duration,
    /// How long videos are kept; `None`: as long as there is room.
    pub keep: Option<Duration>,
    /// The most bytes of all videos; the oldest go first.
    pub keep_bytes: Option<u64>,
    /// How long jobs are known after their end, if their videos are gone.
    pub keep_jobs: Duration,
    /// The most bytes of a request.
    pub body_limit: usize,
    /// Whether `restart_server` may stop the server: something must be there to start it again.
    pub allow_restart: bool,
    /// Logs as JSON, a line each.
    pub log_json: bool,
}

/// A key that is given by its hash, with limits of its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashedKey {
    /// SHA-256 of the key, in hexadecimal digits.
    pub sha256: String,
    /// Whether it may change models, the storage and the server.
    #[serde(default)]
    pub admin: bool,
    /// Requests a second.
    #[serde(default)]
    pub requests_per_second: Option<u32>,
    /// Jobs that may wait or run.
    #[serde(default)]
    pub queued: Option<u64>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("data_dir", &self.data_dir)
            .field("storage", &self.storage)
            .field("models", &self.models)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Puts a configuration together from flags, the environment, and the file that they name.
    ///
    /// # Errors
    /// All that is wrong, a sentence each.
    pub fn load(flags: &Flags) -> Result<Self, Vec<String>> {
        let mut fields = Fields::read(flags)?;
        let config = Self::of(&mut fields);
        fields.refuse_unknown();
        let faults = fields.faults;
        match faults.is_empty() {
            true => Ok(config),
            false => Err(faults),
        }
    }

    /// Files of models, and of what requests may add to them, that are not there: a sentence each.
    #[must_use]
    pub fn missing_files(&self) -> Vec<String> {
        let missing = self.models.iter().filter_map(|(name, entry)| {
            let path = crate::models::missing(entry)?;
            let field = models::field(entry, path);
            Some(format!(
                "{field}: {path} of `{name}` is not there, or not what it should be."
            ))
        });
        missing.collect()
    }

    fn of(fields: &mut Fields) -> Self {
        let data_dir: PathBuf = fields.or("data_dir", PathBuf::from("t2v-data"));
        let below = |name: &str| std::path::absolute(data_dir.join(name)).unwrap_or_else(|_| data_dir.join(name));
        let seconds = Duration::from_secs;
        let config = Self {
            listen: fields
                .parsed("listen", "an address such as 127.0.0.1:8000")
                .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8000))),
            database: fields.or("database", format!("sqlite://{}", below("t2v.sqlite").display())),
            storage: StorageSettings {
                url: fields.or("storage", format!("file://{}", below("storage").display())),
                region: fields.optional("storage_region"),
                endpoint: fields.optional("storage_endpoint"),
                access_key_id: fields.optional("storage_access_key_id"),
                secret_access_key: fields.optional("storage_secret_access_key"),
            },
            storage_is_shared: fields.or("storage_is_shared", false),
            public_url: fields.url("public_url"),
            name: fields.optional("name"),
            keys: fields.list("key"),
            hashed_keys: fields.or("keys", Vec::new()),
            models: models::read(fields),
            default_model: fields.optional("default_model"),
            model_roots: fields.list("model_root").into_iter().map(Into::into).collect(),
            allow_hub: fields.or("allow_hub", false),
            device: fields
                .parsed(
                    "device",
                    "auto, flex, wgpu, vulkan, metal or cuda, or one of several as in cuda:1",
                )
                .unwrap_or_default(),
            dtype: fields.parsed("dtype", "auto, f32, f16 or bf16").unwrap_or(Dtype::Auto),
            workers: fields.or("workers", 1),
            // Clients' own patience begins at 10 seconds (OkHttp).
            wait: seconds(fields.or("wait", 8)),
            allow_private_webhooks: fields.or("allow_private_webhooks", false),
            webhook_secret: fields.parsed("webhook_secret", "`whsec_` and 24 to 64 bytes in base64"),
            queued_per_key: fields.positive("queued_per_key", 100),
            queued: fields.positive("queued", 1000),
            requests_per_second: fields.optional("requests_per_second"),
            max_attempts: fields.positive("max_attempts", 3).try_into().unwrap_or(u32::MAX),
            lease: seconds(fields.positive("lease", 30)),
            timeout: seconds(fields.positive("timeout", 3600)),
            grace: seconds(fields.or("grace", 30)),
            server_limit: seconds(fields.positive("server_limit", 600)),
            keep: fields
                .optional("keep_hours")
                .map(|hours: u32| seconds(u64::from(hours) * 3600)),
            keep_bytes: fields.optional("keep_bytes"),
            keep_jobs: seconds(fields.positive("keep_jobs", 30).saturating_mul(24 * 3600)),
            body_limit: fields.positive("body_limit", 32 << 20).try_into().unwrap_or(usize::MAX),
            allow_restart: fields.or("allow_restart", false),
            log_json: fields.or("log_json", false),
            data_dir,
        };
        config.check(fields);
        config
    }

    /// Notes what does not fit together.
    fn check(&self, fields: &mut Fields) {
        let database = self.database.split(':').next().unwrap_or_default();
        if !["sqlite", "postgres", "postgresql"].contains(&database) {
            fields.fault("database", "it must begin with `sqlite://` or `postgres://`");
        }
        if self.public_url.is_none() && self.listen.ip().is_unspecified() {
            let port = self.listen.port();
            fields.fault(
                "public_url",
                &format!(
                    "it is needed, since `listen` is every address of this machine: say the one that clients use, such as \
                     http://192.0.2.7:{port}; URLs of videos and webhooks begin with it"
                ),
            );
        }
        let storage = self.storage.url.split("://").next().unwrap_or_default();
        if !["file", "s3"].contains(&storage) {
            fields.fault("storage", "it must begin with `file://` or `s3://`");
        }
        if database.starts_with("postgres") && storage == "file" && !self.storage_is_shared {
            fields.fault(
                "storage",
                "with PostgreSQL it must be `s3://…`, or a folder that all servers see and `storage_is_shared`",
            );
        }
        if self.default_model.as_ref().is_some_and(|name| {
            name != crate::models::EMBEDDED && !self.models.get(name).is_some_and(|e| e.kind.is_model())
        }) {
            fields.fault(
                "default_model",
                "it must be the embedded `tiny-world`, or a model that is given",
            );
        }
        for (number, key) in self.hashed_keys.iter().enumerate() {
            if key.sha256.len() != 64 || !key.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                fields.fault(
                    "keys",
                    &format!("the `sha256` of number {} must be 64 hexadecimal digits", number + 1),
                );
            }
        }
        if self.keys.iter().any(|key| key.trim().is_empty()) {
            fields.fault("key", "it must not be empty");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn flags(args: &[&str]) -> Flags {
        use clap::Parser;
        Flags::try_parse_from([&["t2v-server"], args].concat()).unwrap()
    }

    fn file(toml: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
        file.write_all(toml.as_bytes()).unwrap();
        file
    }

    #[test]
    fn nothing_is_needed() {
        let config = Config::load(&flags(&[])).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8000");
        assert!(config.database.starts_with("sqlite:///") && config.database.ends_with("t2v-data/t2v.sqlite"));
        assert!(config.storage.url.starts_with("file:///"));
        assert_eq!((config.workers, config.wait), (1, Duration::from_secs(8)));
    }

    #[test]
    fn flags_come_before_the_file() {
        let toml = file(
            "listen = \"127.0.0.1:1\"\nworkers = 4\nkey = [\"a\"]\n[model]\nzeroscope = \"models/z\"\n\
             [[keys]]\nsha256 = \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\nqueued = 2\n",
        );
        let path = toml.path().display().to_string();
        let args = [
            "--config",
            &path,
            "--listen",
            "127.0.0.1:2",
            "--model",
            "mine=models/m",
            "--key",
            "b",
            "--key",
            "c",
        ];
        let config = Config::load(&flags(&args)).unwrap();
        assert_eq!((config.listen.port(), config.workers), (2, 4));
        assert_eq!(config.keys, ["b", "c"]);
        assert_eq!(config.hashed_keys[0].queued, Some(2));
        assert_eq!(config.models["mine"].source, "models/m");
    }

    #[test]
    fn all_faults_are_told_at_once_and_by_name() {
        let toml =
            file("listen = \"nowhere\"\nworkers = \"many\"\nlease = 0\nspeed = 9\nkeys = [{ sha256 = \"x\" }]\n");
        let path = toml.path().display().to_string();
        let args = [
            "--config",
            &path,
            "--database",
            "mysql://x",
            "--model",
            "mine",
            "--device",
            "abacus",
        ];
        let faults = Config::load(&flags(&args)).unwrap_err();
        for field in [
            "listen", "workers", "lease", "speed", "database", "model", "device", "keys",
        ] {
            assert!(
                faults.iter().any(|fault| fault.starts_with(&format!("{field}: "))),
                "{field}: {faults:?}"
            );
        }
    }

    #[test]
    fn a_folder_that_others_do_not_see_is_refused_with_postgres() {
        let args = ["--database", "postgres://localhost/t2v"];
        let faults = Config::load(&flags(&args)).unwrap_err();
        assert!(faults.len() == 1 && faults[0].starts_with("storage: "), "{faults:?}");
        let toml = file("storage_is_shared = true\n");
        let path = toml.path().display().to_string();
        Config::load(&flags(&[&args[..], &["--config", &path]].concat())).unwrap();
    }

    #[test]
    fn an_address_that_no_client_can_use_needs_another_one() {
        for listen in ["0.0.0.0:8000", "[::]:8000"] {
            let faults = Config::load(&flags(&["--listen", listen])).unwrap_err();
            assert!(faults.len() == 1 && faults[0].starts_with("public_url: "), "{faults:?}");
            let args = ["--listen", listen, "--public-url", "http://192.0.2.7:8000/"];
            let config = Config::load(&flags(&args)).unwrap();
            assert_eq!(config.public_url.as_deref(), Some("http://192.0.2.7:8000"));
        }
        Config::load(&flags(&["--listen", "192.0.2.7:8000"])).unwrap();
    }

    #[test]
    fn jobs_are_known_for_a_month_if_nothing_else_is_said() {
        let days = |days: u64| Duration::from_secs(days * 24 * 3600);
        assert_eq!(Config::load(&flags(&[])).unwrap().keep_jobs, days(30));
        assert_eq!(Config::load(&flags(&["--keep-jobs", "7"])).unwrap().keep_jobs, days(7));
        assert!(Config::load(&flags(&["--keep-jobs", "0"])).is_err());
    }

    #[test]
    fn a_file_that_is_missing_or_damaged_is_named() {
        for path in [
            "/no/such/t2v.toml".to_owned(),
            file("listen = ").path().display().to_string(),
        ] {
            let faults = Config::load(&flags(&["--config", &path])).unwrap_err();
            assert!(faults.len() == 1 && faults[0].contains(&path), "{faults:?}");
        }
    }
}
