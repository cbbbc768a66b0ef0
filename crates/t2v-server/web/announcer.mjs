// What people who don't see the page are told: changes of phase, and quarters of the way.

import { isActive, phase, sentence } from "./document.mjs";
import { setText } from "./dom.mjs";

/** What to say of a document after what was said of it before; `null`: nothing new. Pure. */
export function news(before, document) {
    if (before?.id !== document.id) return null;
    const [was, is] = [phase(before), phase(document)];
    if (was !== is) return `${isActive(document) ? "" : "The video is through. "}${sentence(document)}.`;
    const quarter = Math.floor(document.progress / 25);
    const isFurther = is === "running" && quarter > Math.floor(before.progress / 25);
    return isFurther ? `${document.progress} percent. ${sentence(document)}.` : null;
}

export class Announcer {
    #region;
    #before = null;

    constructor(region) {
        this.#region = region;
    }

    say(text) {
        setText(this.#region, text);
    }

    follow(document) {
        const text = news(this.#before, document);
        this.#before = document;
        if (text) this.say(text);
    }
}
