// What tools for accessibility look at first: names of controls, contrast of texts, ids that are unique. Run in the page.

/** Colours over one another, as red, green, blue in 0..255. */
function over([r, g, b, alpha], below) {
    return [r, g, b].map((value, channel) => value * alpha + below[channel] * (1 - alpha));
}

/** A CSS colour as red, green, blue and alpha. */
function colour(text) {
    const [r, g, b, alpha = 1] = text.match(/[\d.]+/g).map(Number);
    return [r, g, b, alpha];
}

/** What is behind an element: the colours of its ancestors, one over the other. */
function background(element) {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.unshift(colour(getComputedStyle(at).backgroundColor));
    return layers.reduce((below, layer) => over(layer, below), [255, 255, 255]);
}

/** Relative luminance (WCAG 2.2). */
function luminance(rgb) {
    const [r, g, b] = rgb.map((value) => {
        const share = value / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a, b) {
    const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
}

function isSeen(element) {
    return element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && !element.closest(".unseen, .skip");
}

function hasOwnText(element) {
    return [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim() !== "");
}

/** The name of a control, as far as this page has ways to give one. */
function nameOf(control) {
    const labelled = control.getAttribute("aria-labelledby");
    const label = labelled ? document.getElementById(labelled)?.textContent : null;
    return (control.getAttribute("aria-label") ?? label ?? control.labels?.[0]?.textContent ?? control.textContent).trim();
}

function audit() {
    const faults = [];
    const texts = [...document.body.querySelectorAll("*")].filter((element) => isSeen(element) && hasOwnText(element));
    for (const element of texts) {
        if (element.matches("option, script") || element.disabled) continue;
        const behind = background(element);
        const ratio = contrast(over(colour(getComputedStyle(element).color), behind), behind);
        if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)}: ${element.className} ${element.textContent.slice(0, 30)}`);
    }
    for (const field of document.querySelectorAll("input[placeholder]:not([placeholder='']), textarea[placeholder]")) {
        if (!isSeen(field)) continue;
        const behind = background(field);
        const ratio = contrast(over(colour(getComputedStyle(field, "::placeholder").color), behind), behind);
        if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)}: placeholder of ${field.id}`);
        const edge = contrast(over(colour(getComputedStyle(field).borderTopColor), behind), behind);
        if (edge < 3) faults.push(`contrast ${edge.toFixed(2)}: edge of ${field.id}`);
    }
    const controls = [...document.querySelectorAll("input, select, textarea, button, a[href], summary, progress, video, dialog")];
    for (const control of controls) {
        if (nameOf(control) === "") faults.push(`no name: ${control.outerHTML.slice(0, 80)}`);
    }
    for (const image of document.querySelectorAll("img:not([alt])")) faults.push(`no alt: ${image.outerHTML.slice(0, 80)}`);
    const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
    const twice = ids.filter((id, index) => ids.indexOf(id) !== index);
    if (twice.length > 0) faults.push(`ids that are there twice: ${twice}`);
    for (const element of document.querySelectorAll("[aria-describedby], [aria-labelledby]")) {
        const named = `${element.getAttribute("aria-describedby") ?? ""} ${element.getAttribute("aria-labelledby") ?? ""}`;
        for (const id of named.trim().split(/\s+/)) {
            if (!document.getElementById(id)) faults.push(`no such id: ${id}`);
        }
    }
    return { faults, texts: texts.length, controls: controls.length };
}
