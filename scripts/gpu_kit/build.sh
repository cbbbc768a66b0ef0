#!/usr/bin/env bash
# Builds the GPU kit: what run.py needs on a machine that has a GPU, this repository and python3 with torch and transformers, but
# no network. As root on Debian or a relative, with a network, as scripts/cuda_build.sh needs it.
#
#   scripts/gpu_kit/build.sh [WORK_DIR]
#
# FEATURES (cuda) says which backends the program has. WORK_DIR (/var/tmp/t2v-cuda) is kept for the next time: see scripts/cuda_build.sh.
# The kit is target/gpu_kit/: the program with the libraries that it is linked to (kit.tar.xz.0), diffusers (wheels/), the commit; what of the
# program is more than 24 MiB lies in target/gpu_kit_1/ and so on, for transports with a limit, which take one after the other. PYTHON
# names a python3 that has pip.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${1:-/var/tmp/t2v-cuda}
kit=$root/target/gpu_kit
part=$((24 * 1024 * 1024))
diffusers=0.42.1

"$root/scripts/cuda_build.sh" "$work" build --release -p t2v-benches --example gpu_kit --features "${FEATURES:-cuda}"

staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
mkdir -p "$staging/kit/lib" "$staging/out/wheels"
strip -o "$staging/kit/gpu_kit" "$work/target/release/examples/gpu_kit"
cp "$work"/lib/* "$staging/kit/lib/"
# Vulkan's loader is opened at run time, so the program isn't linked to it, and machines for computing may lack it.
chroot "$work/root" sh -c 'rm -rf /tmp/vulkan && mkdir /tmp/vulkan && cd /tmp/vulkan && apt-get download -qq libvulkan1 && dpkg-deb -x libvulkan1*.deb .'
cp -L "$work"/root/tmp/vulkan/usr/lib/*/libvulkan.so.1 "$staging/kit/lib/"
tar -C "$staging/kit" -cf - . | xz --x86 --lzma2=preset=9e,dict=192MiB | split -b "$part" -d -a 1 - "$staging/out/kit.tar.xz."

# What diffusers needs besides torch, transformers and what these need; Pillow, too, has to be there.
"${PYTHON:-python3}" -m pip download --quiet --no-deps --only-binary=:all: --platform any --implementation py --abi none \
    --python-version 3.12 --dest "$staging/out/wheels" "diffusers==$diffusers" importlib_metadata zipp requests urllib3 idna \
    certifi charset_normalizer
git -C "$root" describe --always --dirty >"$staging/out/commit"

(cd "$staging/out" && du -ab --apparent-size . | sort -n)
rm -rf "$kit" "$kit"_[0-9]
mkdir -p "$(dirname "$kit")"
for piece in "$staging"/out/kit.tar.xz.[1-9]; do
    mkdir "${kit}_${piece##*.}"
    mv "$piece" "${kit}_${piece##*.}/"
done
mv "$staging/out" "$kit"
du -sh "$kit" "$kit"_[0-9]
