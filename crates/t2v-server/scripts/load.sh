#!/usr/bin/env bash
# Puts load on the server with a model that takes no time: RATE requests a second for SECONDS, submissions and then fetches, and then
# ten times as many submissions as that to a server with the default limits. Prints percentiles, statuses and memory.
#
# cargo build --release -p t2v-server --example stub_server
# crates/t2v-server/scripts/load.sh target/release/examples/stub_server
#
# RATE (200), SECONDS_OF_LOAD (60), CONNECTIONS (20), WORKERS (2): in the environment, the first a multiple of the last. Needs `hey`, a package of Debian.
set -euo pipefail
program=$(realpath "${1:?the built stub_server}")
rate=${RATE:-200} seconds=${SECONDS_OF_LOAD:-60} connections=${CONNECTIONS:-20}
command -v hey >/dev/null || { echo "load.sh: hey is missing: apt-get install hey" >&2; exit 1; }
out=$(mktemp -d)
key=key-of-the-load
server=""

finish() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    rm -rf "$out"
}
trap finish EXIT

# start NAME: a server of its own, whose address becomes $url.
start() {
    touch "$out/$1.out"
    "$program" --listen 127.0.0.1:0 --data-dir "$out/$1" --key "$key" --wait 0 >"$out/$1.out" 2>"$out/$1.err" &
    server=$!
    for _ in $(seq 100); do
        url=$(sed -n 's/^listening on //p' "$out/$1.out")
        [ -z "$url" ] || return 0
        sleep 0.1
    done
    echo "load.sh: the server does not start:" >&2
    cat "$out/$1.err" >&2
    exit 1
}

stop() {
    kill -TERM "$server"
    wait "$server" || true
    server=""
}

# What the server has of the memory, in MB.
memory() { awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$server/status"; }

# load NAME RATE METHOD URL [ARGUMENT...]: percentiles and statuses.
load() {
    local name=$1 rate=$2 method=$3 address=$4
    hey -z "${seconds}s" -c "$connections" -q $((rate / connections)) -m "$method" -T application/json \
        -H "Authorization: Bearer $key" "${@:5}" "$address" >"$out/hey"
    local fiftieth ninetyninth achieved statuses
    fiftieth=$(awk '/50%+ in/ { print $3 * 1000 }' "$out/hey")
    ninetyninth=$(awk '/99%+ in/ { print $3 * 1000 }' "$out/hey")
    achieved=$(awk '/Requests\/sec/ { print $2 }' "$out/hey")
    statuses=$(awk '/^ *\[[0-9]+\]/ { printf "%s %s  ", $1, $2 }' "$out/hey")
    printf '%-32s %6.0f/s  p50 %6.1f ms  p99 %7.1f ms  %s memory %s MB\n' \
        "$name" "$achieved" "$fiftieth" "$ninetyninth" "$statuses" "$(memory)"
    sed -n '/Error distribution/,$p' "$out/hey"
}

sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1
nproc | sed 's/$/ cores/'
body='{"prompt": "a red ball bouncing in a blue sky"}'

# Room for all that is submitted.
export T2V_WORKERS=${WORKERS:-2} T2V_QUEUED=1000000 T2V_QUEUED_PER_KEY=1000000
start usual
echo "idle: memory $(memory) MB"
load "submit (POST /v1/videos)" "$rate" POST "$url/v1/videos" -d "$body"
load "fetch (GET /v1/videos/{id})" "$rate" GET "$url/v1/videos/video_1"
load "fetch (POST enterprise/fetch)" "$rate" POST "$url/api/v1/enterprise/fetch" -d "{\"key\": \"$key\", \"request_id\": 1}"
curl -fsS "$url/metrics" | grep -E '^t2v_(jobs|jobs_ended_total|memory_peak_bytes)[{ ]'
stop

unset T2V_QUEUED T2V_QUEUED_PER_KEY
start overload
echo "idle: memory $(memory) MB"
for third in 1 2 3; do
    seconds=$((${SECONDS_OF_LOAD:-60} / 3))
    load "overload, part $third of 3" $((rate * 10)) POST "$url/v1/videos" -d "$body"
done
curl -fsS "$url/health/ready"
echo
stop
