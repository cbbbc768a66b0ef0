#!/usr/bin/env bash
# Rehearses run.py where there is no GPU: a software adapter of Vulkan (Debian: mesa-vulkan-drivers) in place of CUDA, torch on the
# CPU, a narrow model, small sizes. Its table shows that the kit works, and says nothing about speed.
#
#   cargo build -p t2v-benches --features wgpu --example gpu_kit
#   scripts/gpu_kit/rehearse.sh OUT [BINARY] [ARGUMENTS_OF_RUN_PY...]
#
# PYTHON names a python3 that has torch, diffusers and transformers.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
out=$1
binary=${2:-$here/../../target/debug/examples/gpu_kit}
shift $(($# < 2 ? $# : 2))
export CUBECL_AUTOTUNE_LEVEL=${CUBECL_AUTOTUNE_LEVEL:-minimal} # a processor takes minutes to measure kernels
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # torch waits busily for cores that others use
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" "$here/run.py" --out "$out" --work "$work" --binary "$binary" \
    --device wgpu --second "" --torch-device cpu --tiny --budget 900 --needs 5 --runs 3 \
    --golden-limit 100 --golden-only "clip_gelu,unet_b,vae_b,tiny_b run 0" \
    --dtypes f16 bf16 f32 --stages "text encoder" "decode 2 64 64" "step 2 64 64" --generation "2 2 64 64" \
    --title "A rehearsal on a software adapter: no measurement" "$@"
