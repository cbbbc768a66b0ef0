// Follows one video until it ends, through lost connections.

import { patched } from "./document.mjs";
import { EventParser } from "./event_stream.mjs";

/** Milliseconds without a byte after which a connection is taken for dead: a server that lives says something more often. */
const SILENCE = 45_000;

/** Milliseconds before the connection is tried again for the `attempt`th time, from 0: half of it is chance. */
export function backOff(attempt, random = Math.random()) {
    return Math.min(30_000, 500 * 2 ** attempt) * (0.5 + random / 2);
}

/** Waits, or ends early with the signal. */
export function sleep(milliseconds, signal) {
    return new Promise((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
}

/**
 * Follows a video: `onDocument` is given its document again and again. Every connection begins with a snapshot, so nothing is
 * missed.
 * @param {{open: (signal: AbortSignal) => Promise<Response>, onDocument: (document: object) => void,
 *          onConnection?: (isConnected: boolean) => void, signal: AbortSignal, wait?: typeof sleep, silence?: number}} options
 * @returns {Promise<"ended" | "stopped" | "gone">} `stopped` by the signal, or because no key was given
 */
export async function follow({ open, onDocument, onConnection = () => {}, signal, wait = sleep, silence = SILENCE }) {
    let attempt = 0;
    while (!signal.aborted) {
        try {
            const response = await open(signal);
            const ended = await read(response, silence, (document) => {
                attempt = 0;
                onConnection(true);
                if (!signal.aborted) onDocument(document);
            });
            if (ended) return "ended";
        } catch (error) {
            if (error.status === 404) return "gone";
            if (error.status === 401) return "stopped";
        }
        if (signal.aborted) break;
        onConnection(false);
        await wait(backOff(attempt++), signal);
    }
    return "stopped";
}

/** Reads one connection until it ends or is silent for too long; whether the video has ended. */
async function read(response, silence, onDocument) {
    const parser = new EventParser();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let document = null;
    for (;;) {
        const timer = setTimeout(() => reader.cancel(), silence);
        const { done, value } = await reader.read().finally(() => clearTimeout(timer));
        if (done) return false;
        for (const { event, data } of parser.push(value)) {
            if (event === "end") return true;
            if (event !== "snapshot" && event !== "patch") continue;
            document = event === "snapshot" ? JSON.parse(data) : patched(document, JSON.parse(data));
            onDocument(document);
        }
    }
}
