"""Golden fixtures of crates/t2v-text-encoder, from transformers 5.23.0 and torch 2.13.0.

    python scripts/make_t2v_text_encoder_fixtures.py
"""

import json
import shutil

import torch
from fixtures import END, MAX_BYTES, encode, folder_of, generator, inputs, outputs, randomize, save_tokenizer, weights, write
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

FOLDER = folder_of("t2v-text-encoder")


@torch.no_grad()
def text_models():
    cases = {
        "clip_quick_gelu": dict(
            vocab_size=600,
            hidden_size=16,
            intermediate_size=40,
            num_hidden_layers=3,
            num_attention_heads=2,
            max_position_embeddings=20,
            hidden_act="quick_gelu",
            projection_dim=16,
        ),
        "clip_gelu": dict(
            vocab_size=512,
            hidden_size=24,
            intermediate_size=56,
            num_hidden_layers=4,
            num_attention_heads=3,
            max_position_embeddings=20,
            hidden_act="gelu",
            layer_norm_eps=1e-6,
            projection_dim=10,
        ),
    }
    # transformers 5 leaves out the "text_model." before the keys, with which checkpoints were saved before
    prefixes = {"clip_quick_gelu": "text_model.", "clip_gelu": ""}
    for seed, (name, parameters) in enumerate(cases.items(), 1):
        size = parameters["vocab_size"]
        parameters |= dict(bos_token_id=size - 2, eos_token_id=size - 1, pad_token_id=size - 1)
        model = randomize(CLIPTextModel(CLIPTextConfig(**parameters)), seed)
        ids = torch.randint(0, size - 2, (2, 20), generator=generator(100 + seed))
        ids[:, 0] = size - 2
        ids[0, 9:] = ids[1, 19:] = size - 1
        out = model(ids, output_hidden_states=True)
        # as TextToVideoSDPipeline.encode_prompt computes them
        skipped = {
            f"clip_skip_{skip}": model.final_layer_norm(out.hidden_states[-(skip + 1)]) for skip in (1, 2)
        }
        prefix = "weights." + prefixes[name]
        parts = {prefix + key.removeprefix("weights."): value for key, value in weights(model).items()}
        tensors = parts | inputs(input_ids=ids) | outputs(last_hidden_state=out.last_hidden_state, **skipped)
        write(FOLDER / f"{name}.safetensors", tensors, config=model.config.to_dict(), call={})


TEXTS = [
    "",
    " ",
    "a",
    "A panda is eating bamboo on a rock",
    "a  red   balloon\n\nover\tthe \r\n city ",
    "   leading and trailing   ",
    "SPIDERMAN IS Surfing On A GOLDEN Wave",
    "café crème brûlée",
    "cafe\u0301 cre\u0300me bru\u0302le\u0301e",
    "Ångström A\u030angstro\u0308m Å",
    "jalapeño naïve résumé ÉLÉGANT",
    "a smiling 😀 face 🎉🎉",
    "family 👨\u200d👩\u200d👧\u200d👦 and 🏳️\u200d🌈 flag",
    "一只熊猫在吃竹子",
    "東京の夜 カタカナ ｶﾞ",
    "한국어 텍스트 \u1112\u1161\u11ab",
    "2024 12abc 3d 4k 1,000.50 ²½Ⅷ ٣",
    "!!! ... don't we'll it's you're I'VE he'd I'm",
    "'s 't 're 've 'm 'll 'd rock 'n' roll's",
    "don’t “quote” — dash… «guillemets»",
    "cats &amp; dogs &lt;b&gt; &amp;amp; &#39;",
    "before <|endoftext|> after",
    "<|startoftext|>a cat<|endoftext|><|endoftext|>",
    "a<|endoftext|>b <|ENDOFTEXT|> <|StartOfText|>",
    " ".join(["a small brown fox running in the forest"] * 20),
    " ".join(["fox"] * 75),
    " ".join(["fox"] * 76),
    "supercalifragilisticexpialidocious" * 6,
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "שלום עולם مرحبا بالعالم",
    "zero\u200bwidth\u200cjoin\u200der\ufeffbom word\u2060joiner soft\u00adhyphen",
    "control\x00\x01\x07 chars\x7f\x85next\x1b[0m",
    "no\u00a0break\u2003em\u3000ideographic\u2028line\u2029paragraph\u1680ogham",
    "\x0bvertical\x0cform\x1cfile\x1dgroup\x1erecord\x1funit",
    "ﬁne ﬂower oﬀice ℌ ①",
    "straße STRASSE ẞ",
    "İstanbul ISTANBUL ılık",
    "ΣΊΣΥΦΟΣ ὈΔΥΣΣΕΎΣ Σ",
    "Привет, мир! ЁЖ",
    "हिन्दी नमस्ते ไทย สวัสดี",
    "snake_case camelCase kebab-case path/to/file.png http://example.com?q=1&b=2",
    "a,b;c:d!e?f(g)h[i]j{k}l#m@n%o^p*q+r=s~t`u|v\\w",
    "!a !",
    "a!",
    "tab\there \ttab",
    "ǅ ǈ Ⱥ ŉ \u1e9e Ω K",
    "x\u0323\u0307 q\u0307\u0323 \u0344 \u2126 \u212b",
    "\ue000 \U000f0000 \U0001f9ff \ufffd \ufffe",
    "a\u0301b \u0301 \u0301\u0301",
    "</w> a</w> Ġ Ġa",
]


def write_ids(path, tokenizer):
    rows = [{"text": text, "ids": encode(tokenizer, text)} for text in TEXTS]
    assert all(len(row["ids"]) == tokenizer.model_max_length for row in rows)
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    assert path.stat().st_size < MAX_BYTES
    print(path.name, len(rows), "texts", path.stat().st_size, "bytes")
    return rows


def tokenizers():
    for name in ("tokenizer", "tokenizer_json", "tokenizer_pad"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
    tokenizer = save_tokenizer(FOLDER / "tokenizer", 77)
    rows = write_ids(FOLDER / "tokenizer_ids.json", tokenizer)
    tokenizer.save_pretrained(FOLDER / "tokenizer_json")
    again = CLIPTokenizer.from_pretrained(FOLDER / "tokenizer_json")
    assert all(encode(again, row["text"]) == row["ids"] for row in rows)
    assert tokenizer.pad_token == END

    padded = save_tokenizer(FOLDER / "tokenizer_pad", 77, pad_token="!")
    assert padded.pad_token == "!"
    write_ids(FOLDER / "tokenizer_pad_ids.json", padded)


text_models()
tokenizers()
