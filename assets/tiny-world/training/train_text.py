"""Warms the text encoder up: from the mean of its hidden states a linear head must name the four attributes.

The denoiser is trained on this encoder's frozen states, so it finds the attributes wherever its attention looks.

    python train_text.py [--steps 3000]
"""

import argparse
import random

import torch
import torch.nn.functional as F

from common import WORK, Training
from models import TEXT_DIM, text_encoder
from tokens import encode, save_tokenizer
from world import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, captions, partial_captions, training_attributes

CLASSES = [list(COLOURS), SHAPES, MOTIONS, BACKGROUNDS]


def labels(text, attributes):
    """The class of each attribute, or one past the last where the caption leaves it open."""
    words = f" {text} ".replace(",", " ")
    return [
        names.index(value) if f" {value} " in words else len(names) for names, value in zip(CLASSES, attributes)
    ]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=3000)
    args = parser.parse_args()
    torch.manual_seed(0)
    rng = random.Random(0)
    tokenizer = save_tokenizer(WORK / "tokenizer")
    model = text_encoder(len(tokenizer))
    heads = torch.nn.ModuleList([torch.nn.Linear(TEXT_DIM, len(names) + 1) for names in CLASSES])
    pairs = [
        (text, labels(text, a)) for a in training_attributes() for text in captions(a) + partial_captions(a)
    ]
    training = Training("text", {"text_encoder": model, "heads": heads}, args.steps, rate=1e-3)
    while training.running():
        batch = rng.sample(pairs, 64)
        states = model(encode(tokenizer, [text for text, _ in batch])).last_hidden_state
        pooled = torch.cat([states.mean(1), states[:, -1], states[range(64), [rng.randrange(12, 24) for _ in batch]]])
        targets = torch.tensor([target for _, target in batch]).repeat(3, 1)
        loss = sum(F.cross_entropy(head(pooled), targets[:, i]) for i, head in enumerate(heads))
        training.update(loss)
        if training.step % 250 == 0:
            right = [(h(pooled).argmax(-1) == targets[:, i]).float().mean().item() for i, h in enumerate(heads)]
            print(f"text {training.step} loss {loss.item():.4f} right {[f'{r:.2f}' for r in right]}", flush=True)


if __name__ == "__main__":
    main()
