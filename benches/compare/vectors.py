"""Lets PyTorch use no wider vectors than `T2V_SIMD` lets t2v use. To be imported before torch.

    T2V_SIMD=avx2 .venv/bin/python benches/compare/stages.py /tmp/ms
"""

import os

LIMITS = {
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "generic": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
}

os.environ.update(LIMITS.get(os.environ.get("T2V_SIMD", ""), {}))
