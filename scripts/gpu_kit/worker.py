"""diffusers' side: loads a model, then answers questions in lines of JSON.

    python worker.py MODEL DEVICE DTYPE

A question has `do`: `run` (a `stage`), `generate` (`steps`, `frames`, `height`, `width`), `memory`, `release`; the first two
also `attention` (`sdpa` or `math`), `compiled` and `tf32`.
"""

import json
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benches/compare"))
from diffusers_stages import MODELS, DiffusersStages  # noqa: E402


class Side:
    def __init__(self, folder, device, dtype):
        self.stages, self.settings = DiffusersStages(folder, device, dtype), None
        start = time.perf_counter()
        for name in MODELS:
            self.stages.model(name)
        self.stages.synchronize()
        self.load_seconds = time.perf_counter() - start

    def answer(self, question):
        return getattr(self, question.pop("do"))(**question)

    def set(self, attention, tf32):
        if (attention, tf32) == self.settings:
            return
        self.settings = (attention, tf32)
        self.stages.forget_compiled()
        for kernel in ("flash", "mem_efficient", "cudnn"):
            getattr(torch.backends.cuda, f"enable_{kernel}_sdp")(attention == "sdpa")
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32

    def run(self, stage, attention, compiled, tf32):
        self.set(attention, tf32)
        return {"seconds": self.stages.run(stage, compiled)}

    @torch.no_grad()
    def generate(self, steps, frames, height, width, attention, compiled, tf32):
        self.set(attention, tf32)
        pipeline = self.pipeline(compiled)
        self.stages.synchronize()
        start = time.perf_counter()
        video = pipeline(
            "a red ball",
            num_inference_steps=steps,
            num_frames=frames,
            height=height,
            width=width,
            guidance_scale=9.0,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
        ).frames
        seconds = time.perf_counter() - start
        if not torch.from_numpy(video).isfinite().all():
            raise FloatingPointError("the frames have values that are not finite")
        return {"seconds": seconds}

    def pipeline(self, compiled):
        from diffusers import DDIMScheduler, TextToVideoSDPipeline
        from transformers import CLIPTokenizer

        pipeline = TextToVideoSDPipeline(
            vae=self.stages.model("vae"),
            text_encoder=self.stages.model("text_encoder"),
            tokenizer=CLIPTokenizer.from_pretrained(self.stages.folder / "tokenizer"),
            unet=self.stages.call("unet", compiled),
            scheduler=DDIMScheduler.from_pretrained(self.stages.folder / "scheduler"),
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def memory(self):
        if self.stages.device.type != "cuda":
            return {"in_use": None, "reserved": None}
        return {"in_use": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}

    def release(self):
        if self.stages.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        return self.memory()


def main():
    folder, device, dtype = sys.argv[1:]
    side = Side(folder, device, dtype)
    print(json.dumps({"load_seconds": side.load_seconds}), flush=True)
    for line in sys.stdin:
        try:
            answer = side.answer(json.loads(line))
        except Exception as error:  # whatever fails is an answer
            words = str(error).strip().splitlines() or [""]
            answer = {"error": f"{type(error).__name__}: {words[0]}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
