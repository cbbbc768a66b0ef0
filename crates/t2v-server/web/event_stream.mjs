// Server-sent events from pieces of text (https://html.spec.whatwg.org/multipage/server-sent-events.html). Pure.

/** Takes pieces of a stream as they come, and gives the events that are complete. */
export class EventParser {
    #rest = "";
    #event = "";
    #data = [];

    /** @returns {{event: string, data: string}[]} */
    push(text) {
        this.#rest += text;
        const events = [];
        let end;
        while ((end = /\r\n|\n|\r(?=[^\n])/.exec(this.#rest))) {
            const line = this.#rest.slice(0, end.index);
            this.#rest = this.#rest.slice(end.index + end[0].length);
            const event = this.#line(line);
            if (event) events.push(event);
        }
        return events;
    }

    #line(line) {
        if (line === "") return this.#dispatch();
        const colon = line.indexOf(":");
        const name = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (name === "event") this.#event = value;
        if (name === "data") this.#data.push(value);
        return null;
    }

    #dispatch() {
        const event = { event: this.#event || "message", data: this.#data.join("\n") };
        const isEmpty = this.#data.length === 0;
        [this.#event, this.#data] = ["", []];
        return isEmpty ? null : event;
    }
}
