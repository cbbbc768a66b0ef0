// The server's API: requests with the key, answers as values, errors as one kind of exception.

/** What the server refuses, or that it can't be reached (`status` 0). */
export class ApiError extends Error {
    constructor(status, { message, param = null, faults = null }) {
        super(message);
        Object.assign(this, { status, param, faults });
    }
}

/** The error in an answer that is one. */
export async function errorOf(response) {
    const text = await response.text();
    try {
        const { error, message } = JSON.parse(text);
        return new ApiError(response.status, error ?? told(message));
    } catch {
        return new ApiError(response.status, { message: `The server answers with the status ${response.status}.` });
    }
}

/** What the endpoints for pictures say is wrong: a sentence, or lists of them by field. */
function told(message) {
    if (typeof message === "string") return { message };
    return { message: Object.values(message).flat().join(" "), faults: message };
}

/** A file as a `data:` URL. */
async function dataUrl(file) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    let text = "";
    for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
    return `data:${file.type || "application/octet-stream"};base64,${btoa(text)}`;
}

/** The videos API of one server, and of its other one what makes pictures. */
export class Api {
    /**
     * @param {{base: string, key: () => ?string, askForKey: (isWrong: boolean) => Promise<void>}} options `askForKey` is
     * called where the server wants another key; when it is through, the request is sent again.
     */
    constructor({ base, key, askForKey, fetch = globalThis.fetch.bind(globalThis) }) {
        Object.assign(this, { base, key, askForKey, fetch });
    }

    /** `body`: what is sent, or what gives it for a key. */
    async send(method, path, { body, headers = {}, signal } = {}) {
        for (;;) {
            const key = this.key();
            const sent = { ...headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
            const content = typeof body === "function" ? body(key) : body;
            const response = await this.#fetch(path, { method, body: content, headers: sent, signal, cache: "no-store" });
            if (response.ok) return response;
            if (response.status !== 401) throw await errorOf(response);
            if (this.key() === key) await this.askForKey(Boolean(key));
        }
    }

    async #fetch(path, options) {
        try {
            return await this.fetch(new URL(path, this.base), options);
        } catch (error) {
            if (error.name === "AbortError") throw error;
            throw new ApiError(0, { message: "The server cannot be reached." });
        }
    }

    async #json(method, path, options) {
        return (await this.send(method, path, options)).json();
    }

    models() {
        return this.#json("GET", "v1/models");
    }

    model(name) {
        return this.#json("GET", `v1/models/${encodeURIComponent(name)}`);
    }

    videos({ after, limit }) {
        const query = new URLSearchParams({ limit, ...(after ? { after } : {}) });
        return this.#json("GET", `v1/videos?${query}`);
    }

    /** Queues a video. `file`: what it starts from. The same `submission` twice makes one video. */
    create(fields, file, submission) {
        const headers = { "Idempotency-Key": submission };
        if (!file) {
            headers["Content-Type"] = "application/json";
            return this.#json("POST", "v1/videos", { body: JSON.stringify(fields), headers });
        }
        const form = new FormData();
        for (const [name, value] of Object.entries(fields)) form.append(name, String(value));
        form.append("input_reference", file);
        return this.#json("POST", "v1/videos", { body: form, headers });
    }

    /** Queues pictures. `init`: what they start from, `mask`: what of it is painted anew. */
    async createPictures(fields, { init, mask }, submission) {
        const name = mask ? "inpaint" : init ? "img2img" : "text2img";
        const files = {
            ...(init ? { init_image: await dataUrl(init) } : {}),
            ...(mask ? { mask_image: await dataUrl(mask) } : {}),
        };
        const headers = { "Idempotency-Key": submission, "Content-Type": "application/json" };
        const body = (key) => JSON.stringify({ ...fields, ...files, key, instant_response: "yes" });
        const { id } = await this.#json("POST", `api/v1/enterprise/${name}`, { body, headers });
        return this.#json("GET", `v1/videos/video_${id}`);
    }

    cancel(id) {
        return this.#json("POST", `v1/videos/${id}/cancel`);
    }

    delete(id) {
        return this.#json("DELETE", `v1/videos/${id}`);
    }

    events(id, signal) {
        return this.send("GET", `v1/videos/${id}/events`, { signal });
    }
}
