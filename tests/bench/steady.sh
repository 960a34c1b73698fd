#!/usr/bin/env bash
# A loaded machine is not a lost one: busy loops on all cores while a service is scaled up and down. No node may be
# called DOWN, no task may be replaced, the leader may not change.
#   tests/bench/steady.sh [SECONDS [LOOPS]]      (needs root; programs from SKEIN_BIN, default build/dev)
# shellcheck disable=SC1091,SC2016,SC2154
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.bash"
seconds=${1:-30}
busy=${2:-$((2 * $(nproc)))}

cluster_up 3 2 >/dev/null
load_image h1 bench:1 --cmd 'exec sleep 1000000' >/dev/null
for i in 2 3 4 5; do ctl h$i image load -i "$SKEIN_TESTBED/image.tar" >/dev/null; done
ctl h1 service create -q --name web --network none --stop-grace-period 0s --replicas 3 bench:1 >/dev/null
first=$(task_of h1 web 1)
leader() { ctl h1 node ls --format '{{.Hostname}} {{.ManagerStatus}}' | awk '$2 == "Leader" { print $1 }'; }
count() { cat "$SKEIN_TESTBED"/h*/agent.log | grep -c -- "$1" || :; }
# Each election of etcd is a term.
term() { bed run h1 curl -sf --unix-socket /run/skein/etcd/etcd.sock:1 http://etcd/v3/maintenance/status -d '{}' | jq -r .raftTerm; }
before=$(leader) term=$(term) elections=$(count event=elected) sessions=$(count event=session_up)

loops=()
for _ in $(seq "$busy"); do
	timeout "$seconds" sh -c 'while :; do :; done' &
	loops+=($!)
done
trap 'kill "${loops[@]}" 2>/dev/null || :; bed down' EXIT
end=$((SECONDS + seconds)) scales=0
while [ $SECONDS -lt $end ]; do
	ctl h1 service scale web=30 >/dev/null
	ctl h1 service scale web=3 >/dev/null
	scales=$((scales + 1))
done
wait "${loops[@]}" || :

down=$(count 'event=node_down')
echo "$seconds s with $busy busy loops ($(machine))"
printf '%-34s %s\n' 'scale 3 -> 30 -> 3, times' "$scales" \
	'nodes called DOWN' "$down" \
	'sessions begun again' $(($(count event=session_up) - sessions)) \
	'elections of etcd' $(($(term) - term)) \
	'managers called lost' "$(count event=manager_silent)" \
	'elections' $(($(count event=elected) - elections)) \
	'stalls of a loop over the limit' "$(count event=loop_stall)" \
	'stalls of a dispatcher' "$(count event=dispatcher_stall)"
[ "$down" = 0 ] && [ "$(leader)" = "$before" ] && [ "$(task_of h1 web 1)" = "$first" ] || { echo "FAILED: the load was taken for a loss" >&2; exit 1; }
