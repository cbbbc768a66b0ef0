// What the document of a video means: its phase, its sentence, its parameters. Pure.

import { about, ago, bytes, capitalised, count, duration, number } from "./format.mjs";

/**
 * The document after a patch of the event stream. Each value in a patch is whole, and `null` is a value: documents always have
 * all their fields.
 */
export function patched(document, patch) {
    return { ...document, ...patch };
}

/** One of `queued`, `running`, `done`, `removed` (made, but its files are gone), `cancelled`, `failed`. */
export function phase(document) {
    switch (document.status) {
        case "queued":
            return "queued";
        case "in_progress":
            return "running";
        case "completed":
            return document.output ? "done" : "removed";
        default:
            return document.error?.code === "cancelled" ? "cancelled" : "failed";
    }
}

/** Whether there is something to wait for. */
export function isActive(document) {
    return document.status === "queued" || document.status === "in_progress";
}

/** The phase in one word or two. */
export function badge(document) {
    const words = {
        queued: "Waiting",
        running: `${document.progress} %`,
        done: "",
        removed: "Removed",
        cancelled: "Cancelled",
        failed: "Failed",
    };
    return words[phase(document)];
}

/** How the video is doing, as a sentence without a full stop. */
export function sentence(document) {
    switch (phase(document)) {
        case "queued":
            return [place(document.queue_position), expected(document.eta)].filter(Boolean).join(" · ");
        case "running":
            return [stage(document.stage), expected(left(document))].filter(Boolean).join(" · ");
        case "done":
            return document.generation_time === null ? "Ready" : `Made in ${duration(document.generation_time)}`;
        case "removed":
            return "Its files were removed";
        case "cancelled":
            return "Cancelled";
        default:
            return document.error?.message ?? "There is no video";
    }
}

function place(position) {
    if (position === null) return "Waiting";
    return position === 0 ? "Next in the queue" : `${count(position, "video")} before it`;
}

function stage(stage) {
    if (!stage) return "Starting";
    const name = capitalised(stage.name);
    if (stage.name === "loading") return stage.total > 0 ? `${name}, ${bytes(stage.done, stage.total)}` : name;
    return stage.total > 1 ? `${name}, ${stage.done} of ${stage.total}` : name;
}

/** Seconds until the video: measured on earlier ones, which may have been smaller, so at least those of the stage. */
function left(document) {
    const known = [document.eta, document.stage?.eta].filter((eta) => typeof eta === "number");
    return known.length > 0 ? Math.max(...known) : null;
}

function expected(eta) {
    return eta === null ? "" : `${about(eta)} left`;
}

/** Whether it makes still pictures. */
export function isOfPictures(document) {
    return ["png", "base64"].includes(document.output_type);
}

/** Size, length, seed and age in one line. */
export function summary(document, now) {
    const size = document.size.replace("x", " × ");
    const length = isOfPictures(document) ? null : `${document.seconds} s`;
    return [size, length, `seed ${document.seed}`, ago(document.created_at, now)].filter((part) => part !== null).join(" · ");
}

/** Shown names of parameters, in order. */
const PARAMETERS = [
    ["model_id", "Model"],
    ["original_prompt", "Prompt as written"],
    ["negative_prompt", "Negative prompt"],
    ["num_frames", "Frames"],
    ["fps", "Frames a second"],
    ["scheduler", "Scheduler"],
    ["num_inference_steps", "Steps"],
    ["guidance_scale", "Guidance"],
    ["strength", "Strength"],
    ["clip_skip", "Clip skip"],
    ["seed", "Seed"],
    ["speed", "Speed"],
    ["improved_sampling_seed", "Seed of improved sampling"],
    ["prompt_weighting", "Weighted words"],
    ["long_prompts", "Long prompts"],
    ["vae_tiling", "Tiled decoding"],
];

/** Names and values to show, without those that say nothing. */
export function parameters(document) {
    const all = document.parameters;
    const ofVideos = isOfPictures(document) ? ["num_frames", "fps"] : [];
    const shown = PARAMETERS.filter(([name]) => !ofVideos.includes(name)).map(([name, label]) => [label, value(all[name])]).filter(([, text]) => text !== "");
    const at = shown.findIndex(([label]) => label === "Scheduler");
    if (at >= 0) shown[at][1] = schedulerName(shown[at][1]);
    shown.splice(1, 0, ["Size", document.size.replace("x", " × ")]);
    if (all.init) shown.push(["Began with", count(all.init.frames, "picture")]);
    if (all.mask) shown.push(["Painted anew", "What the mask shows"]);
    if (all.loras?.length > 0) shown.push(["LoRA", all.loras.map((lora) => `${lora.name} × ${number(lora.strength)}`).join(", ")]);
    if (all.free_init) shown.push(["Improved sampling", "Yes"]);
    if (all.textual_inversions?.length > 0) shown.push(["Learnt words", all.textual_inversions.join(", ")]);
    return shown;
}

/** A scheduler's name without what all of them end with. */
export function schedulerName(scheduler) {
    return scheduler.replace(/Scheduler$/, "");
}

function value(value) {
    if (value === undefined || value === null || value === false) return "";
    if (value === true) return "Yes";
    return typeof value === "number" ? number(value) : String(value);
}

/**
 * Where a file of a video is, seen from the page: servers have these files under their last part, whatever name the server
 * knows itself by.
 */
export function fileUrl(url, base) {
    return new URL(`generations/${url.slice(url.lastIndexOf("/") + 1)}`, base).href;
}
