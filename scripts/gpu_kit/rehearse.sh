#!/usr/bin/env bash
# Rehearses run.py where there is no GPU: a software adapter of Vulkan (Debian: mesa-vulkan-drivers) in place of CUDA, torch on the
# CPU, a narrow model, small sizes. Its table shows that the kit works, and says nothing about speed.
#
#   cargo build -p t2v-benches --features wgpu --example gpu_kit
#   scripts/gpu_kit/rehearse.sh OUT [BINARY] [ARGUMENTS_OF_RUN_PY...]
#
# PYTHON names a python3 that has torch, diffusers and transformers. WORK names a folder that keeps kernels for the next time: that
# adapter compiles them on the processor, which takes minutes.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
out=$1
binary=${2:-$here/../../target/debug/examples/gpu_kit}
shift $(($# < 2 ? $# : 2))
export CUBECL_AUTOTUNE_LEVEL=${CUBECL_AUTOTUNE_LEVEL:-minimal}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # torch waits busily for cores that others use
work=${WORK:-${TMPDIR:-/tmp}/t2v_gpu_kit_rehearsal}
"${PYTHON:-python3}" "$here/run.py" --out "$out" --work "$work" --binary "$binary" \
    --device wgpu --second "" --torch-device cpu --tiny --budget 900 --needs 5 --runs 3 \
    --golden-dtypes f32 --golden-limit 240 --tiny-world-limit 240 --golden-only "clip_gelu,unet_b,vae_b,tiny_b run 0" \
    --dtypes f32 bf16 --stages "text encoder" "decode 2 32 32" "step 2 32 32" --generation "2 2 32 32" \
    --title "A rehearsal on a software adapter: no measurement" "$@"
