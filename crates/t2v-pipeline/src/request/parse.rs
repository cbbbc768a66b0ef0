//! A request from JSON, as lenient with types as the API is.

use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    TextToVideoRequest, ValidationError,
    validate::{self, spoken},
};

const FIELDS: [&str; 32] = [
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
    "guidance_scale_2",
    "strength",
    "seed",
    "webhook",
    "track_id",
    "loadbalancer",
    "num_frames",
    "clip_skip",
    "fps",
    "prompt_weighting",
    "long_prompts",
    "vae_tiling",
    "lora_model",
    "lora_strength",
    "embeddings_model",
    "guidance_rescale",
    "use_improved_sampling",
    "improved_sampling_seed",
    "free_init",
    "free_noise",
    "flow_shift",
    "speed",
];

/// Fields of the API's later versions that may ask for what is not built, and where they ask for nothing.
const NOT_BUILT: [(&str, Idle); 16] = [
    ("output_type", Idle::Value("mp4")),
    ("upscale_height", Idle::Never),
    ("upscale_width", Idle::Never),
    ("upscale_strength", Idle::Without("upscale_height")),
    ("upscale_guidance_scale", Idle::Without("upscale_height")),
    ("upscale_num_inference_steps", Idle::Without("upscale_height")),
    ("base64", Idle::Never),
    ("temp", Idle::Never),
    ("instant_response", Idle::Never),
    ("watermark", Idle::Never),
    ("safety_checker", Idle::Never),
    ("multi_lingual", Idle::Never),
    ("full_url", Idle::Never),
    ("tomesd", Idle::Never),
    ("use_karras_sigmas", Idle::Never),
    ("panorama", Idle::Never),
];

/// When a field that has a value asks for nothing all the same.
#[derive(Clone, Copy)]
enum Idle {
    Never,
    /// What it asks for is what is done anyway.
    Value(&'static str),
    /// Another field asks for nothing.
    Without(&'static str),
}

/// How a body is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Of the API's clients: what is plain in meaning is taken, what is unknown is ignored.
    Lenient,
    /// Written by a person, who is told of every slip.
    Strict,
}

/// JSON in UTF-8, which may begin with a byte order mark.
pub(super) fn json(bytes: &[u8]) -> Result<Value, ValidationError> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|error| {
        let mut faults = ValidationError::default();
        let fault = match bytes {
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => "The body is in UTF-16: save it as UTF-8.".to_owned(),
            _ => format!("The body is not JSON: {error}."),
        };
        faults.add("body", fault);
        faults
    })
}

pub(super) fn request(body: &Value, form: Form) -> Result<TextToVideoRequest, ValidationError> {
    let mut faults = ValidationError::default();
    let Some(body) = body.as_object() else {
        faults.add("body", "The body must be a JSON object.");
        return Err(faults);
    };
    if form == Form::Strict {
        refuse_unknown(body, &mut faults);
    }
    let mut fields = Fields { body, form, faults };
    let request = TextToVideoRequest {
        key: fields.string("key").map(Into::into),
        model_id: fields.string("model_id"),
        prompt: fields.prompt(),
        negative_prompt: fields.string("negative_prompt"),
        width: fields.integer("width"),
        height: fields.integer("height"),
        scheduler: fields.string("scheduler"),
        num_inference_steps: fields.integer("num_inference_steps"),
        enhance_prompt: fields.switch("enhance_prompt"),
        guidance_scale: fields.number("guidance_scale"),
        guidance_scale_2: fields.number("guidance_scale_2"),
        strength: fields.number("strength"),
        seed: fields.seed(),
        webhook: fields.string("webhook"),
        track_id: fields.scalar("track_id"),
        loadbalancer: fields.switch("loadbalancer"),
        num_frames: fields.integer("num_frames"),
        clip_skip: fields.integer("clip_skip"),
        fps: fields.integer("fps"),
        prompt_weighting: fields.switch("prompt_weighting"),
        long_prompts: fields.switch("long_prompts"),
        vae_tiling: fields.switch("vae_tiling"),
        lora_model: fields.list("lora_model"),
        lora_strength: fields.list("lora_strength"),
        embeddings_model: fields.list("embeddings_model"),
        guidance_rescale: fields.number("guidance_rescale"),
        use_improved_sampling: fields.switch("use_improved_sampling"),
        improved_sampling_seed: fields.integer("improved_sampling_seed"),
        free_init: fields.settings("free_init"),
        free_noise: fields.settings("free_noise"),
        flow_shift: fields.number_or_choice("flow_shift"),
        speed: fields.choice("speed"),
    };
    let mut faults = fields.faults;
    faults.merge(validate::faults(&request));
    ValidationError::of(faults)?;
    Ok(request)
}

fn refuse_unknown(body: &Map<String, Value>, faults: &mut ValidationError) {
    for name in body.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
        let fault = match NOT_BUILT.iter().find(|(known, _)| known == name) {
            Some((_, idle)) if !asks_for_something(body, name, *idle) => continue,
            Some(_) => format!("The field {name} is not supported yet: leave it out."),
            None => format!("The field {name} is unknown; known are {}.", FIELDS.join(", ")),
        };
        faults.add(name, fault);
    }
}

/// Whether a field has a value that is more than one of the ways in which clients write "no", and not idle.
fn asks_for_something(body: &Map<String, Value>, field: &str, idle: Idle) -> bool {
    let Some(value) = body.get(field) else {
        return false;
    };
    let says_no = match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    if says_no || switch(value, Form::Lenient) == Some(false) {
        return false;
    }
    match idle {
        Idle::Never => true,
        Idle::Value(usual) => !value
            .as_str()
            .is_some_and(|text| text.trim().eq_ignore_ascii_case(usual)),
        Idle::Without(other) => asks_for_something(body, other, Idle::Never),
    }
}

/// A value that says yes or no.
fn switch(value: &Value, form: Form) -> Option<bool> {
    let text = match value {
        Value::Bool(value) => return Some(*value),
        Value::String(text) => text.to_lowercase(),
        Value::Number(number) if form == Form::Lenient => number.to_string(),
        _ => return None,
    };
    match (text.as_str(), form) {
        ("yes" | "true", _) => Some(true),
        ("no" | "false", _) => Some(false),
        (_, Form::Strict) => None,
        (other, Form::Lenient) => match other.trim() {
            "yes" | "true" | "on" | "1" | "y" | "t" => Some(true),
            "no" | "false" | "off" | "0" | "n" | "f" => Some(false),
            _ => None,
        },
    }
}

/// Typed access to a body; what has the wrong type becomes a fault and `None`.
struct Fields<'a> {
    body: &'a Map<String, Value>,
    form: Form,
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

    /// A list with commas, which may be one number, or an array.
    fn list(&mut self, field: &str) -> Option<String> {
        let part = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let value = self.value(field)?;
        let list = match &value {
            Value::Array(values) => values
                .iter()
                .map(part)
                .collect::<Option<Vec<_>>>()
                .map(|parts| parts.join(",")),
            value => part(value),
        };
        if list.is_none() {
            self.fault(field, "a string with commas between several");
        }
        list
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
            self.fault(field, "a whole number of at least 0");
            return None;
        }
        Some(number as u32)
    }

    /// A seed; clients of other programs write -1 for a random one.
    fn seed(&mut self) -> Option<u32> {
        let random = match self.body.get("seed") {
            Some(Value::Number(number)) => number.as_f64() == Some(-1.0),
            Some(Value::String(text)) => text.trim().parse() == Ok(-1.0),
            _ => false,
        };
        match (random, self.form) {
            (false, _) => self.integer("seed"),
            (true, Form::Lenient) => None,
            (true, Form::Strict) => {
                let range = format!("an integer from 0 to {}; null, or no seed, draws one", u32::MAX);
                self.fault("seed", &range);
                None
            }
        }
    }

    fn switch(&mut self, field: &str) -> Option<bool> {
        let value = switch(&self.value(field)?, self.form);
        if value.is_none() {
            self.fault(field, "\"yes\" or \"no\"");
        }
        value
    }

    /// One of several names.
    fn choice<T: FromStr<Err = String>>(&mut self, field: &str) -> Option<T> {
        let name = self.string(field)?;
        self.parsed(field, &name)
    }

    /// A number or one of several names.
    fn number_or_choice<T: FromStr<Err = String>>(&mut self, field: &str) -> Option<T> {
        let text = match self.value(field)? {
            Value::Number(number) => number.to_string(),
            _ => self.string(field)?,
        };
        self.parsed(field, &text)
    }

    fn parsed<T: FromStr<Err = String>>(&mut self, field: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(choice) => Some(choice),
            Err(error) => {
                self.faults
                    .add(field, format!("The {} is not usable: {error}.", spoken(field)));
                None
            }
        }
    }

    /// An object of settings that all have defaults.
    fn settings<T: DeserializeOwned>(&mut self, field: &str) -> Option<T> {
        let value = self.value(field)?;
        let settings = serde_json::from_value(value);
        match settings {
            Ok(settings) => Some(settings),
            Err(error) => {
                self.faults
                    .add(field, format!("The {} is not usable: {error}.", spoken(field)));
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
