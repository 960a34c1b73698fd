#!/usr/bin/env bats
# Health checks and readiness as an operator sees them: what is not healthy is not RUNNING, gets no connections and does not let an
# update go on; what becomes unhealthy is replaced. 1 manager (h1) + 1 worker (h2).
load common
load net

setup_file() {
	export BATS_TEST_TIMEOUT=$((120 * ${SKEIN_SLOW:-1}))
	cluster_up 1 1
	net_image h1
	load_image h1 plain:1
	# Listens after the seconds in LATE.
	load_image h1 late:1 --file "$SKEIN_TESTBED/netecho:/bin/netecho" --expose 80/tcp \
		--cmd 'sleep ${LATE:-0}; exec netecho serve 80'
	# Healthy while /tmp/ok exists.
	load_image h1 checked:1 --health '{"Test":["CMD-SHELL","echo looked; test -e /tmp/ok"],"Interval":200000000,"Timeout":5000000000,"Retries":3}' \
		--cmd 'touch /tmp/ok; trap "exit 0" TERM; while :; do sleep 1000 & wait; done'
	ctl h1 network create front
	ctl h1 service create -q --name client --mode global --network front --ready-wait 0s plain:1
}

teardown() {
	if [ -z "${BATS_TEST_COMPLETED:-}" ]; then save_logs; fi
	ctl h1 service ls -q --format '{{.Name}}' | grep -v '^client$' | xargs -r "$ROOT/tests/e2e/testbed" ctl h1 service rm >&2
}

state() { ctl h1 service ps "$1" --format '{{.CurrentState}}' | head -1 | cut -d' ' -f1; }
status() { ctl h1 task inspect --format "{{.status.$2}}" "$(task_of h1 "$1" "${3:-1}")"; }
starting() { [ "$(state "$1")" = Starting ]; }
is_running() { running_is h1 "$1" "${2:-1}"; }
health_is() { [ "$(status "$1" health.state)" = "$2" ]; }

@test "a task is STARTING until its check succeeds, then RUNNING" {
	ctl h1 service create -q -d --name slow --health-cmd 'echo not yet; test -e /tmp/go' --health-interval 300ms --health-retries 1000 plain:1
	wait_for 20 starting slow
	last_words() { [ "$(status slow health.output)" = "not yet" ] || ctl h1 service explain slow | grep -q 'waits for the first successful health check'; }
	wait_for 10 last_words
	health_is slow starting
	starting slow
	in_task slow 1 touch /tmp/go
	wait_for 10 is_running slow
	wait_for 10 health_is slow healthy
	[ "$(status slow message)" = healthy ]
}

@test "a fast start is not held up by a long interval" {
	local began=$EPOCHREALTIME
	ctl h1 service create -q --name fast --health-cmd true --health-interval 10m plain:1
	is_running fast
	[ "$(( (${EPOCHREALTIME/./} - ${began/./}) / 1000000 ))" -lt $((30 * ${SKEIN_SLOW:-1})) ]
}

@test "the image's own check; what the service says stands above it" {
	ctl h1 service create -q --name image checked:1
	health_is image healthy
	ctl h1 service create -q --name none --no-healthcheck checked:1
	[ "$(ctl h1 task inspect "$(task_of h1 none 1)" | jq -r '.[0].status.health')" = null ]
	ctl h1 service create -q --name mine --health-cmd 'echo mine' checked:1
	health_is mine healthy
	[ "$(status mine health.output)" = mine ]
	ctl h1 service inspect --pretty mine | grep -A1 'Health check:' | grep -q 'CMD-SHELL echo mine'
}

@test "an unhealthy task fails with the check's last words and is replaced" {
	ctl h1 service create -q --name sick --restart-delay 0s --health-cmd 'echo "no answer from db"; test ! -e /tmp/bad' \
		--health-interval 200ms --health-retries 2 plain:1
	local first
	first=$(task_of h1 sick 1)
	in_task sick 1 touch /tmp/bad
	failed() { [ "$(ctl h1 task inspect --format '{{.status.state}}' "$first")" = failed ]; }
	wait_for 20 failed
	[[ "$(ctl h1 task inspect --format '{{.status.err}}' "$first")" == "unhealthy: check failed 2 times (exit 1): no answer from db" ]]
	ctl h1 service ps sick --no-trunc | grep -q 'unhealthy: check failed 2 times'
	wait_for 20 is_running sick
	[ "$(task_of h1 sick 1)" != "$first" ]
}

@test "failures in the start period do not count; behind it a task that never gets healthy fails" {
	ctl h1 service create -q -d --name never --restart-condition none --health-cmd false --health-interval 100ms --health-retries 2 \
		--health-start-period 3s plain:1
	wait_for 10 starting never
	local began
	began=$(status never at)
	ended() { [ "$(state never)" = Failed ]; }
	wait_for 20 ended
	local task
	task=$(ctl h1 service ps -q --no-trunc never)
	[ "$(date -d "$(ctl h1 task inspect --format '{{.status.at}}' "$task")" +%s%3N)" -ge $(( $(date -d "$began" +%s%3N) + 3000 )) ]
	ctl h1 service ps never --no-trunc | grep -q 'unhealthy: check failed 2 times (exit 1)'
}

@test "a check that hangs is cut off, with all that it has started" {
	ctl h1 service create -q -d --name hang --constraint node.hostname==h2 --restart-condition none --health-cmd 'sleep 7777 & setsid sleep 7777 & sleep 7777' \
		--health-interval 100ms --health-timeout 500ms --health-retries 3 plain:1
	ended() { [ "$(state hang)" = Failed ]; }
	wait_for 30 ended
	ctl h1 service ps hang --no-trunc | grep -q 'not over after 500ms'
	[ "$(processes h2 '^sleep 7777')" = 0 ]
}

@test "checks go on after a restart of the agent" {
	ctl h1 service create -q --name kept --constraint node.hostname==h2 --restart-condition none --health-cmd 'test ! -e /tmp/bad' \
		--health-interval 300ms --health-retries 2 plain:1
	bed kill h2 agent
	bed start h2
	wait_for 30 nodes_ready h1 2
	is_running kept
	in_task kept 1 touch /tmp/bad
	ended() { [ "$(state kept)" = Failed ]; }
	wait_for 20 ended
}

@test "an unhealthy task gets no connections: names and the virtual address lead to the others" {
	ctl h1 service create -q --name duo --replicas 2 --network front --restart-delay 30s --stop-grace-period 30s \
		--health-cmd 'test ! -e /tmp/bad' --health-interval 200ms --health-retries 1 echo:1
	wait_for 10 all_met client "$(slot_on client h2)" "$(vip front duo)" 80 2
	in_task duo 1 touch /tmp/bad
	only_one() { [ "$(ask client "$(slot_on client h2)" "$(vip front duo)" 80 8 | answerers)" = 1 ]; }
	wait_for 20 only_one
	names() { [ "$(in_net client "$(slot_on client h2)" dig +short +tries=1 +time=1 @127.0.0.11 tasks.duo | wc -l)" = 1 ]; }
	wait_for 10 names
}

@test "an update does not go on before the new task is healthy, and stops when it never is" {
	ctl h1 service create -q --name roll --replicas 2 --update-order start-first --update-monitor 0s --health-cmd 'test -z "$BAD"' \
		--health-interval 200ms --health-retries 3 --restart-condition none plain:1
	local before
	before=$(ctl h1 service ps -q --no-trunc --filter desired-state=running roll | sort)
	run ctl h1 service update -q --env-add BAD=1 roll
	[ "$status" -ne 0 ]
	# the old tasks have gone on
	[ "$(ctl h1 service ps roll --no-trunc --format '{{.ID}} {{.CurrentState}}' | grep ' Running' | cut -d' ' -f1 | sort)" = "$before" ]
	[ "$(ctl h1 service inspect --format '{{.update.state}}' roll)" = paused ]
}

# ---------------------------------------------------------------- without a check

@test "a published port: RUNNING once somebody listens" {
	ctl h1 service create -q -d --name web -p 8080:80 --env LATE=3 late:1
	wait_for 20 starting web
	ctl h1 service explain web | grep -q 'waits until somebody listens on its ports'
	wait_for 20 is_running web
	wait_for 10 answers_from h2 10.77.0.2 8080
	[ "$(status web message)" = started ]
}

@test "nobody listens: RUNNING behind the wait, and the message says so" {
	ctl h1 service create -q --name deaf -p 8081:81 --ready-wait 1s late:1
	is_running deaf
	[ "$(status deaf message)" = "started; nobody listens on port 81/tcp after 1s" ]
	ctl h1 service explain deaf | grep -q 'nobody listens on port 81/tcp after 1s'
	ctl h1 service create -q --name blind -p 8082:81 --ready-wait 0s late:1
	[ "$(status blind message)" = started ]
}

@test "behind a virtual address: the image's port; without a network nobody waits" {
	ctl h1 service create -q -d --name vip --network front --env LATE=3 late:1
	wait_for 20 starting vip
	wait_for 20 is_running vip
	wait_for 10 answers client "$(slot_on client h2)" "$(vip front vip)" 80
	ctl h1 service create -q --name alone --env LATE=1000 late:1
	[ "$(status alone message)" = started ]
	ctl h1 service create -q --name host --network host --env LATE=1000 late:1
	[ "$(status host message)" = started ]
}

@test "a start that is watched goes on being watched by the next agent" {
	ctl h1 service create -q -d --name again --constraint node.hostname==h2 -p 8083:80 --env LATE=6 --ready-wait 1m late:1
	wait_for 20 starting again
	bed kill h2 agent
	bed start h2
	wait_for 30 is_running again
	wait_for 10 answers_from h1 10.77.0.1 8083
	[ "$(status again message)" = started ]
}
