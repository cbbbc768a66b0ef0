// Elements without markup in strings: nothing that comes from a server can become code.

/** Makes an element; properties that are no properties of it, or can't be set (`list`), become attributes. */
export function element(tag, properties = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
        if (value === undefined || value === null) continue;
        if (name in made && name !== "list") made[name] = value;
        else made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null));
    return made;
}

/** Sets a text where it differs, so that nothing is announced or selected anew without need. */
export function setText(node, text) {
    if (node.textContent !== text) node.textContent = text;
}

/** Shows a text, or hides the element of an empty one. */
export function showText(node, text) {
    setText(node, text);
    node.hidden = text === "";
}

export function byId(id) {
    return document.getElementById(id);
}
