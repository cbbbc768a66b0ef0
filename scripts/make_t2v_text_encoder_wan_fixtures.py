"""Golden fixtures of crates/t2v-text-encoder for Wan, from diffusers 0.42.1, transformers 5.23.0 and torch 2.13.0.

    python scripts/make_t2v_text_encoder_wan_fixtures.py

It needs sentencepiece and protobuf beside them.

    umt5_<name>.safetensors   small encoders: two texts, one of which is padded, and what the pipeline makes of their embeddings
    umt5_original.safetensors the weights of the first under the names of Wan's own code
    t5_spiece, t5_json        a tokenizer as a SentencePiece model and as tokenizer.json
    t5_ids.json               texts and their tokens, for both
    clean_prompts.json        prompts, and what the pipeline's `prompt_clean` makes of them without ftfy
"""

import html.entities
import io
import json
import shutil

import sentencepiece
import torch
from diffusers.pipelines.wan import pipeline_wan
from fixtures import TRAINING_TEXT, folder_of, generator, inputs, outputs, randomize, weights, write
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

FOLDER = folder_of("t2v-text-encoder")
if pipeline_wan.is_ftfy_available():
    raise SystemExit("the fixtures are those without ftfy; uninstall it")

ENCODERS = {
    "umt5_a": dict(vocab_size=50, d_model=12, d_kv=4, d_ff=20, num_layers=3, num_heads=3),
    # Long enough for all distances; other buckets, more channels in the heads than outside, another activation.
    "umt5_b": dict(
        vocab_size=30,
        d_model=6,
        d_kv=5,
        d_ff=9,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-silu",
        layer_norm_epsilon=1e-3,
    ),
    "umt5_c": dict(
        vocab_size=30,
        d_model=6,
        d_kv=2,
        d_ff=9,
        num_layers=1,
        num_heads=2,
        relative_attention_num_buckets=13,
        relative_attention_max_distance=21,
    ),
}
# The texts' tokens, and the length that they are padded to.
LENGTHS = {"umt5_a": ([9, 4], 12), "umt5_b": ([200, 131], 201), "umt5_c": ([30, 1], 30)}

ORIGINAL = [
    ("shared.", "token_embedding."),
    ("encoder.final_layer_norm.", "norm."),
    ("encoder.block.", "blocks."),
    (".layer.0.SelfAttention.relative_attention_bias.", ".pos_embedding.embedding."),
    (".layer.0.SelfAttention.", ".attn."),
    (".layer.0.layer_norm.", ".norm1."),
    (".layer.1.layer_norm.", ".norm2."),
    (".layer.1.DenseReluDense.wi_0.", ".ffn.gate.0."),
    (".layer.1.DenseReluDense.wi_1.", ".ffn.fc1."),
    (".layer.1.DenseReluDense.wo.", ".ffn.fc2."),
]


@torch.no_grad()
def encoders():
    for seed, (name, parameters) in enumerate(ENCODERS.items(), 400):
        model = randomize(UMT5EncoderModel(UMT5Config(**parameters)), seed)
        rng = generator(seed + 5000)
        for key, parameter in model.named_parameters():
            if "layer_norm" in key:
                parameter.copy_(1 + 0.6 * torch.rand(parameter.shape, generator=rng) - 0.3)
            # As large as the scores, which are not scaled.
            elif "relative_attention_bias" in key:
                parameter.copy_(torch.randn(parameter.shape, generator=rng))
        lengths, length = LENGTHS[name]
        ids = torch.randint(3, parameters["vocab_size"], (len(lengths), length), generator=generator(1000 + seed))
        mask = torch.arange(length)[None] < torch.tensor(lengths)[:, None]
        ids[~mask] = 0
        states = model(ids, mask.long()).last_hidden_state
        # As WanPipeline._get_t5_prompt_embeds ends.
        embeddings = torch.where(mask[..., None], states, 0.0)
        tensors = {key: value for key, value in weights(model).items() if "embed_tokens" not in key}
        given = inputs(input_ids=ids, lengths=torch.tensor(lengths)) | outputs(prompt_embeds=embeddings)
        write(FOLDER / f"{name}.safetensors", tensors | given, config=model.config.to_dict(), call={})
        if name == "umt5_a":
            renamed = {}
            for key, value in tensors.items():
                for new, old in ORIGINAL:
                    key = key.replace(new, old)
                renamed[key] = value
            write(FOLDER / "umt5_original.safetensors", renamed, config=model.config.to_dict(), call={})


# What a table of characters may do, as SentencePiece reads it: hexadecimal characters and what they become.
CHARACTERS = {
    "ﬁ": "fi", "ﬂ": "fl", "e\u0301": "\u00e9", "u\u0308": "\u00fc", "…": "...", "½": "1⁄2", "㍿": "株式会社",
    "\u00a0": " ", "\u200b": " ",
    **{chr(0xFF01 + i): chr(0x21 + i) for i in range(94)},
}

TEXTS = [
    "", " ", "a red fox", "A Red Fox", "two  spaces", " before and after ", "tab\tand\nline", "don't stop", "1234567890",
    "a cat runs on the beach at sunset, 4k, highly detailed", "ﬁne ﬂow", "Ｆｕｌｌ ｗｉｄｔｈ！", "cafe\u0301 caf\u00e9",
    "half ½ …", "日本語のテキスト", "株式会社㍿", "emoji 🦊 and 🇩🇪", "no\u00a0break\u200bspace", "ünï", "u\u0308ber",
    "<extra_id_0> gap", "gap <extra_id_99>here", "</s>", "end</s>end", "<pad><unk>", "▁ underline ▁word", "x" * 200,
    "the quick brown fox jumps over the lazy dog " * 4, "a\u0000b", "\u3000wide\u3000space", "ＡＢＣ１２３",
    "a,b;c:d.e!f?g", "CamelCaseWords", "under_score-dash", "(brackets) [and] {braces}", "äöüßÄÖÜ", "Привет, мир", "مرحبا",
    "हिन्दी", "e\u0301\u0301", "\u0301alone",
]


def tokenizers():
    rules = FOLDER / "rules.tsv"
    code = lambda text: " ".join(f"{ord(c):x}" for c in text)
    rules.write_text("".join(f"{code(old)}\t{code(new)}\n" for old, new in CHARACTERS.items()))
    folder = FOLDER / "t5_spiece"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TRAINING_TEXT if isinstance(TRAINING_TEXT, list) else TRAINING_TEXT.splitlines()),
        model_writer=model,
        vocab_size=160,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_tsv=str(rules),
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        user_defined_symbols=["[style]"],
        minloglevel=2,
    )
    rules.unlink()
    (folder / "spiece.model").write_bytes(model.getvalue())
    (folder / "tokenizer_config.json").write_text(json.dumps({"extra_ids": 30, "model_max_length": 512}) + "\n")
    tokenizer = T5Tokenizer.from_pretrained(folder)
    other = FOLDER / "t5_json"
    shutil.rmtree(other, ignore_errors=True)
    tokenizer.save_pretrained(other)
    (other / "spiece.model").unlink(missing_ok=True)
    again = T5Tokenizer.from_pretrained(other)
    cases = []
    for text in TEXTS + ["[style] of a painting", "a [style]"]:
        for length in (512, 6):
            found = [t(text, max_length=length, truncation=True).input_ids for t in (tokenizer, again)]
            cases.append({"text": text, "max_length": length, "spiece": found[0], "json": found[1]})
    (FOLDER / "t5_ids.json").write_text(json.dumps(cases) + "\n")
    differ = sum(case["spiece"] != case["json"] for case in cases)
    print("t5_ids.json", len(cases), "cases,", differ, "of which differ;", len(tokenizer), "tokens")


PROMPTS = TEXTS + [
    "&amp;amp;amp;", "&amp;lt;b&amp;gt;", "&lt;&gt;", "&lt", "&ltx", "&notit;", "&notin;", "&notinva", "&NotEqualTilde;", "&;",
    "&", "&&amp;", "& amp;", "&#65;&#x42;&#X43;", "&#65", "&#x", "&#;", "&#xg;", "&#0;", "&#x80;&#x81;&#x9f;", "&#xd800;",
    "&#x110000;", "&#99999999999999999999;", "&#1;&#x7f;&#xb;&#xfffe;&#x1ffff;&#xfdd0;", "&#13;a&#10;b", "&#38;lt;",
    "&CounterClockwiseContourIntegral;", "&CounterClockwiseContourIntegralx", "&abcdefghijklmnopqrstuvwxyzabcdefghijkl;",
    "&eacute;&eacute", "&eacutes", "&éacute;", "&amp\u00e9;", "&\u00e9;", "&nbsp;a&nbsp;", "a\u001cb \u001c", "\u001d a \u001e\u001f",
    "a\u0085b\u2028c\u2029d\u1680e\u180ef\ufeffg", "&Tab;&NewLine;x", "tom &amp; jerry", "&copy 2024 &reg;", "&fjlig;&ThickSpace;x",
]


def prompts():
    names = sorted(html.entities.html5)
    bare = "".join(f"&{name.rstrip(';')}x " for name in names)
    whole = "".join(f"&{name.rstrip(';')}; " for name in names)
    numbers = "".join(f"&#{number}; " for number in (*range(0, 0x180), *range(0xFDC0, 0xFE00), 0xFFFE, 0x10FFFF))
    cases = [{"prompt": p, "cleaned": pipeline_wan.prompt_clean(p)} for p in PROMPTS + [bare, whole, numbers]]
    path = FOLDER / "clean_prompts.json"
    path.write_text(json.dumps(cases, ensure_ascii=False) + "\n")
    print(path.name, len(cases), "cases,", path.stat().st_size, "bytes")


encoders()
tokenizers()
prompts()
