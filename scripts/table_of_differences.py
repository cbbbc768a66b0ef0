"""A Markdown table of how far devices are from upstream's values, from the files of the golden tests' T2V_TEST_REPORT.

    for device in flex wgpu; do
        T2V_TEST_DEVICE=$device T2V_TEST_REPORT=/tmp/$device.tsv cargo test --workspace \
            --features t2v-pipeline/webhook,t2v-pipeline/wgpu,t2v-test-support/wgpu --lib --test it -- golden:: golden_tests:: gpt2::
    done
    python3 scripts/table_of_differences.py /tmp/flex.tsv /tmp/wgpu.tsv
"""

import sys
from collections import defaultdict

# What the first word of a line begins with, and the row that it belongs to.
ROWS = [
    ("scheduler", "schedulers, each sample and estimate"),
    ("clip", "CLIP's text encoder"),
    ("gpt2", "GPT-2"),
    ("resnet_block", "residual blocks"),
    ("downsample", "down- and upsampling"),
    ("upsample", "down- and upsampling"),
    ("temporal_conv", "temporal convolutions"),
    ("transformer_2d", "spatial transformers"),
    ("transformer_temporal", "temporal transformers"),
    ("unet", "the whole U-Net"),
    ("vae", "the autoencoder"),
    ("tiny", "whole generations: frames"),
]


def row(what):
    first = what.split()[0]
    if first.endswith("_pipeline"):
        return ROWS[-1][1]
    return next((title for start, title in ROWS if first.startswith(start)), first)


def main(paths):
    largest = defaultdict(lambda: defaultdict(lambda: (0.0, 0.0)))
    devices = []
    for path in paths:
        for line in open(path, encoding="utf-8"):
            device, what, difference, size = line.rstrip("\n").split("\t")
            if device not in devices:
                devices.append(device)
            old = largest[row(what)][device]
            # Of the differences, which are relative above 1, the largest.
            relative = float(difference) / max(1.0, float(size))
            largest[row(what)][device] = max(old, (relative, float(size)))
    print("| module | " + " | ".join(devices) + " |")
    print("| --- |" + " --- |" * len(devices))
    for title in largest:
        cells = (f"{largest[title][device][0]:.1e}" if device in largest[title] else "" for device in devices)
        print(f"| {title} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
