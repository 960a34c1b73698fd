#!/usr/bin/env bats
# A node is emptied and comes back; what cannot be moved is refused with its own status.
load common

setup_file() {
	cluster_up 1 1
	load_image h1 demo:1 --cmd 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'
	load_image h1 deaf:1 --cmd 'trap "" TERM; while :; do sleep 3600 & wait $!; done'
	ctl h1 service create --name web --replicas 4 demo:1
}

on_h2() { ctl h1 node ps --filter desired-state=running -q h2 | wc -l; }

@test "drain --wait returns when no task is left; activate brings the node back" {
	[ "$(on_h2)" = 2 ]
	run ctl h1 node drain --wait --timeout 60s h2
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "h2: 0 of 2 tasks are gone" ]
	[ "${lines[-1]}" = "h2: drained: 0 tasks moved, 2 stopped" ]
	[ "$(on_h2)" = 0 ]
	run ctl h1 node drain --wait --quiet h2
	[ "$status" -eq 0 ]
	[ "$output" = "h2: drained: it had no tasks" ]
	[ "$(ctl h1 node activate h2)" = h2 ]
	[ "$(ctl h1 node ls --filter name=h2 --format '{{.Availability}}')" = Active ]
}

@test "drain --timeout tells what is still there; the drain goes on" {
	ctl h1 service create --name deaf --constraint node.hostname==h2 --stop-grace-period 20s deaf:1
	run ctl h1 node drain --wait --timeout 1s h2
	[ "$status" -eq 1 ]
	[[ $output == *"node h2: 1 task is still there after 1s; the drain goes on"*"deaf.1: "* ]]
	[ "$(ctl h1 node ls --filter name=h2 --format '{{.Availability}}')" = Drain ]
	ctl h1 service rm deaf
	ctl h1 node activate h2
}

@test "what was not made to be moved is refused, and nothing is written" {
	run ctl h1 task migrate web.1
	[ "$status" -eq 3 ]
	[[ $output == *"web.1"*"--live-migrate"* ]]
	run ctl h1 service rebalance web
	[ "$status" -eq 1 ]
	[[ $output == *"--live-migrate"* ]]
	[ -z "$(ctl h1 task migrations -q)" ]
	run ctl h1 service create --live-migrate --network host demo:1
	[ "$status" -eq 1 ]
	[[ $output == *"--live-migrate true: not with network host"* ]]
	run ctl h1 service create --live-migrate --tty demo:1
	[ "$status" -eq 1 ]
	[[ $output == *"--live-migrate true: not with a terminal"* ]]
}
