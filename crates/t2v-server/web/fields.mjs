// The fields of the form, in their order. Names are those of the API. Pure.

import { number } from "./format.mjs";

/** @typedef {{name: string, label: string, kind: string, hint?: string, options?: [string, string][], half?: boolean}} Field */

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
            { name: "num_frames", label: "Frames", kind: "number", half: true },
            { name: "fps", label: "Frames a second", kind: "number", half: true },
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

/** What is told about the values of a field of numbers. */
export function hint(field, limit) {
    const range = limit ? rangeText(limit) : "";
    return [range, field.unit, field.hint].filter(Boolean).join(range && field.unit && !field.hint ? " " : ", ");
}

function rangeText({ minimum, maximum, step }) {
    const range = `${number(minimum)} to ${number(maximum)}`;
    return step !== null && step > 1 ? `${range} by ${number(step)}` : range;
}
