// Numbers and times as people write them. Pure.

/** A time such as "45 s", "2 min 5 s" or "1 h 3 min". */
export function duration(seconds) {
    if (seconds < 10) return `${Math.max(0, Math.round(seconds * 10) / 10)} s`;
    const whole = Math.round(seconds);
    if (whole < 60) return `${whole} s`;
    const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    if (hours > 0) return minutes > 0 ? `${hours} h ${minutes} min` : `${hours} h`;
    return rest > 0 ? `${minutes} min ${rest} s` : `${minutes} min`;
}

/** A time that is only expected: no false precision. */
export function about(seconds) {
    if (seconds < 1) return "less than a second";
    if (seconds < 10) return `about ${Math.round(seconds)} s`;
    if (seconds < 60) return `about ${Math.round(seconds / 5) * 5} s`;
    return `about ${duration(Math.round(seconds / 60) * 60)}`;
}

/** How long ago a moment was; both in seconds since 1970. */
export function ago(then, now) {
    const seconds = Math.max(0, now - then);
    if (seconds < 60) return "just now";
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
    const days = Math.floor(seconds / 86400);
    return days === 1 ? "yesterday" : `${days} days ago`;
}

/** A number of things, such as "1 video" or "3 videos". */
export function count(number, singular, plural = `${singular}s`) {
    return `${number} ${number === 1 ? singular : plural}`;
}

/** A sentence begins with a capital letter. */
export function capitalised(text) {
    return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A number without needless digits. */
export function number(value) {
    return String(Math.round(value * 1000) / 1000);
}

/** How much of so many bytes, in one unit: "0.3 of 2.8 GB". */
export function bytes(done, total) {
    const [unit, size] = [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]].find(([, size]) => total >= size) ?? ["bytes", 1];
    const digits = size === 1 || total >= 100 * size ? 0 : 1;
    return `${(done / size).toFixed(digits)} of ${(total / size).toFixed(digits)} ${unit}`;
}
