#!/usr/bin/env bats
# Running containers go to other hosts, as an operator sees it. 1 manager + 2 workers; h4 is a host outside. Needs a kernel that CRIU works on.
#   tests/vm/run e2e ../vm/live_migration
load ../e2e/common
load ../e2e/net

setup_file() {
	export BATS_TEST_TIMEOUT=$((180 * ${SKEIN_SLOW:-1}))
	cluster_up 1 2
	bed host h4
	net_image h1
	load_image h1 count:1 --cmd 'i=0; while :; do i=$((i + 1)); echo $i >/tmp/count; echo $i; sleep 0.2; done'
}
setup() { ctl h1 network create front; }

teardown() {
	if [ -z "${BATS_TEST_COMPLETED:-}" ]; then ctl h1 task migrations --no-trunc >&2 || :; save_logs; fi
	clear_cluster
}

other() { if [ "$1" = h2 ]; then echo h3; else echo h2; fi; }
# The task that runs a slot now.
task_of() { tasks "$1" | awk -v s="$2" '$1 == s { print $3 }'; }
count() { in_task count 1 cat /tmp/count; }
counts_on() { [ "$(count)" -gt "$1" ]; }
# Ended tasks keep files and log until the slot's history forgets them, a moved one too: no network and no control group, though.
runs_in_nothing() { ! bed run "$1" sh -c 'ls /run/skein/net; ls -d /sys/fs/cgroup/*/*' 2>/dev/null | grep -q "$2"; }
# Behind the service's end nothing is left at all.
nothing_left() { ! bed run "$1" sh -c 'ls /run/skein/exec /run/skein/net; mount; ls -d /sys/fs/cgroup/*/*' 2>/dev/null | grep -q "$2"; }

@test "a container goes on where it was, with its files, its log and its address" {
	local from to old new before address
	ctl h1 service create -q --name count --replicas 1 --live-migrate --network front --constraint node.role==worker count:1
	from=$(node_of count 1) to=$(other "$(node_of count 1)") old=$(task_of count 1) address=$(address front count.1)
	wait_for 20 counts_on 5
	before=$(count)
	run ctl h1 task migrate --to "$to" "$old"
	[ "$status" -eq 0 ]
	[ "$(node_of count 1)" = "$to" ]
	[ "$(address front count.1)" = "$address" ]
	wait_for 20 counts_on "$before"
	[ "$(processes "$to" 'i=0; while')" -ge 1 ]
	[ "$(processes "$from" 'i=0; while')" = 0 ]
	wait_for 20 runs_in_nothing "$from" "$old"
	# no number twice, none left out: it never began anew
	ctl h1 service logs count >"$BATS_TEST_TMPDIR/log"
	awk '{ n = $NF } last && n != last + 1 && n != last { bad = 1 } { last = n } END { exit bad }' "$BATS_TEST_TMPDIR/log"
	[ "$(ctl h1 task migrations --format '{{.From}} {{.To}} {{.State}}')" = "$from $to moved" ]
	new=$(task_of count 1)
	ctl h1 service rm count
	wait_for 20 nothing_left "$from" "$old"
	wait_for 20 nothing_left "$to" "$new"
}

@test "established connections go on: direct, and by the service's address" {
	local from to direct vip
	ctl h1 service create -q --name web --replicas 1 --live-migrate --network front --constraint node.role==worker echo:1
	ctl h1 service create -q --name client --replicas 1 --network front --constraint node.hostname==h1 echo:1
	from=$(node_of web 1) to=$(other "$(node_of web 1)")
	wait_for 20 all_met client 1 "$(vip front web)" 80 1
	hold_start h1 "$(client_pid h1)" "$(address front web.1)" 80; direct=$BACK
	hold_start h1 "$(client_pid h1)" "$(vip front web)" 80; vip=$BACK
	ctl h1 task migrate --to "$to" "$(task_of web 1)"
	[ "$(node_of web 1)" = "$to" ]
	wait_for 20 all_met client 1 "$(vip front web)" 80 1
	background_end "$direct"
	background_end "$vip"
	ctl h1 service rm web client
}

@test "refused with the reason, and untouched" {
	local pid task
	ctl h1 service create -q --name plain --replicas 1 --network front --constraint node.role==worker echo:1
	run ctl h1 task migrate "$(task_of plain 1)"
	[ "$status" -ne 0 ]
	[[ $output == *live-migrate* ]]
	ctl h1 service rm plain
	ctl h1 service create -q --name web --replicas 1 --live-migrate --network front --constraint node.role==worker echo:1
	task=$(task_of web 1) pid=$(pid_of web 1)
	run ctl h1 task migrate --to "$(node_of web 1)" "$task"
	[ "$status" -ne 0 ]
	run ctl h1 task migrate --to nosuchnode "$task"
	[ "$status" -ne 0 ]
	[[ $output == *nosuchnode* ]]
	ctl h1 task migrate --dry-run "$task"
	[ "$(task_of web 1)" = "$task" ]
	[ "$(pid_of web 1)" = "$pid" ]
	ctl h1 service rm web
}

@test "a node is drained: what can move moves, the rest is replaced; nobody is left" {
	local from before
	ctl h1 service create -q --name count --replicas 1 --live-migrate --network front --constraint node.role==worker count:1
	from=$(node_of count 1)
	wait_for 20 counts_on 5
	before=$(count)
	ctl h1 node drain --wait "$from"
	[ "$(node_of count 1)" != "$from" ]
	wait_for 20 counts_on "$before"
	[ -z "$(ctl h1 node ps -q --filter desired-state=running "$from")" ]
	ctl h1 node activate "$from"
	ctl h1 service rm count
}
