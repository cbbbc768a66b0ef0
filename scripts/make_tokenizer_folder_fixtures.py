"""Tokenizer folders as transformers 5.23.0 reads them, for crates/t2v-text-encoder.

    python scripts/make_tokenizer_folder_fixtures.py

Every case is a set of files beside the vocabulary of tests/fixtures/tokenizer, with the token ids of some texts; no ids
where transformers refuses the folder. `tokenizer.json` stands for the list of its added tokens: the rest of the file is
that of tests/fixtures/tokenizer_json.
"""

import json
import random
import shutil
import tempfile
from pathlib import Path

from fixtures import CRATES, END, START, encode
from transformers import CLIPTokenizer

FIXTURES = CRATES / "t2v-text-encoder/tests/fixtures"
TEXTS = ["", "a cat!", "A  <New> cat<new>!", "<pad> ! <|endoftext|> a", "cat <x> cats <X>", " cat  sat <img>  a "]


def added(content, **flags):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False} | flags


def typed(content, **flags):
    return {"__type": "AddedToken", **added(content, **flags)}


def entry(number, content, **flags):
    return {"id": number, "special": False, **added(content, **flags)}


LENGTH = {"model_max_length": 12}
NAMED = {"bos_token": START, "eos_token": END, "unk_token": END}
MAP = {"bos_token": added(START, normalized=True), "eos_token": added(END, normalized=True), "pad_token": "!", "unk_token": END}
CONFIG, SPECIAL, ADDED, JSON = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.json"
SIZE = 814
DECODER = {
    str(SIZE + 1): added("<x>", special=False, normalized=True),
    str(SIZE): added("<new>", special=True),
    "812": added(START, special=True),
    "813": added(END, special=True),
}

BY_HAND = [
    {CONFIG: LENGTH | NAMED, SPECIAL: MAP},
    {CONFIG: LENGTH | NAMED | {"pad_token": END}, SPECIAL: MAP},
    {CONFIG: LENGTH | NAMED | {"pad_token": "!"}, SPECIAL: MAP | {"pad_token": END}},
    {CONFIG: LENGTH | NAMED | {"pad_token": "!"}, SPECIAL: {key: MAP[key] for key in ("bos_token", "eos_token")}},
    {CONFIG: LENGTH | NAMED | {"pad_token": "!"}},
    {CONFIG: LENGTH, SPECIAL: MAP | {"pad_token": added("!")}},
    {CONFIG: LENGTH, SPECIAL: MAP | {"pad_token": {"content": "!"}}},
    {CONFIG: LENGTH | {"pad_token": typed("!")}},
    {CONFIG: LENGTH | {"pad_token": added("!")}},
    {CONFIG: LENGTH | {"pad_token": None}},
    {CONFIG: LENGTH | {"bos_token": None}},
    {CONFIG: LENGTH | {"unk_token": None}},
    {CONFIG: LENGTH | {"pad_token": 5}},
    {CONFIG: LENGTH | {"pad_token": "<pad>"}},
    {CONFIG: LENGTH | {"pad_token": "<pad>"}, ADDED: {"<pad>": SIZE}},
    {CONFIG: LENGTH | {"bos_token": "<new>", "eos_token": "<x>"}},
    {CONFIG: LENGTH | NAMED | {"added_tokens_decoder": DECODER}, SPECIAL: MAP},
    {CONFIG: LENGTH | NAMED | {"added_tokens_decoder": DECODER, "pad_token": "!"}, SPECIAL: MAP | {"pad_token": END}},
    {CONFIG: LENGTH | {"added_tokens_decoder": {}}, SPECIAL: MAP},
    {CONFIG: LENGTH | {"added_tokens_decoder": {"0": "<x>"}}},
    {CONFIG: LENGTH | {"additional_special_tokens": ["<x>", "<new>"]}},
    {CONFIG: LENGTH | {"additional_special_tokens": [typed("<x>", lstrip=True), "<new>"]}},
    {CONFIG: LENGTH | {"extra_special_tokens": ["<x>"], "additional_special_tokens": ["<new>"]}},
    {CONFIG: LENGTH | {"extra_special_tokens": {"image_token": "<img>"}}},
    {CONFIG: LENGTH | {"image_token": "<img>", "mask_token": "<x>"}},
    {CONFIG: LENGTH, SPECIAL: MAP | {"additional_special_tokens": ["<new>"]}},
    {CONFIG: LENGTH | {"extra_special_tokens": ["<x>"]}, SPECIAL: MAP | {"extra_special_tokens": [added("<new>")]}},
    {CONFIG: LENGTH | {"extra_special_tokens": ["<x>"]}, SPECIAL: MAP | {"additional_special_tokens": ["<new>"]}},
    {CONFIG: LENGTH, SPECIAL: MAP | {"image_token": added("<img>", rstrip=True)}},
    {CONFIG: LENGTH, SPECIAL: MAP | {"extra_special_tokens": {"image_token": "<img>"}}},
    {CONFIG: LENGTH, ADDED: {"<x>": SIZE + 1, "<new>": SIZE}},
    {CONFIG: LENGTH, ADDED: {"<new>": SIZE}, SPECIAL: MAP | {"mask_token": "<new>"}},
    {CONFIG: LENGTH, ADDED: {"cat</w>": 740}},
    {CONFIG: LENGTH, JSON: []},
    {CONFIG: LENGTH, JSON: [entry(SIZE, "<new>"), entry(SIZE + 1, "<x>", normalized=True)]},
    {CONFIG: LENGTH, JSON: [entry(813, END, special=True, normalized=True), entry(0, "!")]},
    {CONFIG: LENGTH | {"pad_token": "!"}, JSON: [entry(813, END), entry(812, START)], SPECIAL: MAP},
    {CONFIG: LENGTH, JSON: [entry(SIZE, "<new>")], ADDED: {"<x>": SIZE + 1}, SPECIAL: MAP},
    {CONFIG: LENGTH | {"added_tokens_decoder": DECODER}, JSON: [entry(SIZE, "<img>")], SPECIAL: MAP},
    {CONFIG: LENGTH | {"added_tokens_decoder": {}}, JSON: [entry(SIZE, "<img>")]},
    {CONFIG: {"model_max_length": 7.0}},
    {CONFIG: {"max_len": 9}},
    {CONFIG: {"model_max_length": 8, "max_len": 9}},
    {CONFIG: LENGTH | {"padding_side": "left"}},
    {CONFIG: LENGTH | {"truncation_side": "left"}},
    {CONFIG: LENGTH | {"padding_side": "middle"}},
    {CONFIG: LENGTH | {"split_special_tokens": True}},
    {CONFIG: LENGTH | {"add_bos_token": False, "add_eos_token": False}},
    {CONFIG: LENGTH | {"do_lower_case": False, "add_prefix_space": True}},
]


def token(rng):
    return rng.choice(["!", END, "<pad>", "<new>", "<x>", "cat</w>"])


def form(rng, content, kind):
    """A token as a text or an object, with `__type` where the configuration has it."""
    flags = {flag: True for flag in ("lstrip", "normalized", "rstrip", "single_word") if rng.random() < 0.3}
    return rng.choice([content, kind(content, **flags)])


def by_chance(rng):
    config = dict(LENGTH)
    files = {CONFIG: config}
    for key in ("bos_token", "eos_token", "unk_token", "pad_token", "mask_token"):
        if rng.random() < 0.4:
            config[key] = form(rng, {"bos_token": START, "eos_token": END}.get(key) or token(rng), typed)
    if rng.random() < 0.25:
        config["additional_special_tokens"] = [form(rng, token(rng), typed) for _ in range(2)]
    if rng.random() < 0.3:
        config["added_tokens_decoder"] = {
            str(rng.choice([SIZE, SIZE + 1, 813, 0])): added(token(rng), special=rng.random() < 0.5)
            for _ in range(3)
        }
    if rng.random() < 0.6:
        special = files[SPECIAL] = {}
        for key in ("bos_token", "eos_token", "unk_token", "pad_token", "image_token"):
            if rng.random() < 0.5:
                special[key] = form(rng, {"bos_token": START, "eos_token": END}.get(key) or token(rng), added)
        if rng.random() < 0.2:
            special["additional_special_tokens"] = [token(rng)]
    if rng.random() < 0.3:
        files[ADDED] = {token(rng): SIZE + i for i in range(2)}
    if rng.random() < 0.4:
        files[JSON] = [
            entry(SIZE + i, token(rng), special=rng.random() < 0.5, normalized=rng.random() < 0.5) for i in range(2)
        ]
    return files


def read(files):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name in ("vocab.json", "merges.txt"):
            shutil.copy(FIXTURES / "tokenizer" / name, folder)
        for name, content in files.items():
            if name == JSON:
                whole = json.loads((FIXTURES / "tokenizer_json" / JSON).read_text())
                content = whole | {"added_tokens": content}
            (folder / name).write_text(json.dumps(content))
        try:
            tokenizer = CLIPTokenizer.from_pretrained(folder)
            return [encode(tokenizer, text) for text in TEXTS]
        except Exception as error:
            print("refused:", str(error).splitlines()[0][:140], "of", json.dumps(files)[:200])
            return None


def main():
    rng = random.Random(3)
    cases = BY_HAND + [by_chance(rng) for _ in range(120)]
    rows = [{"files": files, "ids": read(files)} for files in cases]
    text = json.dumps({"texts": TEXTS}) [:-1] + ', "cases": [\n'
    text += ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]}\n"
    (FIXTURES / "tokenizer_folders.json").write_text(text)
    print(len(rows), "folders", sum(row["ids"] is None for row in rows), "refused", len(text), "bytes")


if __name__ == "__main__":
    main()
