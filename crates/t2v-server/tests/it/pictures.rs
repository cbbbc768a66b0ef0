//! Still pictures, LoRAs and learnt words by name, motion adapters: with a tiny Stable Diffusion.

use std::path::{Path, PathBuf};

use crate::support::{self, Answer, Client, KEY, receiver};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::{Value, json};
use t2v_server::server::Server;

/// A file of the pipeline's tests.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../t2v-pipeline/tests/fixtures")
        .join(name)
}

/// A server with `sd`, which makes pictures, and `clips`, the same with motion modules.
struct Pictures {
    server: Server,
    client: Client,
    folder: tempfile::TempDir,
}

impl Pictures {
    async fn start(toml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_lora(&folder.path().join("ink.safetensors"));
        write_word(&folder.path().join("cat.safetensors"));
        let file = |name: &str| folder.path().join(name).display().to_string();
        let sd = fixture("sd").display().to_string();
        let adapter = fixture("motion_adapter").display().to_string();
        let toml = format!(
            "wait = 60\ndevice = \"flex\"\nallow_private_webhooks = true\nmodel_root = [{root:?}]\n{toml}\n\
             [model]\nsd = {sd:?}\nclips = {sd:?}\n[motion_adapter]\nclips = {adapter:?}\n\
             [lora]\nink = {ink:?}\n[embedding]\ncat = {cat:?}\n",
            root = folder.path(),
            ink = file("ink.safetensors"),
            cat = file("cat.safetensors"),
        );
        let config = support::config(folder.path(), &toml);
        assert_eq!(config.missing_files(), Vec::<String>::new());
        let server = Server::start(config).await.unwrap();
        let client = Client {
            url: format!("http://{}", server.address),
            key: KEY.into(),
        };
        Self { server, client, folder }
    }

    async fn ask(&self, name: &str, fields: Value) -> Answer {
        let mut body = json!({
            "prompt": "a red ball", "width": "32", "height": 32, "num_inference_steps": 2, "seed": 7, "enhance_prompt": "no"
        });
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        self.client.legacy(name, body).await
    }

    /// The pictures of a success.
    async fn pictures(&self, answer: &Answer) -> Vec<RgbImage> {
        let body = answer.json();
        assert_eq!((answer.status, &body["status"]), (200, &json!("success")), "{body}");
        let mut pictures = Vec::new();
        for url in body["output"].as_array().unwrap() {
            let path = url.as_str().unwrap().strip_prefix(&self.client.url).unwrap();
            let file = self.client.send("GET", path, &[], None).await;
            assert_eq!((file.status, file.header("content-type")), (200, "image/png"), "{path}");
            pictures.push(decoded(&file.bytes));
        }
        pictures
    }

    async fn stop(self) {
        self.server.shutdown.abort();
        self.server.stopped().await;
    }
}

fn decoded(png: &[u8]) -> RgbImage {
    image::load_from_memory_with_format(png, image::ImageFormat::Png)
        .unwrap()
        .into_rgb8()
}

fn data_url(picture: impl Into<image::DynamicImage>) -> String {
    let mut png = std::io::Cursor::new(Vec::new());
    picture.into().write_to(&mut png, image::ImageFormat::Png).unwrap();
    format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png.into_inner()))
}

fn grey_and_red() -> RgbImage {
    RgbImage::from_fn(32, 32, |x, _| {
        if x < 16 {
            Rgb([120, 120, 120])
        } else {
            Rgb([200, 20, 20])
        }
    })
}

/// A safetensors file of single precision.
fn write_safetensors(path: &Path, tensors: &[(&str, [usize; 2], f32)]) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape, scale) in tensors {
        let begin = data.len();
        for i in 0..shape[0] * shape[1] {
            data.extend((scale * (i as f32 * 0.7).sin()).to_le_bytes());
        }
        let tensor = json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]});
        header.insert((*name).to_owned(), tensor);
    }
    let header = Value::Object(header).to_string().into_bytes();
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
    std::fs::write(path, file).unwrap();
}

fn write_lora(path: &Path) {
    let layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v";
    let (down, up) = (format!("{layer}.lora_A.weight"), format!("{layer}.lora_B.weight"));
    write_safetensors(path, &[(&down, [2, 16], 1.0), (&up, [8, 2], 1.0)]);
}

fn write_word(path: &Path) {
    write_safetensors(path, &[("<cat>", [1, 16], 2.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_made_from_text_each_with_the_next_seed() {
    let pictures = Pictures::start("").await;
    let answer = pictures
        .ask("text2img", json!({"model_id": "sd", "samples": "2"}))
        .await;
    let body = answer.json();
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["status", "generationTime", "id", "output", "meta"]);
    assert_eq!(body["meta"]["seed"], 7);
    assert_eq!(
        (&body["meta"]["W"], &body["meta"]["n_samples"]),
        (&json!(32), &json!(2))
    );
    let both = pictures.pictures(&answer).await;
    assert_eq!(both.len(), 2);
    assert_eq!(both[0].dimensions(), (32, 32));
    assert_ne!(both[0], both[1]);
    // Without a model the first one that makes pictures; what concerns videos alone is not looked at.
    let again = pictures
        .ask(
            "text2img",
            json!({"seed": 8, "num_frames": 16, "use_improved_sampling": "yes"}),
        )
        .await;
    assert_eq!(pictures.pictures(&again).await, both[1..]);
    assert_eq!(again.json()["meta"]["model_id"], "sd");

    let fetched = pictures
        .client
        .legacy("fetch", json!({"request_id": body["id"]}))
        .await
        .json();
    assert_eq!(
        fetched,
        json!({"status": "success", "id": body["id"], "output": body["output"]})
    );
    let document = pictures.client.video(&format!("video_{}", body["id"])).await;
    assert_eq!(document["output"]["pictures"], body["output"]);
    assert!(document["output"]["video"].is_null() && document["output"]["thumbnail"].is_string());
    let path = format!("/v1/videos/video_{}/content", body["id"]);
    let content = pictures.client.v1("GET", &path, None).await;
    assert_eq!((content.status, content.header("content-type")), (200, "image/png"));
    assert_eq!(decoded(&content.bytes), both[0]);
    pictures.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_come_as_base64_where_that_is_asked_for() {
    let pictures = Pictures::start("").await;
    let plain = pictures.ask("text2img", json!({})).await;
    let encoded = pictures.ask("text2img", json!({"base64": "yes"})).await.json();
    let png = BASE64_STANDARD.decode(encoded["output"][0].as_str().unwrap()).unwrap();
    assert_eq!(decoded(&png), pictures.pictures(&plain).await[0]);
    let fetched = pictures
        .client
        .legacy("fetch", json!({"request_id": encoded["id"]}))
        .await
        .json();
    assert_eq!(fetched["output"], encoded["output"]);
    pictures.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_begin_with_pictures_and_keep_what_a_mask_hides() {
    let pictures = Pictures::start("").await;
    let init = grey_and_red();
    let fields = json!({"init_image": data_url(init.clone()), "strength": 0.5});
    let one = pictures.ask("img2img", fields.clone()).await;
    let one = pictures.pictures(&one).await;
    let mut all = fields.clone();
    all["strength"] = json!(1);
    let answer = pictures.ask("img2img", all).await;
    assert_ne!(pictures.pictures(&answer).await, one);

    // Where a mask shows nothing, the prompt paints nothing.
    let mask = |grey| data_url(GrayImage::from_pixel(32, 32, Luma([grey])));
    let masked = |grey, prompt: &str| {
        let body = json!({"init_image": data_url(init.clone()), "mask_image": mask(grey), "prompt": prompt});
        async { pictures.pictures(&pictures.ask("inpaint", body).await).await }
    };
    assert_eq!(masked(0, "a red ball").await, masked(0, "a blue sky").await);
    assert_ne!(masked(255, "a red ball").await, masked(255, "a blue sky").await);

    for (name, missing) in [
        ("img2img", &["init_image"][..]),
        ("inpaint", &["init_image", "mask_image"]),
    ] {
        let answer = pictures.ask(name, json!({"samples": 5})).await;
        let message = answer.json()["message"].clone();
        assert_eq!(answer.status, 400);
        for field in missing {
            let spoken = field.replace('_', " ");
            assert_eq!(message[field], json!([format!("The {spoken} field is required.")]));
        }
        assert_eq!(
            message["samples"],
            json!(["The samples must be a whole number between 1 and 4."])
        );
    }
    let body = json!({"init_image": data_url(init.clone()), "mask_image": "bm8gcGljdHVyZQ=="});
    let answer = pictures.ask("inpaint", body).await;
    let fault = answer.json()["message"]["mask_image"][0].clone();
    assert!(
        answer.status == 400 && fault.as_str().unwrap().starts_with("The mask image is not usable"),
        "{fault}"
    );
    pictures.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_the_other_kind_is_refused_and_the_right_ones_are_named() {
    let pictures = Pictures::start("").await;
    let fault = |answer: Answer| {
        assert_eq!(answer.status, 400, "{answer:?}");
        answer.json()["message"]["model_id"][0].as_str().unwrap().to_owned()
    };
    let said = fault(pictures.ask("text2img", json!({"model_id": "tiny-world"})).await);
    assert_eq!(
        said,
        "The model tiny-world makes videos, not pictures; pictures are made by sd."
    );
    let said = fault(pictures.ask("text2video", json!({"model_id": "sd"})).await);
    assert_eq!(
        said,
        "The model sd makes pictures, not videos; videos are made by tiny-world, clips."
    );
    let body = json!({"prompt": "x", "model": "sd"});
    let answer = pictures.client.v1("POST", "/v1/videos", Some(body)).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["param"]),
        (400, &json!("model_id"))
    );
    let answer = pictures.ask("text2img", json!({"model_id": "nonesuch"})).await;
    assert_eq!(
        (answer.status, &answer.json()["message"]),
        (404, &json!("Model id not found"))
    );
    for (name, makes) in [("sd", "pictures"), ("clips", "videos")] {
        let model = pictures
            .client
            .v1("GET", &format!("/v1/models/{name}"), None)
            .await
            .json();
        assert_eq!(
            (&model["makes"], &model["loras"], &model["embeddings"]),
            (&json!(makes), &json!(["ink"]), &json!(["cat"]))
        );
    }
    pictures.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loras_learnt_words_and_improved_sampling_take_effect() {
    let pictures = Pictures::start("").await;
    let picture = |fields: Value| async { pictures.pictures(&pictures.ask("text2img", fields).await).await };
    let plain = picture(json!({})).await;
    let inked = picture(json!({"lora_model": "ink", "lora_strength": 2})).await;
    assert_ne!(inked, plain);
    assert_eq!(picture(json!({"lora_model": "ink", "lora_strength": "0"})).await, plain);
    let learnt = json!({"prompt": "a red <cat>", "embeddings_model": "cat"});
    assert_ne!(picture(learnt).await, picture(json!({"prompt": "a red cat"})).await);

    // All at once, with what else is wrong.
    let body = json!({"lora_model": "ink,oil", "embeddings_model": "dog", "width": 33});
    let answer = pictures.ask("text2img", body).await;
    let message = answer.json()["message"].clone();
    assert_eq!(
        (answer.status, &message["lora_model"]),
        (400, &json!(["There is no LoRA `oil`; known are ink."]))
    );
    assert_eq!(
        message["embeddings_model"],
        json!(["There is no learnt word `dog`; known are cat."])
    );
    assert!(message["width"].is_array(), "{message}");

    let clip = json!({"model_id": "clips", "num_frames": 4, "fps": 8});
    let clip = |fields: Value| {
        let mut body = clip.clone();
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        async {
            let answer = pictures.ask("text2video", body).await.json();
            assert_eq!(answer["status"], "success", "{answer}");
            pictures.client.video(&format!("video_{}", answer["id"])).await["parameters"].clone()
        }
    };
    assert!(clip(json!({})).await["free_init"].is_null());
    let used = clip(json!({
        "use_improved_sampling": "yes", "improved_sampling_seed": "42", "lora_model": "ink", "lora_strength": 0.5
    }));
    let used = used.await;
    assert!(used["free_init"].is_object(), "{used}");
    assert_eq!(
        (&used["improved_sampling_seed"], &used["loras"][0]["name"]),
        (&json!(42), &json!("ink"))
    );
    pictures.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_told_of_all_pictures() {
    let pictures = Pictures::start(&format!("webhook_secret = {:?}\n", receiver::SECRET)).await;
    let (url, received) = receiver::receiver(&["200 OK"]);
    let body = json!({"samples": 2, "webhook": url, "track_id": "t", "instant_response": "yes", "base64": "yes"});
    let answer = pictures.ask("text2img", body).await.json();
    assert_eq!(answer["status"], "processing");
    let links: Vec<String> = serde_json::from_value(answer["future_links"].clone()).unwrap();
    assert!(links.len() == 2 && links[1].ends_with("-1.png"), "{links:?}");
    let webhook = tokio::task::spawn_blocking(move || received.recv().unwrap())
        .await
        .unwrap();
    webhook.verify();
    let told: Value = serde_json::from_slice(&webhook.body).unwrap();
    assert_eq!((&told["status"], &told["track_id"]), (&json!("success"), &json!("t")));
    assert_eq!(told["output"].as_array().unwrap().len(), 2);
    let path = links[1].strip_prefix(&pictures.client.url).unwrap();
    assert_eq!(pictures.client.send("GET", path, &[], None).await.status, 200);
    let path = answer["fetch_result"]
        .as_str()
        .unwrap()
        .strip_prefix(&pictures.client.url)
        .unwrap();
    let key = json!({"key": KEY}).to_string().into_bytes();
    assert_eq!(
        pictures.client.send("POST", path, &[], Some(key)).await.json()["status"],
        "success"
    );
    pictures.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn additions_are_loaded_listed_and_deleted_while_the_server_runs() {
    let pictures = Pictures::start("").await;
    let client = &pictures.client;
    let listed = || async {
        let all = client.legacy("get_all_models", json!({})).await.json();
        let kinds = all["models"].as_array().unwrap().iter();
        let kinds = kinds.map(|model| format!("{}: {}", model["model_id"], model["model_type"]));
        kinds.collect::<Vec<String>>().join(", ").replace('"', "")
    };
    let before = "tiny-world: huggingface, clips: huggingface, sd: huggingface, ink: lora, cat: embeddings";
    assert_eq!(listed().await, before);
    let url = pictures.folder.path().join("oil.safetensors");
    write_lora(&url);
    let body = json!({"model_id": "oil", "url": url, "model_type": "lora"});
    assert_eq!(client.legacy("load_model", body.clone()).await.status, 200);
    assert!(listed().await.contains("oil: lora"));
    let inked = pictures.ask("text2img", json!({"lora_model": "oil"})).await;
    assert_eq!(inked.json()["meta"]["lora"], "oil", "{inked:?}");

    let mut taken = body.clone();
    taken["model_id"] = json!("sd");
    let answer = client.legacy("load_model", taken).await;
    assert!(
        answer.status == 400 && answer.json()["message"]["model_id"].is_array(),
        "{answer:?}"
    );
    let mut elsewhere = body;
    elsewhere["url"] = json!(fixture("sd_golden.safetensors"));
    let answer = client.legacy("load_model", elsewhere).await;
    assert!(
        answer.status == 400 && answer.json()["message"]["url"].is_array(),
        "{answer:?}"
    );

    assert_eq!(
        client.legacy("delete_model", json!({"model_id": "oil"})).await.status,
        200
    );
    assert_eq!(listed().await, before);
    let answer = pictures.ask("text2img", json!({"lora_model": "oil"})).await;
    assert!(
        answer.status == 400 && answer.json()["message"]["lora_model"].is_array(),
        "{answer:?}"
    );
    pictures.stop().await;
}
