//! What a pipeline says that requests may ask for is what its checks accept.

use t2v_pipeline::{Device, Limit, Pipeline, TextToVideoRequest};

/// Sets a field of a request.
type Set<T> = fn(&mut TextToVideoRequest, T);

fn accepts<T>(pipeline: &Pipeline, set: Set<T>, value: T) -> bool {
    let mut request = TextToVideoRequest::new("a ball");
    set(&mut request, value);
    pipeline.check(&request).is_ok()
}

#[test]
fn whole_numbers_within_the_limits_are_accepted_and_no_others() {
    let pipeline = Pipeline::embedded(&Device::flex()).unwrap();
    let limits = pipeline.limits();
    let fields: [(&str, Limit<u32>, Set<u32>); 5] = [
        ("width", limits.width, |request, value| request.width = Some(value)),
        ("height", limits.height, |request, value| request.height = Some(value)),
        ("num_frames", limits.num_frames, |request, value| {
            request.num_frames = Some(value)
        }),
        ("fps", limits.fps, |request, value| request.fps = Some(value)),
        ("num_inference_steps", limits.num_inference_steps, |request, value| {
            request.num_inference_steps = Some(value);
        }),
    ];
    for (name, limit, set) in fields {
        let step = limit.step.unwrap();
        for value in [limit.minimum, limit.minimum + step, limit.maximum - step, limit.maximum] {
            assert!(accepts(&pipeline, set, value), "{name} {value}");
        }
        for value in [limit.minimum - 1, limit.maximum + 1, limit.maximum + step] {
            assert!(!accepts(&pipeline, set, value), "{name} {value}");
        }
        assert!(step == 1 || !accepts(&pipeline, set, limit.minimum + 1), "{name}");
    }
}

#[test]
fn other_numbers_within_the_limits_are_accepted_and_no_others() {
    let limits = Pipeline::embedded(&Device::flex()).unwrap().limits();
    let fields: [(&str, Limit<f64>, Set<f64>); 2] = [
        ("guidance_scale", limits.guidance_scale, |request, value| {
            request.guidance_scale = Some(value);
        }),
        ("strength", limits.strength, |request, value| {
            request.strength = Some(value)
        }),
    ];
    for (name, limit, set) in fields {
        let is_valid = |value| {
            let mut request = TextToVideoRequest::new("a ball");
            set(&mut request, value);
            request.validate().is_ok()
        };
        assert_eq!(limit.step, None, "{name}");
        assert!(is_valid(limit.minimum) && is_valid(limit.maximum), "{name}");
        assert!(
            !is_valid(limit.minimum - 0.01) && !is_valid(limit.maximum + 0.01),
            "{name}"
        );
    }
    // How many layers a model has, its own check knows.
    assert_eq!((limits.clip_skip.minimum, limits.clip_skip.maximum), (0, 8));
    assert_eq!((limits.seed.minimum, limits.seed.maximum), (0, u32::MAX));
}
