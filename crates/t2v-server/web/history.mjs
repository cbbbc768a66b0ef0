// The list of videos as cards. Cards are kept and changed in place, so that the keyboard stays where it is.

import { badge, fileUrl, phase } from "./document.mjs";
import { element, setText, showText } from "./dom.mjs";
import { ago } from "./format.mjs";
import { tiny } from "./viewer.mjs";

export class History {
    #list;
    #base;
    #now;
    #onSelect;
    #cards = new Map();

    /** @param {{base: string, now: () => number, onSelect: (id: string) => void}} options */
    constructor(list, { base, now, onSelect }) {
        this.#list = list;
        [this.#base, this.#now, this.#onSelect] = [base, now, onSelect];
    }

    /** Shows documents in their order; `selected` is the id of the one in the viewer. */
    show(documents, selected) {
        const wanted = documents.map((document) => this.#card(document, document.id === selected));
        const nothing = element("li", { className: "nothing", textContent: "Your videos will be listed here." });
        const items = wanted.length > 0 ? wanted : [nothing];
        const current = [...this.#list.children];
        const isSame = current.length === items.length && items.every((item, index) => item === current[index]);
        if (!isSame) this.#arrange(items);
        for (const id of [...this.#cards.keys()]) {
            if (!documents.some((document) => document.id === id)) this.#cards.delete(id);
        }
    }

    focus(id) {
        this.#cards.get(id)?.button.focus();
    }

    #arrange(items) {
        const focused = document.activeElement;
        this.#list.replaceChildren(...items);
        if (this.#list.contains(focused)) focused.focus();
    }

    #card(document, isSelected) {
        let card = this.#cards.get(document.id);
        if (!card) {
            card = this.#made(document.id);
            this.#cards.set(document.id, card);
        }
        const picture = this.#picture(document);
        if (picture) {
            if (card.image.getAttribute("src") !== picture) card.image.src = picture;
            card.image.className = phase(document) === "running" ? "" : tiny(document);
        }
        card.image.hidden = !picture;
        showText(card.badge, badge(document));
        setText(card.words, document.prompt);
        setText(card.age, ago(document.created_at, this.#now()));
        card.button.setAttribute("aria-current", String(isSelected));
        return card.item;
    }

    #made(id) {
        const image = element("img", { alt: "", loading: "lazy", hidden: true });
        const badge = element("span", { className: "badge", hidden: true });
        const [words, age] = [element("b"), element("small")];
        const button = element(
            "button",
            { className: "card", type: "button", onclick: () => this.#onSelect(id) },
            element("span", { className: "picture" }, image, badge),
            element("span", { className: "caption" }, words, age),
        );
        return { item: element("li", {}, button), button, image, badge, words, age };
    }

    #picture(document) {
        if (phase(document) === "done") return fileUrl(document.output.thumbnail, this.#base);
        return document.preview;
    }
}
