//! What a server is known by, drawn at its first start and kept from then on.

use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use t2v_pipeline::webhook::WebhookSecret;
use uuid::Uuid;

use super::{StartError, write_whole};
use crate::{
    auth::{Keys, key_hash},
    config::Config,
    store::Store,
};

/// The file in the data folder that has the server's name.
const NAME_FILE: &str = "server-name";
/// The setting that has the hash of the key that was drawn.
const KEY_SETTING: &str = "key_sha256";
/// The setting that has the secret of webhooks.
const SECRET_SETTING: &str = "webhook_secret";

/// The server's name: that of its data folder, so that it is the same after a restart.
pub(super) fn server_name(data_dir: &Path) -> std::io::Result<String> {
    let file = data_dir.join(NAME_FILE);
    match std::fs::read_to_string(&file) {
        Ok(name) if !name.trim().is_empty() => Ok(name.trim().to_owned()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => {
            let name = format!("server-{}", &Uuid::new_v4().simple().to_string()[..8]);
            write_whole(&file, &name)?;
            Ok(name)
        }
    }
}

/// The keys of the configuration, or one that is drawn at the first start: it is returned then, and only then.
pub(super) async fn keys(config: &Config, store: &dyn Store) -> Result<(Keys, Option<String>), StartError> {
    let keys = Keys::new();
    for key in &config.hashed_keys {
        let rate = key.requests_per_second.or(config.requests_per_second);
        keys.add_hash(&key.sha256, key.admin, rate, key.queued)
            .map_err(StartError::Key)?;
    }
    for key in &config.keys {
        keys.add_hash(&key_hash(key), true, config.requests_per_second, None)
            .map_err(StartError::Key)?;
    }
    if !keys.is_empty() {
        return Ok((keys, None));
    }
    let drawn = Keys::generate();
    let hash = key_hash(&drawn);
    let stored = store.setting_or_insert(KEY_SETTING, &hash).await?;
    keys.add_hash(&stored, true, config.requests_per_second, None)
        .map_err(StartError::Key)?;
    Ok((keys, (stored == hash).then_some(drawn)))
}

/// The secret of webhooks: the configuration's, or one that is drawn once for all servers of the database.
pub(super) async fn webhook_secret(config: &Config, store: &dyn Store) -> Result<WebhookSecret, StartError> {
    if let Some(secret) = &config.webhook_secret {
        return Ok(secret.clone());
    }
    let random = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    let drawn = format!("whsec_{}", BASE64_STANDARD.encode(random));
    let stored = store.setting_or_insert(SECRET_SETTING, &drawn).await?;
    stored
        .parse()
        .map_err(|error| StartError::Key(format!("the stored webhook secret cannot be used: {error}")))
}
