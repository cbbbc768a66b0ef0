// The two dialogs: the key, and whether a video is to be deleted. Escape closes both without an answer.

import { byId, showText } from "./dom.mjs";

/** Asks for the key; resolves when one is given, or when the dialog is closed. */
export class KeyDialog {
    #dialog = byId("key-dialog");
    #input = byId("key");
    #remember = byId("key-remember");
    #forget = byId("key-forget");
    #fault = byId("key-fault");
    #holder;
    #asking = null;
    #isGiven = false;

    constructor(holder, { onForget }) {
        this.#holder = holder;
        byId("key-form").addEventListener("submit", (event) => this.#take(event));
        this.#forget.addEventListener("click", () => {
            holder.forget();
            this.#dialog.close();
            onForget();
        });
    }

    /** `fault`: what is wrong with the key that there is. Whether a key was given. */
    ask(fault = "") {
        this.#asking ??= this.#open(fault).finally(() => (this.#asking = null));
        return this.#asking;
    }

    #open(fault) {
        this.#isGiven = false;
        this.#input.value = this.#holder.key ?? "";
        this.#remember.checked = this.#holder.isRemembered;
        this.#forget.hidden = this.#holder.key === null;
        this.#showFault(fault);
        this.#dialog.showModal();
        this.#input.select();
        return new Promise((resolve) => {
            this.#dialog.addEventListener("close", () => resolve(this.#isGiven), { once: true });
        });
    }

    #take(event) {
        const key = this.#input.value.trim();
        if (key === "") {
            event.preventDefault();
            this.#showFault("The key is missing.");
            this.#input.focus();
            return;
        }
        this.#holder.set(key, this.#remember.checked);
        this.#isGiven = true;
    }

    #showFault(fault) {
        showText(this.#fault, fault);
        if (fault) this.#input.setAttribute("aria-invalid", "true");
        else this.#input.removeAttribute("aria-invalid");
    }
}

/** Whether to delete a video. */
export function confirmDelete() {
    const dialog = byId("confirm-dialog");
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise((resolve) => {
        dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    });
}
