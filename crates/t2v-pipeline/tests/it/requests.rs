//! Requests: what is accepted, what is refused and how it is said.

use serde_json::{Value, json};
use t2v_pipeline::{FlowShift, FreeInit, FreeNoise, TextToVideoRequest, ValidationError};

fn faults(error: &ValidationError) -> Value {
    serde_json::to_value(error).unwrap()
}

#[test]
fn the_example_body_of_the_api_is_accepted() {
    let body = json!({
        "key": "enterprise_api_key", "model_id": "model_id",
        "prompt": "Girl smiling and sitting on bench, ultra HD video", "negative_prompt": "Low Quality",
        "width": "512", "height": "512", "scheduler": "UniPCMultistepScheduler", "num_inference_steps": "30",
        "enhance_prompt": "yes", "guidance_scale": 7.5, "strength": 0.7,
        "seed": null, "webhook": null, "track_id": null,
    });
    let mut body = body;
    body["scheduler"] = json!("DDIMScheduler");
    for parse in [TextToVideoRequest::from_json, TextToVideoRequest::from_json_strict] {
        let request = parse(&body).unwrap();
        assert_eq!((request.width, request.height), (Some(512), Some(512)));
        assert_eq!(request.num_inference_steps, Some(30));
        assert_eq!(request.enhance_prompt, Some(true));
        assert_eq!(request.seed, None);
    }
}

#[test]
fn numbers_and_numeric_strings_are_the_same() {
    let numbers = json!({"prompt": "x", "width": 64, "guidance_scale": 2.5, "seed": 4294967295u32, "fps": 8});
    let strings = json!({"prompt": "x", "width": "64", "guidance_scale": "2.5", "seed": "4294967295", "fps": " 8 "});
    let parsed = TextToVideoRequest::from_json(&numbers).unwrap();
    assert_eq!(parsed, TextToVideoRequest::from_json(&strings).unwrap());
    assert_eq!(parsed.seed, Some(u32::MAX));
}

#[test]
fn every_fault_is_reported_at_once() {
    let body = json!({
        "width": 5000, "height": 0, "num_inference_steps": 51, "guidance_scale": 21, "strength": 1.5,
        "scheduler": "Nonesuch", "seed": -2, "enhance_prompt": "maybe", "track_id": [1], "num_frames": "x", "fps": 0,
    });
    let faults = faults(&TextToVideoRequest::from_json(&body).unwrap_err());
    for field in [
        "prompt",
        "width",
        "height",
        "num_inference_steps",
        "guidance_scale",
        "strength",
        "scheduler",
        "seed",
        "enhance_prompt",
        "track_id",
        "num_frames",
        "fps",
    ] {
        assert_eq!(faults[field].as_array().map(Vec::len), Some(1), "{field}: {faults}");
    }
    assert_eq!(faults["prompt"], json!(["The prompt field is required."]));
    assert_eq!(
        faults["width"],
        json!(["The width may not be greater than 2048, not 5000."])
    );
    let scheduler = faults["scheduler"][0].as_str().unwrap();
    assert!(
        scheduler.contains("Nonesuch") && scheduler.contains("DDIM"),
        "{scheduler}"
    );
}

#[test]
fn limits_are_inclusive() {
    let base = TextToVideoRequest::new("x");
    for (steps, guidance, strength) in [(1, 1.0, 0.0), (50, 20.0, 1.0)] {
        let request = base
            .clone()
            .with_num_inference_steps(steps)
            .with_guidance_scale(guidance);
        request.with_strength(strength).validate().unwrap();
    }
    assert!(base.clone().with_num_inference_steps(0).validate().is_err());
    assert!(base.clone().with_guidance_scale(0.99).validate().is_err());
    assert!(base.clone().with_guidance_scale(f64::NAN).validate().is_err());
    assert!(base.with_strength(-0.1).validate().is_err());
}

#[test]
fn only_the_strict_parser_refuses_unknown_fields() {
    let body = json!({"prompt": "x", "samples": 1});
    assert!(TextToVideoRequest::from_json(&body).is_ok());
    let faults = faults(&TextToVideoRequest::from_json_strict(&body).unwrap_err());
    assert!(faults["samples"][0].as_str().unwrap().contains("unknown"));
}

#[test]
fn a_request_survives_json() {
    let request = TextToVideoRequest::new("a \"ball\" ⚽")
        .with_size(64, 32)
        .with_seed(7)
        .with_scheduler("DDIM");
    let json = serde_json::to_value(&request).unwrap();
    assert_eq!(TextToVideoRequest::from_json_strict(&json).unwrap(), request);
}

#[test]
fn fields_that_are_not_built_are_refused_by_the_strict_parser_alone() {
    let body = json!({"prompt": "x", "upscale_height": 1024, "use_improved_sampling": false, "base64": "no"});
    let faults = faults(&TextToVideoRequest::from_json_strict(&body).unwrap_err());
    assert_eq!(
        faults,
        json!({"upscale_height": ["The field upscale_height is not supported yet: leave it out."]})
    );
    TextToVideoRequest::from_json(&body).unwrap();
}

#[test]
fn a_seed_of_minus_one_is_drawn_where_clients_may_mean_that() {
    for seed in [json!(-1), json!("-1"), json!(" -1 "), json!(-1.0)] {
        let body = json!({"prompt": "x", "seed": seed});
        assert_eq!(TextToVideoRequest::from_json(&body).unwrap().seed, None, "{seed}");
        let faults = faults(&TextToVideoRequest::from_json_strict(&body).unwrap_err());
        assert!(faults["seed"][0].as_str().unwrap().contains("null"), "{faults}");
    }
    assert!(TextToVideoRequest::from_json(&json!({"prompt": "x", "seed": -1.5})).is_err());
}

#[test]
fn switches_are_read_as_they_are_meant() {
    let enhance = |value: &Value, parse: fn(&Value) -> Result<TextToVideoRequest, ValidationError>| {
        parse(&json!({"prompt": "x", "enhance_prompt": value})).map(|request| request.enhance_prompt)
    };
    for (values, meant) in [
        (
            json!(["True", 1, " yes ", "on", "YES", "Y", true, "1", "t"]),
            Some(true),
        ),
        (
            json!(["False", 0, " no ", "off", "NO", "n", false, "0", "f"]),
            Some(false),
        ),
        (json!([null, "", "  "]), None),
    ] {
        for value in values.as_array().unwrap() {
            assert_eq!(enhance(value, TextToVideoRequest::from_json), Ok(meant), "{value}");
        }
    }
    for value in [
        json!("maybe"),
        json!(2),
        json!(0.5),
        json!([]),
        json!({}),
        json!("yesno"),
    ] {
        assert!(enhance(&value, TextToVideoRequest::from_json).is_err(), "{value}");
    }
    for value in [json!("yes"), json!("No"), json!(true), json!("false")] {
        assert!(enhance(&value, TextToVideoRequest::from_json_strict).is_ok(), "{value}");
    }
    for value in [json!(1), json!("on"), json!(" yes ")] {
        assert!(
            enhance(&value, TextToVideoRequest::from_json_strict).is_err(),
            "{value}"
        );
    }
}

#[test]
fn what_asks_for_nothing_is_taken() {
    let body = json!({
        "prompt": "x", "temp": "no", "instant_response": false, "improved_sampling_seed": 42, "output_type": "mp4",
        "use_improved_sampling": "no", "base64": "False", "lora_model": null, "lora_strength": "0.5",
        "upscale_strength": 0.5, "embeddings_model": "", "watermark": 0,
    });
    TextToVideoRequest::from_json_strict(&body).unwrap();
    for (field, value) in [
        ("temp", json!("yes")),
        ("output_type", json!("gif")),
        ("upscale_height", json!(1024)),
        ("base64", json!("maybe")),
    ] {
        let mut body = body.clone();
        body[field] = value;
        let faults = faults(&TextToVideoRequest::from_json_strict(&body).unwrap_err());
        assert!(faults[field][0].as_str().unwrap().contains("not supported"), "{faults}");
    }
    let mut body = body;
    body["upscale_height"] = json!(1024);
    let faults = faults(&TextToVideoRequest::from_json_strict(&body).unwrap_err());
    assert_eq!(faults.as_object().unwrap().len(), 2, "{faults}");
}

#[test]
fn loras_and_improved_sampling_are_read_as_clients_write_them() {
    let body = json!({
        "prompt": "x", "lora_model": "ink,oil", "lora_strength": [0.5, "-1"], "embeddings_model": "cat-toy",
        "use_improved_sampling": "yes", "improved_sampling_seed": "42", "free_noise": {"context_length": 8}, "flow_shift": 7,
    });
    for request in [
        TextToVideoRequest::from_json(&body),
        TextToVideoRequest::from_json_strict(&body),
    ] {
        let request = request.unwrap();
        assert_eq!(
            request.loras().unwrap(),
            [("ink".to_owned(), 0.5), ("oil".to_owned(), -1.0)]
        );
        assert_eq!(request.free_init(), Some(FreeInit::default()));
        assert_eq!(request.improved_sampling_seed, Some(42));
        assert_eq!(request.free_noise, Some(FreeNoise::new(8, 4)));
        assert_eq!(request.embeddings_model.as_deref(), Some("cat-toy"));
        assert_eq!(request.flow_shift, Some(FlowShift::Of(7.0)));
    }
    for (field, value, part) in [
        ("lora_strength", json!("1,2,3"), "one for each of 2 LoRAs, not 3"),
        ("lora_strength", json!("strong"), "`strong`"),
        (
            "free_init",
            json!({"num_iters": 0}),
            "num_iters must be between 1 and 10, not 0",
        ),
        ("free_init", json!({"iterations": 3}), "unknown field `iterations`"),
        ("free_noise", json!("yes"), "not usable"),
        ("guidance_rescale", json!(2), "between 0 and 1, not 2"),
        ("guidance_scale_2", json!(0.5), "between 1 and 20, not 0.5"),
        (
            "flow_shift",
            json!(0),
            "`0` is neither a number from 0.01 to 100 nor \"size\"",
        ),
        ("flow_shift", json!("large"), "`large` is neither"),
    ] {
        let mut body = body.clone();
        body[field] = value;
        let faults = faults(&TextToVideoRequest::from_json(&body).unwrap_err());
        assert!(faults[field][0].as_str().unwrap().contains(part), "{faults}");
    }
}

#[test]
fn bodies_may_begin_with_a_byte_order_mark() {
    let request = TextToVideoRequest::from_slice(b"\xEF\xBB\xBF{\"prompt\": \"x\"}").unwrap();
    assert_eq!(request, TextToVideoRequest::new("x"));
    let utf16: Vec<u8> = "\u{FEFF}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let message = |body: &[u8]| TextToVideoRequest::from_slice_strict(body).unwrap_err().to_string();
    assert!(message(&utf16).contains("UTF-8"));
    assert!(message(b"{").contains("not JSON") && message(b"").contains("not JSON"));
    assert!(message(b"[]").contains("JSON object"));
}

#[test]
fn a_key_is_not_shown_by_debug() {
    let request = TextToVideoRequest::from_json(&json!({"prompt": "x", "key": "s3cret"})).unwrap();
    assert!(!format!("{request:?} {request:#?}").contains("s3cret"));
    assert_eq!(request.key.unwrap().expose(), "s3cret");
}
