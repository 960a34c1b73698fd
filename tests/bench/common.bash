# Helpers of the benchmarks. Everything timed is timed inside a host, so that entering it costs nobody anything.
# shellcheck disable=SC1091,SC2034
. "$(dirname "${BASH_SOURCE[0]}")/../e2e/common.bash"
export SKEIN_TESTBED=${SKEIN_BENCH_TESTBED:-/tmp/skein-bench}

[ "$(id -u)" = 0 ] || { echo "a benchmark needs root: it makes hosts of namespaces" >&2; exit 1; }
trap 'bed down' EXIT
trap 'exit 130' INT TERM

now_us() { echo "${EPOCHREALTIME/[.,]/}"; }
median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)]; else print "-" }'; }
# a b -> a / b
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b + 0 > 0) printf "%.2f", a / b; else printf "-" }'; }
ms() { awk -v us="$1" 'BEGIN { printf "%.0f ms", us / 1000 }'; }
machine() { echo "$(nproc) cores, kernel $(uname -r | grep -o '^[0-9]*\.[0-9]*'), load $(cut -d' ' -f1 /proc/loadavg)"; }

# Run a bash script inside a host; its arguments are $1...
script() {
	local host=$1 text=$2
	shift 2
	bed run "$host" bash -euc "$text" bench "$@"
}

# Time in us of one `service create` with N replicas, from before the command to its end: all of them run.
create_us() {
	script "$1" '
		s=${EPOCHREALTIME/[.,]/}
		clusterctl service create -q --name "$1" --network none --stop-grace-period 0s --replicas "$2" bench:1 >/dev/null
		echo $((${EPOCHREALTIME/[.,]/} - s))' "$2" "$3"
}

no_tasks() { [ -z "$(bed run "$1" ls /var/lib/skein/tasks)" ]; }
