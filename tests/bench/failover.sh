#!/usr/bin/env bash
# How long until all is well again: a silent host, a killed host, a killed leader, a leader's host gone silent.
#   tests/bench/failover.sh [ROUNDS [PART...]]      (needs root; programs from SKEIN_BIN, default build/dev)
# Parts: unplug crash (a worker), leader-kill leader-unplug; all of them unless some are named.
#
# Three managers, two workers. The times of tasks are those that the agents wrote into the statuses (one machine, one
# clock), so polling does not blur them. The floor is an undisturbed `service create` of one replica in the same round;
# a host that falls silent cannot be told from a slow one before the limit of silence (1 s, ADR 4): it is part of the floor.
# A silent leader takes etcd's leader with it here (the slow case): the floor is when etcd takes a write again, which
# is measured in the same loss.
# shellcheck disable=SC1091,SC2016,SC2154
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.bash"
rounds=${1:-5}
parts=" ${*:2} "
wanted() { [ "$parts" = "  " ] || [[ $parts == *" $1 "* ]]; }
SILENCE_US=1000000

cluster_up 3 2 >/dev/null
load_image h1 bench:1 --cmd 'exec sleep 1000000' >/dev/null
for i in 2 3 4 5; do ctl h$i image load -i "$SKEIN_TESTBED/image.tar" >/dev/null; done
work=$SKEIN_TESTBED/rounds
mkdir -p "$work"

# When the newest of a service's wanted tasks began to run, in us of the wall clock; fails while not all do.
running_since() {
	local from=$1 name=$2 wanted=$3 host=$4 ids
	ids=$(ctl "$from" service ps "$name" --no-trunc --filter desired-state=running --format '{{.ID}} {{.Node}} {{.CurrentState}}' |
		awk -v h="$host" '$2 == h && $3 == "Running" { print $1 }')
	[ "$(wc -w <<<"$ids")" = "$wanted" ] || return 1
	# shellcheck disable=SC2086
	ctl "$from" task inspect $ids | jq -r '[.[].status.at] | max' | { read -r at; to_us "$at"; }
}
# RFC 3339 or ns -> us
to_us() { case $1 in *T*) date -d "$1" +%s%6N ;; *) echo $(($1 / 1000)) ;; esac; }

create_on_workers() {
	ctl h1 service create -q --name web --network none --stop-grace-period 0s --constraint node.role==worker --replicas 2 bench:1 >/dev/null
}

lose_host() {
	local how=$1 t0 t1
	create_on_workers
	t0=$(now_us)
	bed "$how" h4
	wait_for 60 running_since h1 web 2 h5
	t1=$(running_since h1 web 2 h5)
	echo $((t1 - t0)) >>"$work/$how"
	if [ "$how" = unplug ]; then bed plug h4; else bed boot h4; fi
	wait_for 60 nodes_ready h1 5
	ctl h1 service rm web >/dev/null
	wait_for 60 no_tasks h4
	wait_for 60 no_tasks h5
}

leader() { ctl "$1" node ls --format '{{.Hostname}} {{.ManagerStatus}}' | awk '$2 == "Leader" { print $1 }'; }
all_managers() { [ "$(ctl "$1" node ls --format '{{.ManagerStatus}}' | grep -c -E 'Leader|Reachable')" = 3 ]; }

# One request to a host's own etcd member: HOST PATH BODY -> its answer.
etcd_ask() { bed run "$1" curl -sf -m 5 --unix-socket /run/skein/etcd/etcd.sock:1 "http://etcd/v3/$2" -d "$3"; }
etcd_leader() { etcd_ask "$1" maintenance/status '{}' | jq -r .leader; }
etcd_id() { etcd_ask "$1" maintenance/status '{}' | jq -r .header.member_id; }
# etcd's leader shall be the member of that host.
etcd_lead() {
	local id now h
	id=$(etcd_id "$1")
	now=$(etcd_leader "$1")
	if [ "$now" = "$id" ]; then return; fi
	for h in h1 h2 h3; do
		if [ "$(etcd_id $h)" = "$now" ]; then etcd_ask $h maintenance/transfer-leadership "{\"targetID\":\"$id\"}" >/dev/null; fi
	done
	[ "$(etcd_leader "$1")" = "$id" ]
}

# When etcd takes a write again, asked of a surviving member: us from $2 on.
etcd_writes_after() {
	script "$1" '
		s=${EPOCHREALTIME/[.,]/}
		limit=$((SECONDS + 60))
		until curl -sf -m 0.2 --unix-socket /run/skein/etcd/etcd.sock:1 http://etcd/v3/kv/put -d "{\"key\":\"YmVuY2g=\"}" >/dev/null; do
			[ $SECONDS -lt $limit ]
			read -rt 0.02 <> <(:) || :
		done
		echo $((${EPOCHREALTIME/[.,]/} - $1))' "$2"
}

# A create by another manager, tried until one is taken: the time from the loss to all running.
lose_leader() {
	local how=$1 old other t0 t1 floor
	old=$(leader h1)
	other=h1
	if [ "$old" = h1 ]; then other=h2; fi
	if [ "$how" = unplug ]; then wait_for 10 etcd_lead "$old"; fi
	t0=$(now_us)
	if [ "$how" = kill ]; then
		bed kill "$old" manager
	else
		bed unplug "$old"
		etcd_writes_after "$other" "$t0" >>"$work/etcd" &
		floor=$!
	fi
	t1=$(script "$other" '
		limit=$((SECONDS + 60))
		until clusterctl service create -q --name after --network none --stop-grace-period 0s --constraint node.role==worker bench:1 >/dev/null 2>&1; do
			if clusterctl service inspect after >/dev/null 2>&1; then clusterctl service rm after >/dev/null; fi
			[ $SECONDS -lt $limit ]
		done
		echo "${EPOCHREALTIME/[.,]/}"')
	echo $((t1 - t0)) >>"$work/leader-$how"
	if [ "$how" = unplug ]; then
		wait "$floor"
		bed plug "$old"
	fi
	ctl "$other" service rm after >/dev/null
	wait_for 60 nodes_ready "$other" 5
	wait_for 60 all_managers "$other"
	wait_for 60 ctl h1 node ls
}

for _ in $(seq "$rounds"); do
	create_us h1 plain 1 >>"$work/floor"
	ctl h1 service rm plain >/dev/null
	if wanted unplug; then lose_host unplug; fi
	if wanted crash; then lose_host crash; fi
	if wanted leader-kill; then lose_leader kill; fi
	if wanted leader-unplug; then lose_leader unplug; fi
done

row() {
	local what=$1 file=$work/$2 floor=$3 m
	if [ ! -f "$file" ]; then return; fi
	m=$(median <"$file")
	printf '%-46s %9s %9s %9s %9s %7s\n' "$what" "$(ms "$m")" "$(ms "$(sort -n "$file" | head -1)")" \
		"$(ms "$(sort -n "$file" | tail -1)")" "$(ms "$floor")" "$(ratio "$m" "$floor")"
}
floor=$(median <"$work/floor")
echo "$rounds rounds ($(machine))"
printf '%-46s %9s %9s %9s %9s %7s\n' '' median min max floor ratio
row 'service create, undisturbed' floor "$floor"
row 'cable cut -> replacements run' unplug $((SILENCE_US + floor))
row 'host killed -> replacements run' crash "$floor"
row 'leader killed -> a new service runs' leader-kill "$floor"
if [ -f "$work/etcd" ]; then
	elected=$(median <"$work/etcd")
	row "leader's cable cut -> etcd takes a write" etcd "$elected"
	row "leader's cable cut -> a new service runs" leader-unplug $((elected + floor))
fi
