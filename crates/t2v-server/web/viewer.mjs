// Shows one video: what there is to see of it, how it is doing, what it was made with, what can be done with it.

import { fileUrl, isActive, isOfPictures, parameters, phase, sentence, summary } from "./document.mjs";
import { element, setText, showText } from "./dom.mjs";

/** Pixels: smaller videos are shown with sharp edges. */
const TINY = 200;
/** Width divided by height: less is not wide. */
const WIDE = 1.3;

export class Viewer {
    #root;
    #base;
    #now;
    #media = "";
    #stage = element("figure", { className: "stage" });
    #meter = element("progress", { className: "meter", max: 100, "aria-label": "Progress", hidden: true });
    #state = element("p", { className: "state" });
    #words = element("h2", { className: "words" });
    #summary = element("p", { className: "summary" });
    #parameters = element("dl", { className: "parameters" });
    #about;
    #buttons;
    #shown = null;

    /** @param handlers by action: `again`, `another`, `cancel`, `remove`; each is given the document. */
    constructor(root, { base, now, handlers }) {
        [this.#root, this.#base, this.#now] = [root, base, now];
        const button = (textContent, action, className = "") =>
            element("button", { type: "button", textContent, className, onclick: () => handlers[action](this.#shown) });
        this.#buttons = {
            again: button("Again with this seed", "again"),
            another: button("New seed", "another"),
            download: element("a", { className: "button", textContent: "Download" }),
            cancel: button("Cancel", "cancel"),
            remove: button("Delete", "remove", "quiet"),
        };
        const actions = element("div", { className: "actions" }, ...Object.values(this.#buttons));
        const words = element("div", { className: "words-and-summary" }, this.#words, this.#summary);
        this.#about = element("div", { className: "about" }, this.#state, words, actions, this.#parameters);
        root.append(this.#stage, this.#meter, this.#about);
    }

    /** Shows a document, or that there is none. */
    show(document) {
        this.#shown = document;
        this.#about.hidden = document === null;
        this.#root.classList.toggle("is-tall", document !== null && isTall(document));
        this.#showMedia(document);
        this.#meter.hidden = document === null || !isActive(document);
        if (document === null) return;
        this.#meter.value = document.progress;
        showText(this.#state, sentence(document));
        this.#state.classList.toggle("is-fault", phase(document) === "failed");
        setText(this.#words, document.prompt);
        setText(this.#summary, summary(document, this.#now()));
        this.#showParameters(document);
        this.#showButtons(document);
    }

    /** Says that the video is about to be cancelled, until it is. */
    showCancelling() {
        this.#buttons.cancel.disabled = true;
        setText(this.#buttons.cancel, "Cancelling…");
    }

    #showButtons(document) {
        const { cancel, download, remove } = this.#buttons;
        if (cancel.dataset.id !== document.id) {
            Object.assign(cancel, { textContent: "Cancel", disabled: false });
            cancel.dataset.id = document.id;
        }
        const hadFocus = [cancel, remove].includes(globalThis.document.activeElement);
        cancel.hidden = !isActive(document);
        remove.hidden = isActive(document);
        download.hidden = phase(document) !== "done";
        if (!download.hidden) {
            const [file, extension] = isOfPictures(document) ? [document.output.pictures[0], "png"] : [document.output.video, "mp4"];
            download.href = fileUrl(file, this.#base);
            download.download = `${document.id}.${extension}`;
        }
        // A button that goes must not take the place of the keyboard with it.
        if (hadFocus && globalThis.document.activeElement === globalThis.document.body) this.#buttons.again.focus();
    }

    #showParameters(document) {
        const pairs = parameters(document);
        const key = JSON.stringify(pairs);
        if (this.#parameters.dataset.key === key) return;
        this.#parameters.dataset.key = key;
        const items = pairs.map(([name, value]) =>
            element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value })),
        );
        this.#parameters.replaceChildren(...items);
    }

    /** Puts in another picture only where it is another one: a video that plays is left alone. */
    #showMedia(document) {
        const key = document === null ? "none" : this.#mediaKey(document);
        if (key === this.#media) return;
        this.#media = key;
        const old = this.#stage.querySelector("img.rough");
        if (document !== null && phase(document) === "running" && document.preview && old) {
            old.src = document.preview;
            return;
        }
        this.#stage.replaceChildren(document === null ? empty() : this.#mediaOf(document));
    }

    #mediaKey(document) {
        return [document.id, phase(document), document.output?.thumbnail, document.preview].join(" ");
    }

    #mediaOf(document) {
        switch (phase(document)) {
            case "done":
                return isOfPictures(document) ? this.#pictures(document) : this.#video(document);
            case "running":
                return document.preview ? preview(document) : said("The first pictures come soon.");
            case "queued":
                return said("It begins as soon as those before it are through.");
            case "removed":
                return said("The files of this video were removed. Its settings are still here.");
            case "cancelled":
                return said("Cancelled before there was a video.");
            default:
                return said(document.error?.message ?? "There is no video.");
        }
    }

    /** Pictures side by side, each of which leads to its file. */
    #pictures(document) {
        const urls = document.output.pictures.map((url) => fileUrl(url, this.#base));
        const picture = (src, index) => {
            const alt = urls.length > 1 ? `${document.prompt}, picture ${index + 1}` : document.prompt;
            return element("a", { href: src, target: "_blank" }, element("img", { src, alt, className: tiny(document) }));
        };
        return element("div", { className: urls.length > 1 ? "pictures several" : "pictures" }, ...urls.map(picture));
    }

    #video(document) {
        const moves = !matchMedia("(prefers-reduced-motion: reduce)").matches;
        return element("video", {
            src: fileUrl(document.output.video, this.#base),
            poster: fileUrl(document.output.thumbnail, this.#base),
            className: tiny(document),
            controls: true,
            loop: true,
            muted: true,
            autoplay: moves,
            playsInline: true,
            "aria-label": document.prompt,
        });
    }
}

/** The class of pictures of a small video. */
export function tiny(document) {
    return document.parameters.width <= TINY ? "tiny" : "";
}

function isTall({ parameters: { width, height } }) {
    return width / height < WIDE;
}

function preview(document) {
    return element("img", { src: document.preview, alt: "Preview", className: "rough" });
}

function said(textContent) {
    return element("p", { textContent });
}

function empty() {
    return said("Describe a video and press Generate. It appears here while it is made.");
}
