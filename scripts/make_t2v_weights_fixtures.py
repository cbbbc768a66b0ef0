"""Fixtures of crates/t2v-weights: a linear layer and a norm as PyTorch pickles, from torch 2.13.0.

    python scripts/make_t2v_weights_fixtures.py
"""

from pathlib import Path

import torch

FOLDER = Path(__file__).parent.parent / "crates/t2v-weights/tests/fixtures"


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    state = {
        "proj.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 4,
        "proj.bias": torch.tensor([0.5, -0.5]),
        "norm.weight": torch.tensor([1.5, 2.0]),
        "norm.bias": torch.tensor([-1.0, 0.25]),
    }
    torch.save(state, FOLDER / "single.bin")
    torch.save({k: v.half() for k, v in state.items()}, FOLDER / "half.bin")


if __name__ == "__main__":
    main()
