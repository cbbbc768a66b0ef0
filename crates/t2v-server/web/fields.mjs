// The fields of the form, in their order. Names are those of the API. Pure.

import { number } from "./format.mjs";

/**
 * `makes`: the field is for models that make this alone. `names`: it is there where the server has such names.
 * @typedef {{name: string, label: string, kind: string, hint?: string, options?: [string, string][], half?: boolean, makes?: string, names?: string}} Field
 */

/** Groups of fields; the first is always open. `isWide`: open from the start where there is room. */
export const GROUPS = [
    {
        fields: [
            { name: "prompt", label: "Prompt", kind: "prompt", placeholder: "A red ball bouncing in a blue sky" },
        ],
    },
    {
        title: "Size and length",
        isWide: true,
        fields: [
            { name: "model_id", label: "Model", kind: "model" },
            { name: "width", label: "Width", kind: "number", unit: "pixels", half: true },
            { name: "height", label: "Height", kind: "number", unit: "pixels", half: true },
            { name: "num_frames", label: "Frames", kind: "number", half: true, makes: "videos" },
            { name: "fps", label: "Frames a second", kind: "number", half: true, makes: "videos" },
            { name: "samples", label: "Pictures", kind: "number", empty: "1", hint: "1 to 4, each with the next seed", makes: "pictures" },
        ],
    },
    {
        title: "Sampling",
        isWide: true,
        fields: [
            { name: "num_inference_steps", label: "Steps", kind: "number", half: true },
            { name: "guidance_scale", label: "Guidance", kind: "number", half: true },
            { name: "scheduler", label: "Scheduler", kind: "scheduler" },
            { name: "seed", label: "Seed", kind: "number", empty: "Random" },
            {
                name: "speed",
                label: "Speed",
                kind: "choice",
                options: [
                    ["", "Exact"],
                    ["balanced", "Balanced: half of the time"],
                    ["fast", "Fast: a third, frames differ"],
                ],
            },
            { name: "lora_model", label: "LoRA", kind: "names", names: "loras" },
            { name: "lora_strength", label: "Strength of the LoRA", kind: "text", hint: "1 if empty; one for each with commas", names: "loras" },
            { name: "embeddings_model", label: "Learnt words", kind: "names", names: "embeddings" },
            {
                name: "use_improved_sampling",
                label: "Improved sampling",
                kind: "switch",
                hint: "Frames agree more, and take several times as long",
                makes: "videos",
            },
            { name: "improved_sampling_seed", label: "Seed of improved sampling", kind: "number", empty: "That of the video", makes: "videos" },
        ],
    },
    {
        title: "More about the prompt",
        fields: [
            { name: "negative_prompt", label: "Negative prompt", kind: "area", hint: "What the video should not show" },
            {
                name: "enhance_prompt",
                label: "Complete the prompt",
                kind: "choice",
                options: [
                    ["", "As the model has it"],
                    ["yes", "Yes"],
                    ["no", "No"],
                ],
            },
            { name: "clip_skip", label: "Clip skip", kind: "number" },
            {
                name: "prompt_weighting",
                label: "Weighted words",
                kind: "switch",
                hint: "(word) counts more, [word] less, (word:1.3) 1.3 times",
            },
            { name: "long_prompts", label: "Long prompts", kind: "switch", hint: "All of a long prompt counts" },
        ],
    },
    {
        title: "Start from a picture",
        fields: [
            { name: "input_reference", label: "Picture or video", kind: "file" },
            { name: "mask_image", label: "Mask", kind: "picture", hint: "White where it is painted anew", makes: "pictures" },
            { name: "strength", label: "Strength", kind: "number", hint: "1 replaces all of it" },
        ],
    },
    {
        title: "Delivery",
        fields: [
            { name: "vae_tiling", label: "Tiled decoding", kind: "switch", hint: "Less memory for large frames" },
            { name: "temp", label: "Keep for a day only", kind: "switch" },
            { name: "webhook", label: "Webhook", kind: "url", hint: "Told of the end by POST" },
            { name: "track_id", label: "Track id", kind: "text", hint: "Given back to the webhook" },
        ],
    },
];

/** All fields. */
export const FIELDS = GROUPS.flatMap((group) => group.fields);

/** Whether a model has a use for a field. */
export function isOf(field, model) {
    if (field.makes && (model.makes ?? "videos") !== field.makes) return false;
    return !field.names || (model[field.names] ?? []).length > 0;
}

/** Whether a field is filled in with files. */
export function isFile({ kind }) {
    return kind === "file" || kind === "picture";
}

/** What is told about the values of a field of numbers. */
export function hint(field, limit) {
    const range = limit ? rangeText(limit) : "";
    return [range, field.unit, field.hint].filter(Boolean).join(range && field.unit && !field.hint ? " " : ", ");
}

function rangeText({ minimum, maximum, step }) {
    const range = `${number(minimum)} to ${number(maximum)}`;
    return step !== null && step > 1 ? `${range} by ${number(step)}` : range;
}
