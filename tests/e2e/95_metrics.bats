#!/usr/bin/env bats
# What a scraper sees of an agent: the kernel's numbers, in both formats, compressed, over TLS; health that tells the truth.
load common

setup_file() {
	cluster_up 1 1
	load_image h2 busy:1 --cmd 'while :; do :; done'
	load_image h2 idle:1 --cmd 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'
	ctl h1 network create -d overlay back
	ctl h1 service create --name idle --replicas 2 --network back --label team=a --label other=b --limit-memory 64m --limit-cpu 0.5 \
		--reserve-memory 16m --constraint node.hostname==h2 idle:1
	wait_for 30 running_is h1 idle 2
}

scrape() { bed run "$1" curl -sS --fail --max-time 10 "${@:2}" http://127.0.0.1:9640/metrics; }
# The value of the only sample that matches all of the patterns.
value() {
	local p
	for p in "${@:2}"; do set -- "$(grep -- "$p" <<<"$1")" "${@:2}"; done
	[ "$(wc -l <<<"$1")" = 1 ] || { echo "not one sample for ${*:2}: $1" >&2; return 1; }
	echo "${1##* }"
}
cgroup_file() { # HOST TASK v1-controller v1-file v2-file
	local root=/sys/fs/cgroup file=$4
	if [ "$(stat -fc %T $root)" = cgroup2fs ]; then file=$5; else root+=/$3; fi
	bed run "$1" find "$root/" -path "*/$2/$file"
}

@test "promtool has nothing to say" {
	scrape h2 >"$BATS_TEST_TMPDIR/text"
	promtool check metrics <"$BATS_TEST_TMPDIR/text" >"$BATS_TEST_TMPDIR/said" 2>&1
	[ ! -s "$BATS_TEST_TMPDIR/said" ]
}

@test "metrics are well-formed: in no format is a family there twice, compressed they are the same" {
	scrape h2 >"$BATS_TEST_TMPDIR/text"
	[ -z "$(grep '^# TYPE' "$BATS_TEST_TMPDIR/text" | sort | uniq -d)" ]
	scrape h2 -D "$BATS_TEST_TMPDIR/head" -H 'Accept: application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5' >"$BATS_TEST_TMPDIR/open"
	grep -qi '^content-type: application/openmetrics-text; version=1.0.0' "$BATS_TEST_TMPDIR/head"
	[ "$(tail -n 1 "$BATS_TEST_TMPDIR/open")" = "# EOF" ]
	# Every sample belongs to the family above it.
	awk '/^# TYPE/ { f = $3 } !/^#/ { sub(/[{ ].*/, ""); if (index($0, f) != 1) { print; exit 1 } }' "$BATS_TEST_TMPDIR/open"
	# Compressed, it is the same.
	scrape h2 --compressed -D "$BATS_TEST_TMPDIR/head" >"$BATS_TEST_TMPDIR/unpacked"
	grep -qi '^content-encoding: gzip' "$BATS_TEST_TMPDIR/head"
	[ "$(grep -c '^# TYPE' "$BATS_TEST_TMPDIR/unpacked")" = "$(grep -c '^# TYPE' "$BATS_TEST_TMPDIR/text")" ]
}

@test "a container's numbers are the kernel's, with the labels that an operator knows it by" {
	local task text file before after said
	task=$(task_of h1 idle 1)
	text=$(scrape h2)
	[ "$(value "$text" '^skein_container_state{' "task=\"$task\"" 'state="running"')" = 1 ]
	grep "^skein_container_state{.*task=\"$task\"" <<<"$text" | grep -q 'node="h2",service="idle",.*slot="1",container="'"${task:0:12}"'",image="[^"]*idle:1"'
	[[ $text != *'team="a"'* && $text != *label_* ]] # nobody allowed it
	[ "$(value "$text" '^skein_container_memory_limit_bytes{' "task=\"$task\"")" = $((64 << 20)) ]
	[ "$(value "$text" '^skein_container_cpu_limit_cores{' "task=\"$task\"")" = 0.5 ]
	[ "$(value "$text" '^skein_container_restarts_total{' "task=\"$task\"")" = 0 ]
	[ "$(value "$text" '^skein_node_memory_reserved_bytes{')" = $((32 << 20)) ]
	# CPU grows, so the scrape lies between two looks at the file.
	file=$(cgroup_file h2 "$task" cpuacct cpuacct.usage cpu.stat)
	cpu_ns() { bed run h2 awk '/^usage_usec/ { print $2 * 1000; exit } NF == 1 { print $1; exit }' "$file"; }
	before=$(cpu_ns)
	said=$(value "$(scrape h2)" '^skein_container_cpu_usage_seconds_total{' "task=\"$task\"")
	after=$(cpu_ns)
	awk -v a="$before" -v s="$said" -v b="$after" 'BEGIN { exit !(a <= s * 1e9 + 1 && s * 1e9 - 1 <= b && b > 0) }'
	file=$(cgroup_file h2 "$task" pids pids.current pids.current)
	[ "$(value "$text" '^skein_container_processes{' "task=\"$task\"")" = "$(bed run h2 cat "$file")" ]
	file=$(cgroup_file h2 "$task" memory memory.usage_in_bytes memory.current)
	said=$(value "$text" '^skein_container_memory_usage_bytes{' "task=\"$task\"")
	awk -v s="$said" -v k="$(bed run h2 cat "$file")" 'BEGIN { d = s - k; if (d < 0) d = -d; exit !(k > 0 && d <= k / 2 + 1048576) }'
}

@test "traffic is counted as the container sees it" {
	local one two addr before after sent
	one=$(task_of h1 idle 1) two=$(task_of h1 idle 2)
	addr=$(bed run h2 nsenter --net="/run/skein/net/task-$two" ip -4 -o addr show eth0 | awk '{ sub(/\/.*/, "", $4); print $4 }')
	[ -n "$addr" ]
	before=$(value "$(scrape h2)" '^skein_container_network_transmit_bytes_total{' "task=\"$one\"" 'network="back"')
	# Ten datagrams of 1000 bytes, with 42 bytes of headers each; nobody listens, which does not matter to the sender.
	bed run h2 nsenter --net="/run/skein/net/task-$one" bash -c "for i in {1..10}; do printf %1000s x >/dev/udp/$addr/9; done" || :
	# Who asks within a moment gets the same answer again.
	sent() {
		after=$(scrape h2)
		sent=$(( $(value "$after" '^skein_container_network_transmit_bytes_total{' "task=\"$one\"" 'network="back"') - before ))
		[ "$sent" -ge 10420 ]
	}
	wait_for 10 sent
	[ "$sent" -le 30000 ]
	[ "$(value "$after" '^skein_overlay_tasks{' 'network="back"')" = 2 ]
}

@test "starts and images are counted by phase and by source" {
	local text
	text=$(scrape h2)
	[ "$(value "$text" '^skein_task_start_duration_seconds_count{' 'phase="runtime"')" = 2 ]
	[ "$(value "$text" '^skein_task_start_duration_seconds_count{' 'phase="network"')" = 2 ]
	[ "$(value "$text" '^skein_image_fetches_total{' 'source="archive"' 'result="ok"')" = 2 ]
	[ "$(value "$text" '^skein_images{')" = 2 ]
	[ "$(value "$text" '^skein_node_tasks{' 'state="running"')" = 2 ]
	[ "$(value "$text" '^skein_agent_session_up{')" = 1 ]
}

@test "a slot that is started again counts as restarted" {
	local task
	task=$(task_of h1 idle 2)
	bed run h2 kill -9 "$(ctl h1 task inspect "$task" | jq -r '.. | .Pid? // .pid? // empty' | head -n 1)"
	restarted() { local t; t=$(task_of h1 idle 2); [ "$t" != "$task" ] && [ "$(value "$(scrape h2)" '^skein_container_restarts_total{' "task=\"$t\"")" = 1 ]; }
	wait_for 30 restarted
}

@test "health is told of containers with a check: starting, healthy, and nothing of what is gone" {
	local task
	health_is() { [ "$(value "$(scrape h2)" '^skein_container_health{' "task=\"$task\"" "health=\"$1\"")" = "$2" ]; }
	task=$(task_of h1 idle 1)
	health_is none 1
	ctl h1 service create --detach --name checked --health-cmd 'test -e /tmp/fine' --health-interval 1s --health-start-period 1h \
		--constraint node.hostname==h2 idle:1
	known() { task=$(task_of h1 checked 1); [ -n "$task" ] && health_is starting 1; }
	wait_for 30 known
	health_is healthy 0
	bed run h2 touch "/proc/$(ctl h1 task inspect --format '{{.status.pid}}' "$task")/root/tmp/fine"
	wait_for 30 health_is healthy 1
	health_is starting 0
	ctl h1 service rm checked
	gone() { ! scrape h2 | grep -q "^skein_container_health{.*task=\"$task\""; }
	wait_for 30 gone
}

@test "no descriptor of a container is left when it has gone" {
	local task
	task=$(task_of h1 idle 1)
	scrape h2 >/dev/null
	held() { bed run h2 find "/proc/$(bed run h2 cut -d' ' -f1 /run/skein/agent.pid)/fd" -lname "*$1*" | grep -q .; }
	held "$task"
	ctl h1 service scale idle=0
	gone() { ! held "$task"; }
	wait_for 30 gone
	ctl h1 service scale idle=2
	wait_for 30 running_is h1 idle 2
}

@test "health says what works, and why not" {
	get() { bed run h2 curl -s --max-time 5 -w '%{http_code}' "http://127.0.0.1:9640/$1"; }
	[ "$(get healthz)" = $'ok runtime\nok network\n200' ]
	[ "$(get readyz)" = $'ok runtime\nok network\nok session\n200' ]
	bed unplug h1
	lost() { [[ $(get readyz) == *"failed session: no manager answers"*503 ]]; }
	wait_for 30 lost
	[ "$(get healthz)" = $'ok runtime\nok network\n200' ]
	[ "$(value "$(scrape h2)" '^skein_agent_session_up{')" = 0 ]
	bed plug h1
	back() { [[ $(get readyz) == *200 ]]; }
	wait_for 60 back
	[ "$(value "$(scrape h2)" '^skein_agent_sessions_total{')" -ge 2 ]
}

restart_with() { bed kill h2 agent; SKEIN_AGENT_ARGS="$*" bed start h2; wait_for 30 nodes_ready h1 2; }

@test "options: labels that are allowed, another port with TLS and client certificates, off" {
	local dir=$SKEIN_TESTBED/tls ask task
	task=$(task_of h1 idle 1)
	mkdir -p "$dir"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=h2 -addext subjectAltName=IP:127.0.0.1 \
		-keyout "$dir/key" -out "$dir/cert" 2>/dev/null
	restart_with --metrics-label=team --metrics-port=9700 --metrics-cert="$dir/cert" --metrics-key="$dir/key" --metrics-client-ca="$dir/cert"
	ask=(bed run h2 curl -sS --fail --max-time 10 --cacert "$dir/cert")
	served() { "${ask[@]}" --cert "$dir/cert" --key "$dir/key" https://127.0.0.1:9700/metrics >"$BATS_TEST_TMPDIR/tls"; }
	wait_for 30 served
	run "${ask[@]}" https://127.0.0.1:9700/metrics
	[ "$status" -ne 0 ]
	run bed run h2 curl -sS --fail --max-time 10 http://127.0.0.1:9640/metrics
	[ "$status" -ne 0 ]
	# The container is one that an earlier agent started.
	grep "^skein_container_cpu_usage_seconds_total{.*task=\"$task\"" "$BATS_TEST_TMPDIR/tls" | grep -q 'label_team="a"}'
	! grep -q label_other "$BATS_TEST_TMPDIR/tls"
	restart_with --no-metrics
	run "${ask[@]}" --cert "$dir/cert" --key "$dir/key" https://127.0.0.1:9700/metrics
	[ "$status" -ne 0 ]
	restart_with
	again() { scrape h2 | grep -q "^skein_container_processes{.*task=\"$task\""; }
	wait_for 30 again
}
