#!/usr/bin/env bash
# What a scrape costs: 500 containers against a loop that only reads the same files, and CPU per series against
# prometheus-node-exporter, in the same rounds.     tests/bench/metrics.sh [CONTAINERS [ROUNDS]]
# SKEIN_BIN: the build directory, with metrics_bench in it (ninja metrics_bench).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bin=${SKEIN_BIN:-$PWD/build/dev}
n=${1:-500} rounds=${2:-20}
bench=$bin/tests/bench/metrics_bench
[ -x "$bench" ] || bench=$(find "$bin" -name metrics_bench -type f | head -n 1)
[ -n "$bench" ] || { echo "no metrics_bench in $bin: ninja -C $bin metrics_bench" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "a benchmark needs root: it makes control groups" >&2; exit 1; }
# In a network of its own.
if [ "${1:-}" != inside ]; then exec unshare --net -- "$0" inside "$n" "$rounds"; fi
n=$2 rounds=$3
ip link set lo up

ulimit -n 20000
echo "$(nproc) cores, kernel $(uname -r), load $(cut -d' ' -f1 /proc/loadavg)"
"$bench" read "$n" "$rounds"

# CPU time of a process and all its threads, in ms, by the scheduler's account.
cpu_ms() { awk '{ s += $1 } END { printf "%.3f", s / 1000000 }' /proc/"$1"/task/*/schedstat; }
# name pid url: CPU per scrape and per series.
measure() {
	local before after series
	series=$(curl -sS "$3" | grep -vc '^#')
	before=$(cpu_ms "$2")
	for ((i = 0; i < rounds; i++)); do
		curl -sS --compressed -o /dev/null "$3"
		read -rt 0.15 <> <(:) || : # not two in one collection
	done
	after=$(cpu_ms "$2")
	awk -v name="$1" -v a="$before" -v b="$after" -v n="$rounds" -v s="$series" \
		'BEGIN { printf "%s: %d series, %.2f ms CPU per scrape (gzip), %.3f us per series\n", name, s, (b - a) / n, (b - a) / n / s * 1000 }'
}

coproc BENCH { exec "$bench" serve "$n"; }
trap 'exec {BENCH[1]}>&-; kill "$exporter" 2>/dev/null; wait' EXIT
exporter=
read -r port <&"${BENCH[0]}"
measure skein "$BENCH_PID" "http://127.0.0.1:$port/metrics"
if command -v prometheus-node-exporter >/dev/null; then
	prometheus-node-exporter --web.listen-address=127.0.0.1:19100 --log.level=error >/dev/null 2>&1 &
	exporter=$!
	curl -sS --retry 20 --retry-connrefused --retry-delay 1 -o /dev/null http://127.0.0.1:19100/metrics 2>/dev/null
	measure node-exporter "$exporter" http://127.0.0.1:19100/metrics
fi
