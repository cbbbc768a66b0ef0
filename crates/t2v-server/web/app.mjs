// The page: parts are put together here, and what happens goes one way: an action or an event changes the documents, and
// the documents are shown.

import { Announcer } from "./announcer.mjs";
import { Api } from "./api.mjs";
import { KeyDialog, confirmDelete } from "./dialogs.mjs";
import { isActive } from "./document.mjs";
import { byId, showText } from "./dom.mjs";
import { follow } from "./follow.mjs";
import { Form } from "./form.mjs";
import { History } from "./history.mjs";
import { KeyHolder } from "./key.mjs";
import { again, body, faults } from "./request.mjs";
import { Videos, queueText } from "./videos.mjs";
import { Viewer } from "./viewer.mjs";

/** Videos of a page of the history. */
const PAGE = 24;
/** Milliseconds between two looks at videos that are not followed. */
const REFRESH = 4000;
const base = new URL(".", document.baseURI).href;
const now = () => Date.now() / 1000;

const videos = new Videos();
let selected = null;
let hasMore = false;
let following = null;
let submission = null;
let isLockedOut = false;

const holder = new KeyHolder(storage(), location.hash);
if (location.hash.includes("key=")) history.replaceState(null, "", location.pathname + location.search);
const keyDialog = new KeyDialog(holder, { onForget: forgotten });
const api = new Api({ base, key: () => holder.key, askForKey });
const announcer = new Announcer(byId("status"));
const form = new Form(byId("form"), { onSubmit: () => guarded(submit), onModel: (name) => guarded(() => showModel(name)) });
const viewer = new Viewer(byId("viewer"), {
    base,
    now,
    handlers: {
        again: (document) => fillIn(document, true),
        another: (document) => fillIn(document, false),
        cancel: (document) => guarded(() => cancel(document)),
        remove: (document) => guarded(() => remove(document)),
    },
});
const cards = new History(byId("cards"), { base, now, onSelect: lookAt });

byId("key-button").addEventListener("click", () => guarded(changeKey));
byId("more").addEventListener("click", () => guarded(showOlder));
setInterval(() => quietly(refresh), REFRESH);
setInterval(show, 30_000);
show();
guarded(start);

/** The browser's storage, where it may be used. */
function storage() {
    try {
        return localStorage;
    } catch {
        return null;
    }
}

/** Waits for a key where the server wants another one. */
async function askForKey(isWrong) {
    isLockedOut = !(await keyDialog.ask(isWrong ? "The server does not know this key." : ""));
    if (isLockedOut) throw Object.assign(new Error("A key is needed: press Key to give one."), { status: 401 });
}

/** Does something, and says what goes wrong. */
async function guarded(action) {
    try {
        showText(byId("notice"), "");
        await action();
    } catch (error) {
        showText(byId("notice"), error.message);
    }
}

/** Does something that is tried again anyway. */
async function quietly(action) {
    try {
        await action();
    } catch (error) {
        if (error.status === undefined) throw error;
    }
}

async function start() {
    const models = await api.models();
    form.setModels(models.data.map((model) => model.id));
    await showModel(form.model);
    const page = await api.videos({ limit: PAGE });
    take(page);
    hasMore = page.has_more;
    select((videos.active().at(-1) ?? videos.list()[0])?.id ?? null);
    if (!matchMedia("(pointer: coarse)").matches) form.focusPrompt();
}

async function showModel(name) {
    form.setModel(await api.model(name));
}

function take(page) {
    for (const document of page.data) {
        // What is followed is known better from its events.
        if (document.id !== selected || !following) videos.put(document);
    }
}

async function showOlder() {
    const oldest = videos.list().at(-1);
    const page = await api.videos({ limit: PAGE, after: oldest.id });
    take(page);
    hasMore = page.has_more;
    show();
    if (page.data[0]) cards.focus(page.data[0].id);
}

/** Looks at videos that are under way and not followed. */
async function refresh() {
    const others = videos.active().filter((document) => document.id !== selected || !following);
    if (others.length === 0 || document.hidden || isLockedOut) return;
    take(await api.videos({ limit: PAGE }));
    show();
}

async function submit() {
    const unreadable = form.unreadable();
    if (unreadable.length > 0) {
        form.showFaults({ byField: Object.fromEntries(unreadable.map((name) => [name, "This must be a number."])), rest: "" });
        return;
    }
    form.showFaults({ byField: {}, rest: "" });
    form.setBusy(true);
    try {
        const fields = body(form.values());
        const [files, isOfPictures] = [form.files, form.makesPictures];
        const name = submissionOf(fields, [files.init, files.mask]);
        const document = await (isOfPictures ? api.createPictures(fields, files, name) : api.create(fields, files.init, name));
        submission = null;
        videos.put(document);
        announcer.say(isOfPictures ? "The pictures are in the queue." : "The video is in the queue.");
        select(document.id);
        if (matchMedia("(max-width: 899px)").matches) byId("viewer").scrollIntoView({ block: "start" });
    } catch (error) {
        if (error.status === undefined || error.status === 401) throw error;
        form.showFaults(faults(error));
    } finally {
        form.setBusy(false);
    }
}

/** The name of a submission: the same until it is answered, so that a lost answer does not make two videos. */
function submissionOf(fields, files) {
    const content = JSON.stringify([fields, files.map((file) => file && [file.name, file.size, file.lastModified])]);
    if (submission?.content !== content) {
        const name = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
        submission = { content, name };
    }
    return submission.name;
}

function lookAt(id) {
    showText(byId("notice"), "");
    select(id);
    byId("viewer").scrollIntoView({ block: "nearest" });
}

/** Shows a video, and follows it while it is made. */
function select(id) {
    following?.abort();
    following = null;
    selected = id;
    show();
    const document = id && videos.get(id);
    if (document && isActive(document)) followVideo(document);
}

async function followVideo({ id }) {
    const controller = new AbortController();
    following = controller;
    const end = await follow({
        open: (signal) => api.events(id, signal),
        onDocument: (document) => {
            videos.put(document);
            announcer.follow(document);
            show();
        },
        onConnection: (isConnected) => showText(byId("notice"), isConnected ? "" : "The connection is lost; trying again."),
        signal: controller.signal,
    });
    if (following === controller) following = null;
    if (end === "gone") {
        videos.remove(id);
        if (selected === id) select(null);
    }
    show();
}

function show() {
    const documents = videos.list();
    viewer.show((selected && videos.get(selected)) ?? null);
    cards.show(documents, selected);
    const text = queueText(documents);
    showText(byId("queue"), text);
    document.title = text ? `${text} · t2v` : "t2v";
    byId("more").hidden = !hasMore;
}

async function fillIn(document, keepsSeed) {
    form.fill(again(document, keepsSeed));
    form.focusButton();
    announcer.say("The settings are in the form.");
    await guarded(async () => {
        await showModel(document.model);
        form.fill(again(document, keepsSeed));
        if (document.parameters.init) {
            form.showFaults({ byField: {}, rest: "This video began with pictures: choose them again." });
        }
    });
}

async function cancel({ id }) {
    viewer.showCancelling();
    const document = await api.cancel(id);
    if (!isActive(document)) {
        videos.put(document);
        show();
    }
}

async function remove({ id, number }) {
    if (!(await confirmDelete())) return;
    await api.delete(id);
    videos.remove(id);
    announcer.say("The video is deleted.");
    const next = videos.neighbour(number);
    select(next?.id ?? null);
    if (next) cards.focus(next.id);
    else form.focusPrompt();
}

async function changeKey() {
    if (!(await keyDialog.ask())) return;
    isLockedOut = false;
    videos.clear();
    select(null);
    await start();
}

function forgotten() {
    videos.clear();
    hasMore = false;
    select(null);
    announcer.say("The key is forgotten.");
}
