#!/usr/bin/env bash
# Builds with the feature `cuda` where the LLVM that its build script would download can't be had: from the LLVM 23 of Debian's
# unstable suite, in a root of its own, since that needs the suite's C library. On Debian or a relative, as root, with
# debootstrap's needs reachable: a mirror of Debian.
#
#   scripts/cuda_build.sh WORK_DIR CARGO_ARGUMENTS...
#   scripts/cuda_build.sh /var/tmp/t2v-cuda build --release -p t2v-examples --example text_to_video --features cuda
#
# WORK_DIR keeps the root (3 GB) and the target folder (`WORK_DIR/target`, 4 GB) for the next time. What is built needs glibc
# 2.43 or newer; `WORK_DIR/lib` has what to carry to an older system:
#
#   lib/ld-linux-x86-64.so.2 --library-path lib:/usr/lib/x86_64-linux-gnu ./text_to_video --device cuda …
#
# where the second folder is that of the driver's libcuda.so.1. With a network none of this is needed: `cargo build --features
# cuda` downloads its LLVM.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'; exit 2; }
[ "$(id -u)" = 0 ] || { echo "$0: has to run as root, for debootstrap, chroot and mount" >&2; exit 2; }
mkdir -p "$1"
work=$(cd "$1" && pwd)
shift
checkout=$(cd "$(dirname "$0")/.." && pwd)
root=$work/root
suite=sid
llvm=23
# The version of tracel-llvm-bundler in Cargo.lock: it looks for an installation of this name.
bundle=tracel-llvm-$(sed -n '/^name = "tracel-llvm-bundler"$/{n;s/^version = "\(.*\)"$/\1/p}' "$checkout/Cargo.lock")

mounted=()
unmount() {
    local i
    for ((i = ${#mounted[@]} - 1; i >= 0; i--)); do umount -l "${mounted[i]}" || true; done
    mounted=()
}
trap unmount EXIT

bind() {
    mkdir -p "$2"
    mount --bind "$1" "$2"
    mounted+=("$2")
}

if ! [ -e "$root/.ready" ]; then
    command -v debootstrap >/dev/null || apt-get install -y -qq --no-install-recommends debootstrap
    mirror=$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
    [ -n "$mirror" ] || mirror=$(awk '/^deb / {print $2; exit}' /etc/apt/sources.list)
    rm -rf "$root"
    debootstrap --variant=minbase \
        --include=gcc,g++,libc6-dev,pkg-config,cmake,make,zlib1g-dev,libzstd-dev,ca-certificates "$suite" "$root" "$mirror"
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    # How this machine's apt reaches its mirror counts there, too.
    cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
    bind /proc "$root/proc"
    bind /dev "$root/dev"
    chroot "$root" apt-get update -qq
    chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "llvm-$llvm-dev" libz3-dev libxml2-dev libffi-dev libedit-dev
    unmount
    touch "$root/.ready"
fi

# The bundle's place, with Debian's LLVM in it. Its llvm-config names Z3 by a path that the bundler can't read, and Polly,
# which Debian has in a package of its own and nothing here uses.
place=$root/root/.local/share/tracel/$bundle
mkdir -p "$place/bin"
cat >"$place/bin/llvm-config" <<WRAPPER
#!/bin/sh
/usr/lib/llvm-$llvm/bin/llvm-config "\$@" | sed "s#/usr/lib/x86_64-linux-gnu/libz3.so#-lz3#; s#-lPolly[A-Za-z]*##g"
WRAPPER
chmod +x "$place/bin/llvm-config"
ln -sfn "/usr/lib/llvm-$llvm/lib" "$place/lib"
ln -sfn "/usr/lib/llvm-$llvm/include" "$place/include"
touch "$place/.tracel-llvm-installed"

bind /proc "$root/proc"
bind /dev "$root/dev"
bind "${CARGO_HOME:-$HOME/.cargo}" "$root/root/.cargo"
bind "${RUSTUP_HOME:-$HOME/.rustup}" "$root/root/.rustup"
bind "$checkout" "$root/src"
mkdir -p "$work/target"
bind "$work/target" "$root/target"
# Thin LTO over CubeCL takes longer than all the rest. CUDARC_CUDA_VERSION is the oldest CUDA 13, or else cudarc takes the newest
# that it knows where there is no nvcc.
chroot "$root" env HOME=/root CARGO_HOME=/root/.cargo RUSTUP_HOME=/root/.rustup PATH=/root/.cargo/bin:/usr/bin:/bin \
    CARGO_TARGET_DIR=/target CARGO_PROFILE_RELEASE_LTO=off CUDARC_CUDA_VERSION="${CUDARC_CUDA_VERSION:-13000}" \
    sh -c 'cd /src && exec cargo "$@"' cargo "$1" --locked "${@:2}"

# Everything that such a program links to, but for the driver's library, which is opened at run time.
rm -rf "$work/lib"
mkdir -p "$work/lib"
find "$work/target/release" -maxdepth 2 -type f -executable ! -name '*.so' ! -name '*.d' ! -path '*/deps/*' ! -path '*/build/*' -print0 |
    while IFS= read -r -d '' program; do
        chroot "$root" ldd "/target/${program#"$work/target/"}" 2>/dev/null || true
    done | grep -o '/[^ ]*' | sort -u | while read -r library; do cp -L "$root$library" "$work/lib/"; done
ls "$work/lib"
