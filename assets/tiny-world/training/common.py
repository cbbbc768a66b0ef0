"""What the training scripts share: a resumable state (model, EMA, optimiser, step) and a cosine learning rate."""

import copy
import math
import os
import time
from pathlib import Path

import torch

from muon import Muon

WORK = Path(os.environ.get("TINY_WORLD_WORK", "work"))


class Training:
    """Model, EMA, optimiser and step, saved to `WORK/<name>.pt` every few minutes and read back at the start."""

    def __init__(self, name, modules: dict[str, torch.nn.Module], steps, rate, warmup=200, save_seconds=180, muon=False):
        self.path, self.modules, self.steps, self.rate, self.warmup = WORK / f"{name}.pt", modules, steps, rate, warmup
        self.averages = {k: copy.deepcopy(m).requires_grad_(False) for k, m in modules.items()}
        self.parameters = [p for m in modules.values() for p in m.parameters() if p.requires_grad]
        if muon:
            self.optimizer = Muon(self.parameters, lr=rate)
        else:
            self.optimizer = torch.optim.AdamW(self.parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        self.step, self.saved, self.save_seconds = 0, time.time(), save_seconds
        if self.path.exists():
            state = torch.load(self.path)
            self.step = state["step"]
            if state["optimizer"] is not None:
                self.optimizer.load_state_dict(state["optimizer"])
            for k, weights in state["modules"].items():
                modules[k].load_state_dict(weights)
                self.averages[k].load_state_dict(state["averages"][k])
            print(f"{name}: resumed at step {self.step}", flush=True)

    def running(self) -> bool:
        return self.step < self.steps

    def update(self, loss):
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss of step {self.step} is {loss.item()}; the saved state is older")
        rate = self.rate * min(1.0, (self.step + 1) / self.warmup)
        rate *= 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / self.steps)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(0.999, (1 + self.step) / (20 + self.step))
        with torch.no_grad():
            for k, m in self.modules.items():
                torch._foreach_lerp_(list(self.averages[k].parameters()), list(m.parameters()), 1 - decay)
        if time.time() - self.saved > self.save_seconds or not self.running():
            self.save()

    def save(self):
        state = {
            "step": self.step,
            "optimizer": self.optimizer.state_dict(),
            "modules": {k: m.state_dict() for k, m in self.modules.items()},
            "averages": {k: m.state_dict() for k, m in self.averages.items()},
        }
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.rename(self.path)
        self.saved = time.time()


def averaged(name, key, module):
    """Loads the EMA weights of `key` from the training state `name`."""
    module.load_state_dict(torch.load(WORK / f"{name}.pt")["averages"][key])
    return module.eval().requires_grad_(False)
