//! A request from JSON, as lenient with types as the API is.

use serde_json::{Map, Value};

use super::{
    TextToVideoRequest, ValidationError,
    validate::{self, spoken},
};

const FIELDS: [&str; 18] = [
    "key",
    "model_id",
    "prompt",
    "negative_prompt",
    "width",
    "height",
    "scheduler",
    "num_inference_steps",
    "enhance_prompt",
    "guidance_scale",
    "strength",
    "seed",
    "webhook",
    "track_id",
    "loadbalancer",
    "num_frames",
    "clip_skip",
    "fps",
];

/// Fields of the API's later versions that ask for what is not built yet.
const NOT_BUILT: [&str; 12] = [
    "output_type",
    "use_improved_sampling",
    "improved_sampling_seed",
    "upscale_height",
    "upscale_width",
    "upscale_strength",
    "upscale_guidance_scale",
    "upscale_num_inference_steps",
    "lora_model",
    "lora_strength",
    "embeddings_model",
    "base64",
];

pub(super) fn request(body: &Value, strict: bool) -> Result<TextToVideoRequest, ValidationError> {
    let mut faults = ValidationError::default();
    let Some(body) = body.as_object() else {
        faults.add("body", "The body must be a JSON object.");
        return Err(faults);
    };
    if strict {
        for name in body.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
            if NOT_BUILT.contains(&name.as_str()) {
                if asks_for_something(&body[name]) {
                    faults.add(name, format!("The field {name} is not supported yet: leave it out."));
                }
                continue;
            }
            faults.add(
                name,
                format!("The field {name} is unknown; known are {}.", FIELDS.join(", ")),
            );
        }
    }
    let mut fields = Fields { body, faults };
    let request = TextToVideoRequest {
        key: fields.string("key"),
        model_id: fields.string("model_id"),
        prompt: fields.prompt(),
        negative_prompt: fields.string("negative_prompt"),
        width: fields.integer("width"),
        height: fields.integer("height"),
        scheduler: fields.string("scheduler"),
        num_inference_steps: fields.integer("num_inference_steps"),
        enhance_prompt: fields.switch("enhance_prompt"),
        guidance_scale: fields.number("guidance_scale"),
        strength: fields.number("strength"),
        seed: fields.integer("seed"),
        webhook: fields.string("webhook"),
        track_id: fields.scalar("track_id"),
        loadbalancer: fields.switch("loadbalancer"),
        num_frames: fields.integer("num_frames"),
        clip_skip: fields.integer("clip_skip"),
        fps: fields.integer("fps"),
    };
    let mut faults = fields.faults;
    faults.merge(validate::faults(&request));
    ValidationError::of(faults)?;
    Ok(request)
}

/// Whether a field is more than one of the ways in which clients write "no".
fn asks_for_something(value: &Value) -> bool {
    let no = ["", "no", "false"];
    !(value.is_null() || value == &Value::Bool(false) || value.as_str().is_some_and(|text| no.contains(&text)))
}

/// Typed access to a body; what has the wrong type becomes a fault and `None`.
struct Fields<'a> {
    body: &'a Map<String, Value>,
    faults: ValidationError,
}

impl Fields<'_> {
    fn fault(&mut self, field: &str, expected: &str) {
        self.faults
            .add(field, format!("The {} must be {expected}.", spoken(field)));
    }

    /// The value, unless it is absent, null, or an empty string, which clients send for "none".
    fn value(&self, field: &str) -> Option<Value> {
        let value = self.body.get(field)?;
        let none = value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty());
        (!none).then(|| value.clone())
    }

    fn prompt(&mut self) -> String {
        match self.body.get("prompt") {
            Some(Value::String(prompt)) => prompt.clone(),
            None | Some(Value::Null) => {
                self.faults.add("prompt", "The prompt field is required.");
                String::new()
            }
            Some(_) => {
                self.fault("prompt", "a string");
                String::new()
            }
        }
    }

    fn string(&mut self, field: &str) -> Option<String> {
        match self.value(field)? {
            Value::String(text) => Some(text),
            _ => {
                self.fault(field, "a string");
                None
            }
        }
    }

    fn number(&mut self, field: &str) -> Option<f64> {
        let number = match self.value(field)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.filter(|n| n.is_finite());
        if number.is_none() {
            self.fault(field, "a number");
        }
        number
    }

    fn integer(&mut self, field: &str) -> Option<u32> {
        let number = self.number(field)?;
        if number.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&number) {
            self.fault(field, &format!("an integer from 0 to {}", u32::MAX));
            return None;
        }
        Some(number as u32)
    }

    fn switch(&mut self, field: &str) -> Option<bool> {
        match self.value(field)? {
            Value::Bool(value) => Some(value),
            Value::String(text) if text.eq_ignore_ascii_case("yes") || text == "true" => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("no") || text == "false" => Some(false),
            _ => {
                self.fault(field, "\"yes\" or \"no\"");
                None
            }
        }
    }

    fn scalar(&mut self, field: &str) -> Option<Value> {
        let value = self.value(field)?;
        if value.is_object() || value.is_array() {
            self.fault(field, "a string or a number");
            return None;
        }
        Some(value)
    }
}
