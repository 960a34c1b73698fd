#!/usr/bin/env bats
# What the flags of `service create` and `service logs` do, seen from inside the container or from its host.
load common

setup_file() {
	cluster_up 1 1
	load_image h1 demo:1 --cmd 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'
}

# Run a command in a container to its end with these flags: says what it wrote.
says() {
	ctl h1 service create --quiet --name says --restart-condition none --constraint node.hostname==h1 "$@" >/dev/null
	completed() { ctl h1 service ps says --format '{{.CurrentState}}' | grep -q '^Complete'; }
	wait_for 20 completed
	ctl h1 service logs --raw says
	ctl h1 service rm says >/dev/null
}
file_in_volume() { bed run "$1" test -e "/var/lib/skein/volumes/$2/_data/$3"; }
capabilities() { awk '/CapEff/ { print $2 }'; }

@test "entrypoint, arguments, env file, group" {
	[ "$(says --entrypoint 'echo from "the entry point"' demo:1 and arguments)" = "from the entry point and arguments" ]
	printf 'A=1\n# comment\nB=two words\n' >"$SKEIN_TESTBED/env"
	run says --env-file "$SKEIN_TESTBED/env" --env B=wins demo:1 sh -c 'echo "$A $B"'
	[ "$output" = "1 wins" ]
	run says --user 1000 --group 44 demo:1 id -G
	[[ " $output " == *" 44 "* ]]
}

@test "tty and init" {
	run says --tty demo:1 sh -c 'if [ -t 1 ]; then echo terminal; fi'
	[[ $output == terminal* ]]
	run says demo:1 sh -c 'if [ -t 1 ]; then echo terminal; else echo none; fi'
	[ "$output" = none ]
	run says --init demo:1 sh -c 'echo $$'
	[ "$output" != 1 ]
	run says demo:1 sh -c 'echo $$'
	[ "$output" = 1 ]
}

@test "capabilities, sysctls, OOM score, container labels" {
	local plain more
	plain=$(says demo:1 cat /proc/self/status | capabilities)
	more=$(says --cap-add NET_ADMIN demo:1 cat /proc/self/status | capabilities)
	[ $((0x$plain & 1 << 12)) -eq 0 ]
	[ $((0x$more)) -eq $((0x$plain | 1 << 12)) ]
	[ "$(says --sysctl net.ipv4.ip_default_ttl=99 demo:1 cat /proc/sys/net/ipv4/ip_default_ttl)" = 99 ]
	[ "$(says --oom-score-adj 300 demo:1 cat /proc/self/oom_score_adj)" = 300 ]
	ctl h1 service create --detach --quiet --name labelled --replicas 0 --container-label owner=me demo:1
	[ "$(ctl h1 service inspect labelled | jq -c '.[0].spec.task.container.labels')" = '{"owner":"me"}' ]
	ctl h1 service rm labelled
}

@test "network host is the node's, none has a loopback only" {
	run says --network host demo:1 ls /sys/class/net
	[[ $output == *eth0* ]]
	[ "$(says --network none demo:1 cat /proc/net/dev | grep -c ':')" = 1 ]
}

@test "limits stand in the container's cgroup" {
	local task limit
	ctl h1 service create --quiet --name limited --constraint node.hostname==h1 --limit-cpu 0.5 --limit-memory 64m --limit-pids 33 demo:1
	task=$(task_of h1 limited 1)
	limit() { find /sys/fs/cgroup -path "*/h1/*$task*" -name "$1" -exec cat {} + | sort -u; }
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		limit cpu.max | grep -qx '50000 100000'
		limit memory.max | grep -qx 67108864
	else
		limit cpu.cfs_quota_us | grep -qx 50000
		limit memory.limit_in_bytes | grep -qx 67108864
	fi
	limit pids.max | grep -qx 33
	ctl h1 service rm limited
}

@test "reservations of cores, and a bound of replicas per node, keep tasks pending with the reason" {
	ctl h1 service create --detach --quiet --name cores --replicas 1 --reserve-cpu 4000 demo:1
	starved() { ctl h1 service ps --no-trunc cores | grep -q 'insufficient CPU on 2 nodes (asked 4000'; }
	wait_for 10 starved
	ctl h1 service create --detach --quiet --name bounded --replicas 3 --replicas-max-per-node 1 demo:1
	wait_for 20 running_is h1 bounded 2
	bounded() { ctl h1 service ps --no-trunc bounded | grep -q 'max replicas per node limit exceed'; }
	wait_for 10 bounded
	[ "$(nodes_of h1 bounded | grep -c h1)" = 1 ]
	ctl h1 service rm cores bounded
}

@test "stop signal and grace period" {
	ctl h1 service create --quiet --name polite --stop-signal USR1 --constraint node.hostname==h1 --mount type=volume,source=polite,target=/v \
		demo:1 sh -c 'trap "touch /v/usr1; exit 0" USR1; touch /v/ready; while :; do sleep 3600 & wait $!; done'
	wait_for 10 file_in_volume h1 polite ready
	ctl h1 service rm polite
	wait_for 10 file_in_volume h1 polite usr1
	ctl h1 service create --quiet --name stubborn --stop-grace-period 500ms --constraint node.hostname==h1 --mount type=volume,source=stubborn,target=/v \
		demo:1 sh -c 'trap "" TERM; touch /v/ready; while :; do sleep 0.1; done'
	wait_for 10 file_in_volume h1 stubborn ready
	ctl h1 service rm stubborn
	gone() { [ "$(processes h1 'touch /v/ready')" = 0 ]; }
	wait_for 8 gone
}

@test "attempts outside the restart window do not count" {
	ctl h1 service create --detach --quiet --name slow --restart-delay 0s --restart-max-attempts 1 --restart-window 300ms demo:1 sh -c 'sleep 0.6; exit 1'
	# Of such a service two tasks are kept: count all that ever failed.
	four() { ctl h1 service ps slow -q --filter desired-state=shutdown >>"$BATS_TEST_TMPDIR/failed"; [ "$(sort -u "$BATS_TEST_TMPDIR/failed" | wc -l)" -ge 4 ]; }
	wait_for 20 four
	# The same within the window ends after the one restart.
	ctl h1 service create --detach --quiet --name quick --restart-delay 0s --restart-max-attempts 1 --restart-window 1h demo:1 sh -c 'exit 1'
	ended() { [ "$(ctl h1 service ps quick --format '{{.DesiredState}} {{.CurrentState}}' | grep -c '^Shutdown Failed')" = 2 ]; }
	wait_for 20 ended
	ctl h1 service rm quick
	ctl h1 service rm slow
}

@test "update order start-first: the new one runs before the old one stops; a failed update rolls back" {
	ctl h1 service create --quiet --name up --update-order start-first --update-monitor 0s --constraint node.hostname==h1 \
		--mount type=volume,source=up,target=/v demo:1 \
		sh -c 'echo "start $V" >>/v/log; trap "echo stop $V >>/v/log; exit 0" TERM; while :; do sleep 3600 & wait $!; done'
	ctl h1 service update --env-add V=2 up
	log() { bed run h1 cat /var/lib/skein/volumes/up/_data/log; }
	stopped() { log | grep -q stop; }
	wait_for 20 stopped
	[ "$(log | tr -s ' ' | sed 's/ $//' | tr '\n' ,)" = "start,start 2,stop," ]
	run ctl h1 service update --update-failure-action rollback --update-monitor 2s --restart-condition none --args /no/such/program up
	[ "$status" -eq 1 ]
	[[ $output == *"rolled back"* ]]
	[[ $(ctl h1 service inspect up | jq -c '.[0].spec.task.container') != *no/such* ]]
	wait_for 20 running_is h1 up 1
	ctl h1 service rm up
}

@test "logs: --since, --timestamps, --tail, of one task" {
	local since first
	ctl h1 service create --quiet --name ticker --replicas 2 demo:1 sh -c 'i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.1; done'
	many() { [ "$(ctl h1 service logs --raw ticker | wc -l)" -gt 20 ]; }
	wait_for 20 many
	since=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
	later() { [ "$(ctl h1 service logs --since "$since" ticker | wc -l)" -gt 4 ]; }
	wait_for 20 later
	first=$(ctl h1 service logs --timestamps --since "$since" ticker | cut -d' ' -f1 | sort | head -1)
	[[ ! $first < ${since%Z} ]]
	[ "$(ctl h1 service logs --since 1h --raw ticker | grep -cx 'tick 1')" = 2 ]
	[ "$(ctl h1 service logs --tail 3 ticker | wc -l)" = 6 ]
	[ "$(ctl h1 task logs --tail 2 ticker.1 | wc -l)" = 2 ]
	ctl h1 service rm ticker
}
