//! Which model makes what is asked for: some make videos, some make still pictures.

use std::sync::Arc;

use super::{Service, ServiceError, Submission};
use crate::{
    job::Medium,
    worker::engine::{Engine, EngineError},
};

impl Service {
    /// Names of the models that make videos, or pictures.
    ///
    /// # Errors
    /// An engine that fails.
    pub async fn models_for(&self, medium: Medium) -> Result<Vec<String>, ServiceError> {
        self.beside(move |engine| engine.models_for(medium)).await
    }

    /// What a model makes.
    ///
    /// # Errors
    /// A model that there is not, or can't be opened.
    pub async fn medium(&self, model: &str) -> Result<Medium, ServiceError> {
        let model = model.to_owned();
        let medium = self.beside(move |engine| engine.medium(Some(&model))).await?;
        Ok(medium?)
    }

    /// Gives a submission that names no model one that makes what it asks for, where the default does not.
    ///
    /// # Errors
    /// A model that makes something else.
    pub(super) async fn choose_model(&self, submission: &mut Submission) -> Result<(), ServiceError> {
        let (asked, medium) = (submission.request.model_id.clone(), submission.output_type.medium());
        submission.request.model_id = self.beside(move |engine| choose(engine, asked, medium)).await??;
        Ok(())
    }

    /// Asks the engine on a thread that may block.
    async fn beside<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Engine) -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let engine = Arc::clone(&self.engine);
        let asked = tokio::task::spawn_blocking(move || ask(engine.as_ref())).await;
        asked.map_err(|error| ServiceError::Unavailable(error.to_string()))
    }
}

fn choose(engine: &dyn Engine, asked: Option<String>, medium: Medium) -> Result<Option<String>, ServiceError> {
    match engine.medium(asked.as_deref()) {
        Ok(found) if found == medium => return Ok(asked),
        // Told when the whole request is looked at.
        Err(EngineError::UnknownModel(_)) => return Ok(asked),
        found => found?,
    };
    let able = engine.models_for(medium);
    let (wanted, other) = match medium {
        Medium::Video => (medium.spoken(), Medium::Picture.spoken()),
        Medium::Picture => (medium.spoken(), Medium::Video.spoken()),
    };
    match (asked, able.as_slice()) {
        (None, [first, ..]) => Ok(Some(first.clone())),
        (None, []) => Err(ServiceError::fault(
            "model_id",
            format!("No model here makes {wanted}."),
        )),
        (Some(asked), able) => {
            let others = match able {
                [] => format!("no model here makes {wanted}"),
                able => format!("{wanted} are made by {}", able.join(", ")),
            };
            let fault = format!("The model {asked} makes {other}, not {wanted}; {others}.");
            Err(ServiceError::fault("model_id", fault))
        }
    }
}
