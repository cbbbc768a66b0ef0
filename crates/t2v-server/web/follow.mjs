// Follows one video until it ends, through lost connections.

import { patched } from "./document.mjs";
import { EventParser } from "./event_stream.mjs";

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
 *          onConnection?: (isConnected: boolean) => void, signal: AbortSignal, wait?: typeof sleep}} options
 * @returns {Promise<"ended" | "stopped" | "gone">}
 */
export async function follow({ open, onDocument, onConnection = () => {}, signal, wait = sleep }) {
    let attempt = 0;
    while (!signal.aborted) {
        try {
            const response = await open(signal);
            const ended = await read(response, (document) => {
                attempt = 0;
                onConnection(true);
                if (!signal.aborted) onDocument(document);
            });
            if (ended) return "ended";
        } catch (error) {
            if (error.status === 404) return "gone";
        }
        if (signal.aborted) break;
        onConnection(false);
        await wait(backOff(attempt++), signal);
    }
    return "stopped";
}

/** Reads one connection; whether the video has ended. */
async function read(response, onDocument) {
    const parser = new EventParser();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let document = null;
    for (;;) {
        const { done, value } = await reader.read();
        if (done) return false;
        for (const { event, data } of parser.push(value)) {
            if (event === "end") return true;
            if (event !== "snapshot" && event !== "patch") continue;
            document = event === "snapshot" ? JSON.parse(data) : patched(document, JSON.parse(data));
            onDocument(document);
        }
    }
}
