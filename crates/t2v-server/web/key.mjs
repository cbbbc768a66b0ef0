// The key of the API, and where it is kept: in this page alone, unless the person at it wants it remembered.

const NAME = "t2v-key";

/** The key in the fragment of an address, such as `#key=…`, which browsers send to no server. */
export function keyOfFragment(hash) {
    return new URLSearchParams(hash.replace(/^#/, "")).get("key");
}

/** Holds the key. */
export class KeyHolder {
    #storage;
    #key;

    /** `storage`: the browser's, or `null` where it has none to give. */
    constructor(storage, hash) {
        this.#storage = storage;
        this.#key = keyOfFragment(hash) ?? storage?.getItem(NAME) ?? null;
    }

    get key() {
        return this.#key;
    }

    get isRemembered() {
        return this.#key !== null && this.#storage?.getItem(NAME) === this.#key;
    }

    /** Takes a key, and remembers it or forgets what was remembered. */
    set(key, isRemembered) {
        this.#key = key;
        if (isRemembered) this.#storage?.setItem(NAME, key);
        else this.#storage?.removeItem(NAME);
    }

    forget() {
        this.#key = null;
        this.#storage?.removeItem(NAME);
    }
}
