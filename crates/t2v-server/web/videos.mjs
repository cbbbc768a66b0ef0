// The videos that the page knows, newest first. No more than a map with an order.

import { isActive } from "./document.mjs";

export class Videos {
    #documents = new Map();

    get(id) {
        return this.#documents.get(id);
    }

    put(document) {
        this.#documents.set(document.id, document);
    }

    remove(id) {
        this.#documents.delete(id);
    }

    clear() {
        this.#documents.clear();
    }

    /** All of them, the newest first. */
    list() {
        return [...this.#documents.values()].sort((a, b) => b.number - a.number);
    }

    active() {
        return this.list().filter(isActive);
    }

    /** The one to show in place of one that is gone: its older neighbour, or the newest. */
    neighbour(number) {
        const all = this.list();
        return all.find((document) => document.number < number) ?? all.at(-1) ?? null;
    }
}

/** How many run and wait, in words. */
export function queueText(documents) {
    const running = documents.filter((document) => document.status === "in_progress").length;
    const waiting = documents.filter((document) => document.status === "queued").length;
    const parts = [running && `${running} running`, waiting && `${waiting} waiting`];
    return parts.filter(Boolean).join(" · ");
}
