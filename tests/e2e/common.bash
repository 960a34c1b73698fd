# Helpers of the end-to-end suites. A suite drives clusterctl only and waits for conditions, never for seconds.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export SKEIN_BIN=${SKEIN_BIN:-$ROOT/build/dev}
export SKEIN_TESTBED=${SKEIN_TESTBED:-/tmp/skein-e2e}

bed() { "$ROOT/tests/e2e/testbed" "$@"; }
ctl() { bed ctl "$@"; }

# Repeat a command until it succeeds; the bound in seconds only ends a broken run. SKEIN_SLOW: how much slower than usual
# this machine is: asked less often there, because asking costs what the cluster needs.
wait_for() {
	local limit=$(( $1 * ${SKEIN_SLOW:-1} )) end pause
	printf -v pause %d.%03d $(( 50 * ${SKEIN_SLOW:-1} / 1000 )) $(( 50 * ${SKEIN_SLOW:-1} % 1000 ))
	shift
	end=$(( $(date +%s) + limit ))
	until "$@" >/dev/null 2>&1; do
		if [ "$(date +%s)" -ge "$end" ]; then
			echo "gave up after ${limit}s waiting for: $*" >&2
			return 1
		fi
		read -rt "$pause" <> <(:) || :
	done
}

# Make a cluster: hosts h1..hM managers, the next W workers. On a slow machine (SKEIN_SLOW) with the patience that
# an operator of one would ask for: there an agent needs longer than five seconds to be killed and be back.
cluster_up() {
	local managers=$1 workers=$2 i token patience=()
	[ "${SKEIN_SLOW:-1}" -le 1 ] || patience=(--dispatcher-heartbeat "$((800 * SKEIN_SLOW))ms")
	bed down
	bed up $((managers + workers))
	ctl h1 init --advertise-addr 10.77.0.1 "${patience[@]}"
	token=$(ctl h1 join-token -q manager)
	for ((i = 2; i <= managers; i++)); do ctl "h$i" join --token "$token" 10.77.0.1:2377; done
	token=$(ctl h1 join-token -q worker)
	for ((i = managers + 1; i <= managers + workers; i++)); do ctl "h$i" join --token "$token" 10.77.0.1:2377; done
	wait_for 30 nodes_ready h1 $((managers + workers))
}

# node_state FROM NAME -> "Ready", "Down", ...
node_state() { ctl "$1" node ls --format '{{.Hostname}} {{.Status}}' | awk -v n="$2" '$1 == n { print $2 }'; }
nodes_ready() { [ "$(ctl "$1" node ls --format '{{.Status}}' | grep -c '^Ready')" = "$2" ]; }
node_is() { [ "$(node_state "$1" "$2")" = "$3" ]; }

# Managers that are whole, in the eyes of one host: a moment passes until each has heard of all others.
managers() { ctl "$1" node ls --format '{{.ManagerStatus}}' | grep -c -E 'Leader|Reachable' || :; }
managers_are() { [ "$(managers "$1")" = "$2" ]; }
# A demotion is refused until the managers see each other: before that the quorum counts as lost.
demote() { wait_for 30 ctl "$1" node demote "$2"; }

# Tasks of a service that are wanted and run.
running() { ctl "$1" service ps "$2" --filter desired-state=running --format '{{.CurrentState}}' | grep -c '^Running' || :; }
running_is() { [ "$(running "$1" "$2")" = "$3" ]; }
# Names of the nodes that run its tasks.
nodes_of() { ctl "$1" service ps "$2" --filter desired-state=running --format '{{.Node}}' | sort; }
# The id of the wanted task in a slot.
task_of() { ctl "$1" service ps "$2" --no-trunc --filter desired-state=running --format '{{.Name}} {{.ID}}' | awk -v n="$2.$3" '$1 == n { print $2 }'; }

# A small image under a name, loaded on a host.
load_image() {
	local host=$1 name=$2
	shift 2
	"$ROOT/deploy/dev/make-image" "$name" "$SKEIN_TESTBED/image.tar" "$@"
	ctl "$host" image load -i "$SKEIN_TESTBED/image.tar"
}

# Processes of containers on a host that match a pattern (their command line).
processes() { bed run "$1" pgrep -fc -- "$2" || :; }

save_logs() {
	local f
	for f in "$SKEIN_TESTBED"/h*/agent.log; do
		echo "--- $f"
		tail -n 60 "$f"
	done >&2
}

teardown() {
	if [ -z "${BATS_TEST_COMPLETED:-}" ]; then save_logs; fi
}

teardown_file() { bed down; }
