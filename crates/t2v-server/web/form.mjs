// The form: fields with their ranges, values in and out, faults beside the fields that they belong to.

import { schedulerName } from "./document.mjs";
import { element, setText, showText } from "./dom.mjs";
import { FIELDS, GROUPS, hint, isFile, isOf } from "./fields.mjs";
import { number } from "./format.mjs";

const ROOM = "(min-width: 900px)";

export class Form {
    #root;
    #inputs = new Map();
    #model = null;
    #button = element("button", { className: "primary", type: "submit", textContent: "Generate" });
    #fault = element("p", { className: "fault", role: "alert", hidden: true });

    /** @param {{onSubmit: () => void, onModel: (name: string) => void}} handlers */
    constructor(root, { onSubmit, onModel }) {
        this.#root = root;
        const [first, ...others] = GROUPS.map((group) => this.#group(group));
        root.append(first, this.#submit(), ...others);
        root.addEventListener("submit", (event) => {
            event.preventDefault();
            onSubmit();
        });
        root.addEventListener("keydown", (event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) root.requestSubmit();
        });
        root.addEventListener("input", ({ target }) => this.#clearFault(target.name));
        this.#inputs.get("model_id").addEventListener("change", ({ target }) => onModel(target.value));
    }

    #submit() {
        const key = (name) => element("kbd", { textContent: name });
        const hint = element("p", { className: "hint keyboard" }, key("Ctrl"), " ", key("Enter"), " from any field");
        return element("div", { className: "submit" }, this.#button, this.#fault, hint);
    }

    #group({ title, isWide = false, fields }) {
        const box = element("div", { className: "fields" }, ...fields.map((field) => this.#field(field)));
        if (!title) return box;
        const open = isWide && matchMedia(ROOM).matches;
        return element("details", { className: "group", open }, element("summary", { textContent: title }), box);
    }

    #field(field) {
        const { name, label, kind, half = false } = field;
        const input = control(field);
        this.#inputs.set(name, input);
        const describedby = `${name}-hint ${name}-fault`;
        input.setAttribute("aria-describedby", describedby);
        const text = hint(field, null);
        const hintLine = element("p", { className: "hint", id: `${name}-hint`, textContent: text, hidden: text === "" });
        const faultLine = element("p", { className: "fault", id: `${name}-fault`, hidden: true });
        const labelled =
            kind === "switch"
                ? [element("label", { className: "switch" }, input, label)]
                : [element("label", { htmlFor: name, textContent: label }), input];
        if (kind === "names") labelled.push(element("datalist", { id: `${name}-names` }));
        return element("div", { className: half ? "field half" : "field" }, ...labelled, hintLine, faultLine);
    }

    /** What is in the fields, but files. Numbers that are none are faults of the form itself. */
    values() {
        const values = {};
        for (const field of this.#fields()) {
            const input = this.#inputs.get(field.name);
            if (field.kind === "switch") values[field.name] = input.checked;
            else if (!isFile(field)) values[field.name] = input.value.trim();
        }
        return values;
    }

    /** The names of fields whose text is no number: such a field has no value to send. */
    unreadable() {
        return this.#fields().filter(({ name }) => this.#inputs.get(name).validity.badInput).map(({ name }) => name);
    }

    /** What it starts from, and what of that is painted anew. */
    get files() {
        const file = (name) => (this.#fields().some((field) => field.name === name) ? (this.#inputs.get(name).files[0] ?? null) : null);
        return { init: file("input_reference"), mask: file("mask_image") };
    }

    /** Whether the model makes pictures. */
    get makesPictures() {
        return this.#model?.makes === "pictures";
    }

    /** The fields that the model has a use for. */
    #fields() {
        return FIELDS.filter((field) => isOf(field, this.#model ?? {}));
    }

    /** Fills in the form; files have to be chosen by hand. */
    fill(values) {
        this.showFaults({ byField: {}, rest: "" });
        for (const field of FIELDS) {
            const { name, kind } = field;
            const input = this.#inputs.get(name);
            if (isFile(field)) input.value = "";
            else if (kind === "switch") input.checked = values[name];
            else if (kind === "scheduler" && !hasOption(input, values[name])) input.value = "";
            else input.value = values[name];
        }
    }

    get model() {
        return this.#inputs.get("model_id").value;
    }

    setModels(names) {
        const options = names.map((name) => element("option", { value: name, textContent: name }));
        this.#inputs.get("model_id").replaceChildren(...options);
    }

    /** Shows what a model can do: ranges, and its defaults where nothing is filled in. */
    setModel(model) {
        const { defaults, limits, schedulers } = model;
        this.#model = model;
        for (const field of FIELDS) this.#inputs.get(field.name).closest(".field").hidden = !isOf(field, model);
        for (const { name, names } of FIELDS.filter(({ kind }) => kind === "names")) {
            const options = (model[names] ?? []).map((value) => element("option", { value }));
            this.#root.querySelector(`#${name}-names`).replaceChildren(...options);
            const text = (model[names] ?? []).join(", ");
            showText(this.#root.querySelector(`#${name}-hint`), text && `Of ${text}; with commas between several`);
        }
        for (const field of FIELDS.filter(({ kind }) => kind === "number")) {
            const [input, limit] = [this.#inputs.get(field.name), limits?.[field.name]];
            const usual = defaults[field.name];
            input.placeholder = usual === undefined ? (field.empty ?? "") : number(usual);
            if (limit) {
                Object.assign(input, { min: limit.minimum, max: limit.maximum, step: limit.step ?? "any" });
            }
            showText(this.#root.querySelector(`#${field.name}-hint`), hint(field, limit));
        }
        const select = this.#inputs.get("scheduler");
        const chosen = select.value;
        const usual = element("option", { value: "", textContent: `${schedulerName(defaults.scheduler)} (the model's own)` });
        const options = schedulers.map((name) => element("option", { value: name, textContent: schedulerName(name) }));
        select.replaceChildren(usual, ...options);
        select.value = hasOption(select, chosen) ? chosen : "";
    }

    setBusy(isBusy) {
        this.#button.disabled = isBusy;
        setText(this.#button, isBusy ? "Sending…" : "Generate");
    }

    /** Shows faults, each beside its field, and puts the cursor into the first of them. */
    showFaults({ byField, rest }) {
        for (const { name } of FIELDS) this.#showFault(name, byField[name] ?? "");
        showText(this.#fault, rest);
        const first = FIELDS.find(({ name }) => byField[name]);
        if (first) this.#inputs.get(first.name).focus();
    }

    focusPrompt() {
        this.#inputs.get("prompt").focus();
    }

    focusButton() {
        this.#root.scrollIntoView({ block: "start" });
        this.#button.focus();
    }

    #showFault(name, text) {
        const input = this.#inputs.get(name);
        showText(this.#root.querySelector(`#${name}-fault`), text);
        if (text === "") {
            input.removeAttribute("aria-invalid");
            return;
        }
        input.setAttribute("aria-invalid", "true");
        const group = input.closest("details");
        if (group) group.open = true;
    }

    #clearFault(name) {
        if (this.#inputs.get(name)?.hasAttribute("aria-invalid")) this.#showFault(name, "");
    }
}

function hasOption(select, value) {
    return [...select.options].some((option) => option.value === value);
}

/** What a field is filled in with. */
function control({ name, kind, options, placeholder }) {
    const shared = { id: name, name };
    switch (kind) {
        case "prompt":
            return element("textarea", { ...shared, className: "prompt", placeholder, required: true });
        case "area":
            return element("textarea", shared);
        case "model":
        case "scheduler":
            return element("select", shared);
        case "choice": {
            const choices = options.map(([value, textContent]) => element("option", { value, textContent }));
            return element("select", shared, ...choices);
        }
        case "switch":
            return element("input", { ...shared, type: "checkbox" });
        case "picture":
            return element("input", { ...shared, type: "file", accept: "image/*" });
        case "names":
            return element("input", { ...shared, type: "text", list: `${name}-names`, autocomplete: "off", spellcheck: false });
        case "file":
            return element("input", { ...shared, type: "file", accept: "image/*,video/mp4" });
        case "number":
            return element("input", { ...shared, type: "number", step: "any", autocomplete: "off" });
        default:
            return element("input", { ...shared, type: kind, autocomplete: "off", spellcheck: false });
    }
}
