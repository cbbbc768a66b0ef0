// The page's pure modules: `node --test crates/t2v-server/web_tests`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { news } from "../web/announcer.mjs";
import { Api } from "../web/api.mjs";
import { badge, fileUrl, isActive, parameters, patched, phase, sentence, summary } from "../web/document.mjs";
import { EventParser } from "../web/event_stream.mjs";
import { FIELDS, hint, isOf } from "../web/fields.mjs";
import { backOff, follow } from "../web/follow.mjs";
import { about, ago, bytes, count, duration, number } from "../web/format.mjs";
import { KeyHolder, keyOfFragment } from "../web/key.mjs";
import { again, body, faults } from "../web/request.mjs";
import { Videos, queueText } from "../web/videos.mjs";

/** A document as the server has it, with some fields changed. */
function video(changes = {}) {
    return {
        id: "video_7",
        number: 7,
        status: "queued",
        progress: 0,
        created_at: 1000,
        size: "64x48",
        seconds: "2",
        error: null,
        prompt: "a ball",
        seed: 5,
        parameters: { model_id: "tiny-world", width: 64, height: 48, num_frames: 16, fps: 8, clip_skip: 0, seed: 5, scheduler: "DDIMScheduler" },
        queue_position: null,
        eta: null,
        stage: null,
        preview: null,
        output: null,
        generation_time: null,
        ...changes,
    };
}

const running = { status: "in_progress", progress: 30, stage: { name: "denoising", done: 12, total: 30, eta: 8.4 } };
const done = { status: "completed", progress: 100, output: { video: "http://x/generations/a.mp4" }, generation_time: 4.25 };
const cancelled = { status: "failed", error: { code: "cancelled", message: "Cancelled." } };

test("times are short", () => {
    assert.deepEqual([0, 4.25, 59.6, 65, 120, 3600, 3700].map(duration), ["0 s", "4.3 s", "1 min", "1 min 5 s", "2 min", "1 h", "1 h 1 min"]);
    assert.deepEqual([0.4, 3.2, 33, 70, 4000].map(about), ["less than a second", "about 3 s", "about 35 s", "about 1 min", "about 1 h 7 min"]);
    assert.deepEqual([0, 119, 7300, 90000, 200000].map((past) => ago(0, past)), ["just now", "1 min ago", "2 h ago", "yesterday", "2 days ago"]);
    assert.equal(ago(10, 0), "just now");
    const amounts = [[1, 2], [999, 1500], [0, 1e6], [5e8, 1e9], [0, 123e9]].map(([done, total]) => bytes(done, total));
    assert.deepEqual(amounts, ["1 of 2 bytes", "1.0 of 1.5 kB", "0.0 of 1.0 MB", "0.5 of 1.0 GB", "0 of 123 GB"]);
    assert.deepEqual([number(7.5), number(0.1 + 0.2), count(1, "video"), count(0, "video")], ["7.5", "0.3", "1 video", "0 videos"]);
});

test("every state has its phase and its sentence", () => {
    const cases = [
        [{ queue_position: 0, eta: 4 }, "queued", "Next in the queue · about 4 s left"],
        [{ queue_position: 2 }, "queued", "2 videos before it"],
        [{}, "queued", "Waiting"],
        [running, "running", "Denoising, 12 of 30 · about 8 s left"],
        [{ ...running, eta: 20 }, "running", "Denoising, 12 of 30 · about 20 s left"],
        [{ status: "in_progress" }, "running", "Starting"],
        [{ status: "in_progress", stage: { name: "loading", done: 0, total: 0, eta: null } }, "running", "Loading"],
        [{ status: "in_progress", stage: { name: "loading", done: 3e8, total: 2.8e9, eta: 5 } }, "running", "Loading, 0.3 of 2.8 GB · about 5 s left"],
        [done, "done", "Made in 4.3 s"],
        [{ ...done, output: null }, "removed", "Its files were removed"],
        [cancelled, "cancelled", "Cancelled"],
        [{ status: "failed", error: { code: "timeout", message: "It took too long." } }, "failed", "It took too long."],
    ];
    for (const [changes, expected, text] of cases) {
        assert.deepEqual([phase(video(changes)), sentence(video(changes))], [expected, text]);
        assert.equal(isActive(video(changes)), ["queued", "running"].includes(expected));
    }
    assert.deepEqual([badge(video(running)), badge(video(done)), badge(video())], ["30 %", "", "Waiting"]);
    assert.equal(summary(video(), 1060), "64 × 48 · 2 s · seed 5 · 1 min ago");
});

test("parameters that say nothing are left out", () => {
    const shown = Object.fromEntries(parameters(video({ parameters: { ...video().parameters, negative_prompt: "", long_prompts: true, vae_tiling: false } })));
    assert.deepEqual([shown.Model, shown.Size, shown["Clip skip"], shown["Long prompts"], shown.Scheduler], ["tiny-world", "64 × 48", "0", "Yes", "DDIM"]);
    assert.ok(!("Negative prompt" in shown) && !("Tiled decoding" in shown) && !("Strength" in shown));
});

test("values in a patch are whole, and null is one", () => {
    const before = video({ stage: { name: "loading", done: 1, total: 2, eta: 1 }, preview: "data:x" });
    const after = patched(before, { stage: { name: "decoding", done: 0, total: 16, eta: null }, preview: null });
    assert.deepEqual(after.stage, { name: "decoding", done: 0, total: 16, eta: null });
    assert.ok("preview" in after && after.preview === null && after.id === before.id);
    assert.equal(before.preview, "data:x");
});

test("files are asked for from where the page is from", () => {
    assert.equal(fileUrl("http://0.0.0.0:8000/generations/ab.mp4", "https://host/t2v/"), "https://host/t2v/generations/ab.mp4");
});

test("events are read however the stream is cut", () => {
    const text = ': hello\n\nevent: snapshot\ndata: {"a":\ndata: 1}\n\nevent: patch\r\ndata:x\r\n\r\ndata: y\n\nevent: lost\n\nevent: end\ndata: {}\n\n';
    const expected = [
        { event: "snapshot", data: '{"a":\n1}' },
        { event: "patch", data: "x" },
        { event: "message", data: "y" },
        { event: "end", data: "{}" },
    ];
    for (const size of [1, 2, 3, 7, text.length]) {
        const parser = new EventParser();
        const found = [];
        for (let at = 0; at < text.length; at += size) found.push(...parser.push(text.slice(at, at + size)));
        assert.deepEqual(found, expected, `pieces of ${size}`);
    }
});

/** The answer of an event stream. */
function stream(...events) {
    return new Response(events.map(([event, data]) => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`).join(""));
}

test("a video is followed through lost connections, with longer and longer waits", async () => {
    const answers = [
        () => Promise.reject(new Error("lost")),
        () => Promise.reject(new Error("lost")),
        () => stream(["snapshot", video()], ["patch", { progress: 10 }]),
        () => stream(["snapshot", video({ progress: 20 })], ["patch", done], ["end", {}]),
    ];
    const [seen, waits, connected] = [[], [], []];
    const ended = await follow({
        open: async () => answers.shift()(),
        onDocument: (document) => seen.push(document.progress),
        onConnection: (isConnected) => connected.push(isConnected),
        signal: new AbortController().signal,
        wait: async (milliseconds) => waits.push(milliseconds),
    });
    assert.deepEqual([ended, seen, answers.length], ["ended", [0, 10, 20, 100], 0]);
    assert.equal(waits.length, 3);
    assert.ok(waits[1] >= waits[0] * 1 && waits[2] <= 500, `${waits}`);
    assert.deepEqual(connected.slice(0, 3), [false, false, true]);
});

test("following stops when it is told to, or when the video is gone", async () => {
    const controller = new AbortController();
    const options = { onDocument: () => {}, wait: async () => controller.abort(), signal: controller.signal };
    assert.equal(await follow({ ...options, open: async () => stream(["snapshot", video()]) }), "stopped");
    const locked = async () => Promise.reject(Object.assign(new Error("no key"), { status: 401 }));
    assert.equal(await follow({ ...options, open: locked, signal: new AbortController().signal }), "stopped");
    const gone = async () => Promise.reject(Object.assign(new Error("gone"), { status: 404 }));
    assert.equal(await follow({ ...options, open: gone, signal: new AbortController().signal }), "gone");
});

test("a connection that is silent is given up", async () => {
    const silent = () => new Response(new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode(": hello\n")) }));
    const answers = [silent, () => stream(["snapshot", video(done)], ["end", {}])];
    const options = { onDocument: () => {}, wait: async () => {}, signal: new AbortController().signal, silence: 20 };
    assert.equal(await follow({ ...options, open: async () => answers.shift()() }), "ended");
});

test("waits grow to half a minute and are never the same for all", () => {
    assert.deepEqual([0, 1, 2, 20].map((attempt) => backOff(attempt, 1)), [500, 1000, 2000, 30000]);
    assert.equal(backOff(0, 0), 250);
});

test("a request says only what was filled in", () => {
    const values = { prompt: "a ball", width: "64", guidance_scale: "7.5", seed: "0", scheduler: "", long_prompts: true, temp: false, webhook: "" };
    assert.deepEqual(body(values), { prompt: "a ball", width: 64, guidance_scale: 7.5, seed: 0, long_prompts: true });
    assert.deepEqual(body({ width: "12a" }), { width: "12a" });
});

test("a video is made again from its document", () => {
    const document = video({ ...done, prompt: "a big ball", parameters: { ...video().parameters, negative_prompt: "rain", prompt_weighting: true } });
    const values = again(document, true);
    assert.deepEqual(body(values), {
        prompt: "a big ball",
        model_id: "tiny-world",
        width: 64,
        height: 48,
        num_frames: 16,
        fps: 8,
        scheduler: "DDIMScheduler",
        seed: 5,
        negative_prompt: "rain",
        enhance_prompt: "no",
        clip_skip: 0,
        prompt_weighting: true,
    });
    assert.equal(again(document, false).seed, "");
    assert.equal(again(video(), true).enhance_prompt, "", "a prompt that was not completed yet may still be");
    assert.deepEqual(Object.keys(values).sort(), FIELDS.map(({ name }) => name).sort());
});

test("faults find their fields", () => {
    const all = { message: "x", param: "width", faults: { width: ["A.", "B."], size: ["C."], loadbalancer: ["D."], init_image: ["E."] } };
    assert.deepEqual(faults(all), { byField: { width: "A. B. C.", input_reference: "E." }, rest: "D." });
    assert.deepEqual(faults({ message: "No model.", param: "model", faults: null }), { byField: { model_id: "No model." }, rest: "" });
    assert.deepEqual(faults({ message: "Full.", param: null, faults: null }), { byField: {}, rest: "Full." });
});

test("hints tell ranges", () => {
    const side = { minimum: 8, maximum: 1024, step: 8 };
    assert.equal(hint({ unit: "pixels" }, side), "8 to 1024 by 8 pixels");
    assert.equal(hint({}, { minimum: 1, maximum: 20, step: null }), "1 to 20");
    assert.equal(hint({ hint: "1 replaces all of it" }, { minimum: 0, maximum: 1, step: null }), "0 to 1, 1 replaces all of it");
    assert.equal(hint({ hint: "told" }, null), "told");
});

/** A browser's storage. */
function storage(initial = {}) {
    const items = new Map(Object.entries(initial));
    return {
        items,
        getItem: (name) => items.get(name) ?? null,
        setItem: (name, value) => items.set(name, value),
        removeItem: (name) => items.delete(name),
    };
}

test("a key is kept only where one wants it", () => {
    assert.equal(keyOfFragment("#key=a%20b&x=1"), "a b");
    assert.equal(keyOfFragment(""), null);
    const kept = storage();
    const holder = new KeyHolder(kept, "#key=abc");
    assert.deepEqual([holder.key, holder.isRemembered, kept.items.size], ["abc", false, 0]);
    holder.set("def", true);
    assert.deepEqual([new KeyHolder(kept, "").key, holder.isRemembered], ["def", true]);
    holder.set("def", false);
    assert.equal(kept.items.size, 0);
    holder.set("def", true);
    holder.forget();
    assert.deepEqual([holder.key, kept.items.size], [null, 0]);
    assert.equal(new KeyHolder(null, "#key=abc").key, "abc");
});

test("a wrong key is asked for and the request sent again", async () => {
    let key = null;
    const sent = [];
    const answers = [401, 401, 200];
    const api = new Api({
        base: "http://host/",
        key: () => key,
        askForKey: async (isWrong) => (key = isWrong ? "right" : "wrong"),
        fetch: async (url, { headers }) => {
            sent.push(headers.Authorization);
            return new Response(JSON.stringify({ data: [] }), { status: answers.shift() });
        },
    });
    assert.deepEqual(await api.models(), { data: [] });
    assert.deepEqual(sent, [undefined, "Bearer wrong", "Bearer right"]);
});

test("errors have the server's words, or say that it is not there", async () => {
    const of = (fetch) => new Api({ base: "http://host/", key: () => "k", askForKey: async () => {}, fetch }).models();
    const error = { message: "Full.", param: null, faults: { width: ["x"] } };
    await assert.rejects(of(async () => new Response(JSON.stringify({ error }), { status: 429 })), { status: 429, message: "Full.", faults: { width: ["x"] } });
    await assert.rejects(of(async () => new Response("<html>", { status: 502 })), { status: 502, message: /502/ });
    await assert.rejects(of(async () => Promise.reject(new TypeError("x"))), { status: 0, message: "The server cannot be reached." });
});

test("videos are listed with the newest first", () => {
    const videos = new Videos();
    for (const number of [1, 3, 2]) videos.put(video({ id: `video_${number}`, number }));
    assert.deepEqual(videos.list().map((one) => one.number), [3, 2, 1]);
    videos.remove("video_2");
    assert.deepEqual([videos.neighbour(2).number, videos.neighbour(1).number], [1, 1]);
    videos.put(video({ id: "video_3", number: 3, ...running }));
    assert.equal(queueText(videos.list()), "1 running · 1 waiting");
    assert.equal(queueText([]), "");
});

test("what is said aloud is said once", () => {
    assert.equal(news(null, video()), null);
    assert.match(news(video(running), video(done)), /^The video is through\. Made in/);
    assert.equal(news(video(running), video({ ...running, progress: 45 })), null);
    assert.match(news(video(running), video({ ...running, progress: 52 })), /^52 percent/);
    assert.equal(news(video(running), video({ ...done, id: "video_8" })), null);
});

test("fields are there for models that have a use for them", () => {
    const shown = (model) => FIELDS.filter((field) => isOf(field, model)).map(({ name }) => name);
    const videos = shown({ makes: "videos", loras: [], embeddings: [] });
    assert.ok(videos.includes("num_frames") && !videos.includes("samples") && !videos.includes("lora_model"));
    const pictures = shown({ makes: "pictures", loras: ["ink"], embeddings: [] });
    assert.ok(pictures.includes("samples") && pictures.includes("mask_image") && pictures.includes("lora_strength"));
    assert.ok(!pictures.includes("fps") && !pictures.includes("use_improved_sampling") && !pictures.includes("embeddings_model"));
});

test("pictures have no length, and are made again with what they had", () => {
    const pictures = video({
        ...done,
        output_type: "png",
        output: { video: null, pictures: ["http://x/generations/a-0.png", "http://x/generations/a-1.png"] },
        parameters: { width: 64, num_frames: 1, fps: 8, seed: 5, loras: [{ name: "ink", strength: 0.8 }], textual_inversions: ["cat"] },
    });
    assert.equal(summary(pictures, 1000), "64 × 48 · seed 5 · just now");
    const shown = Object.fromEntries(parameters(pictures));
    assert.deepEqual([shown.LoRA, shown.Frames], ["ink × 0.8", undefined]);
    const values = again(pictures, true);
    assert.deepEqual([values.lora_model, values.lora_strength, values.embeddings_model, values.samples], ["ink", "0.8", "cat", "2"]);
});

test("pictures are asked for where they begin, with the key in the body", async () => {
    const calls = [];
    const fetch = async (url, { method, body }) => {
        calls.push([method, new URL(url).pathname, body && JSON.parse(body)]);
        const answer = calls.length === 1 ? { id: 9 } : { id: "video_9" };
        return { ok: true, status: 200, json: async () => answer };
    };
    const api = new Api({ base: "http://x/", key: () => "k", askForKey: async () => {}, fetch });
    const [init, mask] = ["a", "b"].map((text) => new File([text], "x.png", { type: "image/png" }));
    assert.deepEqual(await api.createPictures({ prompt: "p" }, { init, mask }, "s"), { id: "video_9" });
    const body = { prompt: "p", init_image: "data:image/png;base64,YQ==", mask_image: "data:image/png;base64,Yg==", key: "k", instant_response: "yes" };
    assert.deepEqual(calls, [
        ["POST", "/api/v1/enterprise/inpaint", body],
        ["GET", "/v1/videos/video_9", undefined],
    ]);
});

test("faults of either API are read", async () => {
    const answer = (body) => ({ ok: false, status: 400, text: async () => JSON.stringify(body) });
    const errors = [
        { status: "error", message: { samples: ["Too many."] } },
        { status: "error", message: "Model id not found" },
    ];
    const read = [];
    for (const body of errors) {
        const api = new Api({ base: "http://x/", key: () => "k", askForKey: async () => {}, fetch: async () => answer(body) });
        await api.models().catch((error) => read.push(faults(error)));
    }
    assert.deepEqual(read, [
        { byField: { samples: "Too many." }, rest: "" },
        { byField: {}, rest: "Model id not found" },
    ]);
});
