"""The table: Markdown from what was measured, and nothing else."""

from collections import defaultdict

FILLING = "–"


def lines(header, rows):
    """A Markdown table."""
    yield "| " + " | ".join(header) + " |"
    yield "| --- " * len(header) + "|"
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
    yield ""


def seconds(value):
    if value is None:
        return FILLING
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.2f} s"


def gigabytes(value):
    return FILLING if value is None else f"{value / 1e9:.2f} GB"


def ratio(ours, theirs):
    return f"{ours / theirs:.2f}" if ours is not None and theirs else FILLING


def memory(ours, theirs):
    """Both sides' memory by the same measure: what the driver says that a process holds, or else what its allocator does."""
    ours, theirs = ours.get("memory", {}), theirs.get("memory", {})
    for measure in ("process", "reserved"):
        if ours.get(measure) is not None and theirs.get(measure) is not None:
            return [gigabytes(ours[measure]), gigabytes(theirs[measure]), ratio(ours[measure], theirs[measure])]
    alone = [side.get("process") or side.get("reserved") for side in (ours, theirs)]
    return [gigabytes(alone[0]), gigabytes(alone[1]), FILLING]


def spread(ours, theirs):
    pairs = sorted(a / b for a, b in zip(ours.get("times", []), theirs.get("times", [])))
    return f"{pairs[0]:.2f} to {pairs[-1]:.2f}" if pairs else FILLING


def goldens(rows):
    """A row a device and type: the largest difference of all values, relative above 1."""
    for row in rows:
        found = [value for value in row["values"] if "largest_difference" in value]
        kinds = defaultdict(list)
        for value in found:
            word = value["golden"].split()[0]
            kind = {"clip": "CLIP", "unet": "U-Net", "vae": "VAE"}.get(word.split("_")[0], "whole generations")
            kinds[kind].append(value["largest_difference"] / max(1.0, value["largest_value"]))
        failed = len(row["values"]) - len(found)
        each = [f"{max(kinds[kind]):.1e}" if kinds[kind] else FILLING for kind in GOLDEN_KINDS]
        yield [row["device"], row["dtype"], *each, len(found), failed, row["error"] or FILLING]


GOLDEN_KINDS = ["CLIP", "U-Net", "VAE", "whole generations"]


def tiny_worlds(rows):
    for row in rows:
        psnr = difference = FILLING
        if "largest_difference" in row:
            psnr = "equal" if row["psnr_db"] is None else f"{row['psnr_db']:.1f} dB"
            difference = f"{row['largest_difference']:.1e}"
        times = [seconds(row.get("cold_seconds")), seconds(row.get("warm_seconds"))]
        yield [row["device"], row["dtype"], *times, psnr, difference, row["error"] or FILLING]


def compared(rows):
    """Rows of stages and of whole generations."""
    for row in rows:
        ours, theirs = row["t2v"], row["diffusers"]
        reasons = [f"{name}: {side['error']}" for name, side in (("t2v", ours), ("diffusers", theirs)) if "error" in side]
        yield [
            row.get("stage") or "generation",
            row["dtype"],
            row["against"],
            seconds(ours.get("median")),
            seconds(theirs.get("median")),
            ratio(ours.get("median"), theirs.get("median")),
            spread(ours, theirs) if "stage" in row else FILLING,
            seconds(ours.get("first")),
            seconds(theirs.get("first")),
            *memory(ours, theirs),
            "; ".join(reasons) or FILLING,
        ]


def parts(rows):
    """What whole generations here are made of."""
    seen = set()
    for row in rows:
        mine = row["t2v"]
        if "stages" in mine and row["dtype"] not in seen:
            seen.add(row["dtype"])
            times = ", ".join(f"{name} {seconds(value)}" for name, value in mine["stages"].items())
            yield [row["dtype"], times, seconds(mine["mp4"])]


COMPARED = [
    "what", "type", "diffusers'", "t2v", "diffusers", "ratio", "of each pair", "t2v's first", "diffusers' first",
    "t2v's memory", "diffusers' memory", "ratio", "failed",
]  # fmt: skip


def markdown(results):
    """The whole file."""
    yield "# " + results["title"] + "\n"
    yield from lines(["machine", ""], results["facts"])
    devices = [
        [d["device"], d["adapter"], gigabytes(d["memory"]), ", ".join(d["dtypes"]), d["auto"]] for d in results["devices"]
    ]
    yield from lines(["device", "adapter", "memory", "types", "`auto` is"], devices)
    if results["golden"]:
        yield "## Golden values: the largest differences, relative above 1\n"
        yield from lines(
            ["device", "type", *GOLDEN_KINDS, "values compared", "failed", "why there are not more"], goldens(results["golden"])
        )
    if results["tiny-world"]:
        yield "## tiny-world's first request\n"
        header = ["device", "type", "cold", "warm", "PSNR beside the CPU", "largest difference", "failed"]
        yield from lines(header, tiny_worlds(results["tiny-world"]))
    if results["stages"]:
        yield "## Stages\n"
        yield from lines(COMPARED, compared(results["stages"]))
    if results["generation"]:
        yield f"## Whole generations: {results['generation_size']}\n"
        yield from lines(COMPARED, compared(results["generation"]))
        if made_of := list(parts(results["generation"])):
            yield from lines(["type", "t2v's stages", "MP4"], made_of)
    yield "## Not measured\n"
    yield from lines(["what", "why"], results["skipped"] or [["nothing", FILLING]])
    yield f"The run took {results['seconds']:.0f} s."
