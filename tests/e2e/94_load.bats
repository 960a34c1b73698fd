#!/usr/bin/env bats
# Not one request is lost while a service changes under constant load: rolling updates of both orders, scaling down and up. New
# connections for each request (netecho load) and connections that stay (wrk), by the virtual address on nodes with and
# without tasks, and by the published port from outside. 3 managers (h1-h3) + 1 worker (h4); h5 is outside.
# SKEIN_LOAD_ROUNDS: so many times (1).
load common
load net

setup_file() {
	export BATS_TEST_TIMEOUT=$((240 * ${SKEIN_LOAD_ROUNDS:-1} * ${SKEIN_SLOW:-1}))
	web_for_load
}

# What a test that failed has left behind must not be the reason for the next one's failure.
teardown() {
	if [ -n "${BATS_TEST_COMPLETED:-}" ]; then return; fi
	save_logs
	touch "$SKEIN_TESTBED"/back.*/stop
	ctl h1 service scale -q web=4 || :
} >&2

rounds() { local i; for ((i = 0; i < ${SKEIN_LOAD_ROUNDS:-1}; i++)); do "$@" "$i" || return 1; done; }
update() { ctl h1 service update -q --update-monitor 0s "$@" web; }

starts_first() { update --update-order start-first --update-parallelism 2 --env-add "V=a$1"; }
stops_first() { update --update-order stop-first --update-parallelism 1 --env-add "V=b$1"; }

@test "rolling updates that start the new task first" {
	loads_begin
	rounds starts_first
	loads_end
}

@test "rolling updates that stop the old task first" {
	loads_begin
	rounds stops_first
	loads_end
}

down_and_up() {
	ctl h1 service scale -q web=2
	wait_for 30 all_met client "$(slot_on client h2)" "$(vip front web)" 80 2
	ctl h1 service scale -q web=10
	wait_for 30 all_met client "$(slot_on client h2)" "$(vip front web)" 80 10
}

@test "scaled from 10 to 2 and to 10 again" {
	ctl h1 service scale -q web=10
	wait_for 20 all_met client "$(slot_on client h2)" "$(vip front web)" 80 10
	loads_begin
	rounds down_and_up
	loads_end
	ctl h1 service scale -q web=4
}

# wrk_start FROM URL: ends by itself after 20 s.
wrk_start() {
	echo 'function delay() return 5 end' >"$BATS_TEST_TMPDIR/delay.lua"
	BACK=$(mktemp -d "$SKEIN_TESTBED/back.XXXXXX")
	set -- "$1" wrk -t 1 -c 8 -d 20s --timeout 5s -s "$BATS_TEST_TMPDIR/delay.lua" "$2"
	[ "$1" = h5 ] || set -- "$1" nsenter -t "$(client_pid "$1")" -n -- "${@:2}"
	( s=0; bed run "$@" >"$BACK/out" 2>&1 || s=$?; echo "$s" >"$BACK/status" ) 3>&- &
}
wrk_end() {
	wait_for 60 test -s "$1/status"
	cat "$1/out"
	[ "$(awk '/requests in/ { print $1 }' "$1/out")" -gt 1000 ]
	not grep -qE 'Socket errors|Non-2xx' "$1/out"
}

@test "connections that stay: updates and scaling as seen by wrk" {
	local inside outside
	wrk_start h4 "http://$(vip front web)/"; inside=$BACK
	wrk_start h5 http://10.77.0.1:8080/; outside=$BACK
	starts_first wrk
	ctl h1 service scale -q web=2
	ctl h1 service scale -q web=6
	wrk_end "$inside"
	wrk_end "$outside"
	ctl h1 service scale -q web=4
}
