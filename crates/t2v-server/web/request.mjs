// Between the values of the form and the API's requests. Values are texts, `true` or `false`. Pure.

import { FIELDS } from "./fields.mjs";

/** The body of a request: fields that say nothing are left out, so that the model's defaults hold. */
export function body(values) {
    const filled = FIELDS.map((field) => [field, values[field.name]]);
    const said = filled.filter(([, value]) => value !== undefined && value !== false && value !== "");
    return Object.fromEntries(said.map(([field, value]) => [field.name, typed(field, value)]));
}

/** Numbers as numbers; what is none goes to the server as it stands, which says what is wrong with it. */
function typed(field, value) {
    if (field.kind !== "number") return value;
    const number = Number(value);
    return Number.isFinite(number) ? number : value;
}

/**
 * The values that make the video of a document again. The prompt of one that is there was completed already. `keepsSeed`:
 * the same video; otherwise another one of the same kind.
 */
export function again(document, keepsSeed) {
    const values = Object.fromEntries(FIELDS.map(({ name, kind }) => [name, kind === "switch" ? false : ""]));
    for (const { name, kind } of FIELDS) {
        const used = document.parameters[name];
        if (used === undefined || used === null) continue;
        values[name] = kind === "switch" ? used === true : String(used);
    }
    const { loras = [], textual_inversions: words = [], free_init: freeInit } = document.parameters;
    values.lora_model = loras.map(({ name }) => name).join(",");
    values.lora_strength = loras.map(({ strength }) => strength).join(",");
    values.embeddings_model = words.join(",");
    values.use_improved_sampling = Boolean(freeInit);
    const pictures = document.output?.pictures?.length ?? 0;
    values.samples = pictures > 1 ? String(pictures) : "";
    values.prompt = document.prompt;
    values.enhance_prompt = document.status === "completed" ? "no" : "";
    values.seed = keepsSeed ? String(document.seed) : "";
    return values;
}

/** Fields under other names in what the server says. */
const ALIASES = {
    model: "model_id",
    size: "width",
    seconds: "num_frames",
    init_image: "input_reference",
    init_video: "input_reference",
    mask: "mask_image",
    free_init: "use_improved_sampling",
};

/**
 * Faults by field of the form, and what concerns none of them.
 * @param {{message: string, param: ?string, faults: ?Object<string, string[]>}} error
 */
export function faults(error) {
    const listed = error.faults ?? (error.param ? { [error.param]: [error.message] } : {});
    const [byField, rest] = [{}, []];
    for (const [name, sentences] of Object.entries(listed)) {
        const field = ALIASES[name] ?? name;
        const text = sentences.join(" ");
        if (FIELDS.some((known) => known.name === field)) byField[field] = [byField[field], text].filter(Boolean).join(" ");
        else rest.push(text);
    }
    if (Object.keys(listed).length === 0) rest.push(error.message);
    return { byField, rest: rest.join(" ") };
}
