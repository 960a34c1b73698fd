#!/usr/bin/env bats
# What `service create`, `update` and `scale` show while they wait: on a terminal, in a pipe, interrupted.
load common

setup_file() {
	bed down
	bed up 1
	ctl h1 init --advertise-addr 10.77.0.1
	load_image h1 demo:1 --cmd 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'
}

# clusterctl on a terminal of 24 rows; what it draws goes to a file. Standard input is the keyboard.
on_terminal() {
	local out=$1
	shift
	bed run h1 script -qec "stty rows ${ROWS:-24} cols 80; clusterctl $*" /dev/null >"$out"
}
# The last picture: escape sequences carried out as far as they are used (up N lines, clear).
picture() {
	tr -d '\r' <"$1" | awk '
		BEGIN { row = 0 }
		{
			line = $0
			while (match(line, /\033\[[0-9]*[AKJ]/)) {
				code = substr(line, RSTART + 2, RLENGTH - 2)
				if (code ~ /A$/) { sub(/A$/, "", code); row -= code }
				if (code == "J") for (i in text) if (i + 0 >= row) delete text[i]
				line = substr(line, 1, RSTART - 1) substr(line, RSTART + RLENGTH)
			}
			text[row++] = line
		}
		END { for (i = 0; i < row; i++) print text[i] }'
}

@test "on a terminal: a line for each task, drawn in place" {
	local out=$BATS_TEST_TMPDIR/out
	on_terminal "$out" service create --name few --replicas 3 --update-monitor 0s demo:1 </dev/null
	grep -q $'\033\[[0-9]*A' "$out"
	run picture "$out"
	[ "$(grep -c 'overall progress: 3 out of 3 tasks' <<<"$output")" = 1 ]
	for i in 1 2 3; do [ "$(grep -c "$i/3: running *\[=*>\]" <<<"$output")" = 1 ]; done
	[ "$(grep -c 'verify: service converged' <<<"$output")" = 1 ]
}

@test "up to 20 tasks a line each, beyond one bar; also where lines do not fit" {
	local out=$BATS_TEST_TMPDIR/out
	on_terminal "$out" service scale few=20 </dev/null
	run picture "$out"
	[ "$(grep -c '/20: running' <<<"$output")" = 20 ]
	on_terminal "$out" service scale few=21 </dev/null
	run picture "$out"
	[ "$(grep -c '/21:' <<<"$output")" = 0 ]
	[[ $output == *"overall progress: 21 out of 21 tasks [="*">]"* ]]
	ROWS=8 on_terminal "$out" service scale few=10 </dev/null
	run picture "$out"
	[ "$(grep -c '/10:' <<<"$output")" = 0 ]
	[[ $output == *"overall progress: 10 out of 10 tasks [="*">]"* ]]
}

@test "in a pipe: plain lines, only what changed; --quiet only the id; --detach does not wait" {
	run ctl h1 service create --name piped --replicas 2 demo:1
	[ "$status" -eq 0 ]
	[[ $output != *$'\033'* ]]
	[[ $output == *"piped: 2/2 running"*"piped: converged" ]]
	[ "$(sort <<<"$output" | uniq -d)" = "" ]
	run ctl h1 service create --name quiet --quiet demo:1
	[ "$status" -eq 0 ]
	[ "${#lines[@]}" -eq 1 ]
	[[ ${lines[0]} =~ ^[a-z0-9]{25}$ ]]
	run ctl h1 service create --name pending --detach --constraint node.labels.none==x demo:1
	[ "$status" -eq 0 ]
	ctl h1 service rm few piped quiet pending
}

@test "Ctrl-C ends the waiting, not the service: 130" {
	local out=$BATS_TEST_TMPDIR/out keys=$BATS_TEST_TMPDIR/keys pid status=0
	mkfifo "$keys"
	on_terminal "$out" service create --name later --replicas 2 --constraint node.labels.ready==yes demo:1 <"$keys" 3>&- &
	pid=$!
	exec 9>"$keys"
	drawn() { grep -q 'no suitable node' "$out"; }
	wait_for 20 drawn
	printf '\003' >&9
	wait "$pid" || status=$?
	exec 9>&-
	[ "$status" -eq 130 ]
	grep -q 'keeps converging' "$out"
	ctl h1 node update --label-add ready=yes h1
	wait_for 20 running_is h1 later 2
	ctl h1 service rm later
}

@test "failure is told with the reason and 1" {
	run ctl h1 service create --name nobinary --restart-max-attempts 1 --restart-delay 0s demo:1 /no/such/program
	[ "$status" -eq 1 ]
	[[ $output == *"/no/such/program"* ]]
	[[ $output == *"will not be started again"* ]]
	# On a terminal too.
	run on_terminal /dev/stdout service create --name nobinary2 --restart-condition none demo:1 /no/such/other </dev/null
	[ "$status" -eq 1 ]
	[[ $output == *"/no/such/other"* ]]
	# An update that fails is paused, and told.
	ctl h1 service create --name good demo:1
	run ctl h1 service update --restart-condition none --args /no/such/third good
	[ "$status" -eq 1 ]
	[[ $output == *"update was paused"*"/no/such/third"* ]]
}

@test "--verify goes on watching: a task that ends meanwhile is told with 1" {
	run ctl h1 service create --name brief --verify 20s --restart-delay 1h demo:1 sh -c 'sleep 1; exit 3'
	[ "$status" -eq 1 ]
	[[ $output == *"brief.1 ended while it was verified: task: non-zero exit (3)"* ]]
	# Without it the same is a success, as soon as it runs.
	ctl h1 service create --name brief2 --restart-delay 1h demo:1 sh -c 'sleep 1; exit 3'
	ctl h1 service create --name brief3 --replicas 0 --restart-delay 1h demo:1 sh -c 'sleep 1; exit 3'
	ctl h1 service create --name lasting --verify 300ms demo:1
	ctl h1 service scale --verify 300ms lasting=2
	run ctl h1 service scale --verify 20s brief3=1
	[ "$status" -eq 1 ]
	run ctl h1 service update --verify 20s --update-monitor 0s --args 'sh -c "sleep 1; exit 4"' --update-failure-action continue lasting
	[ "$status" -eq 1 ]
	[[ $output == *"non-zero exit (4)"* ]]
	run ctl h1 service rollback --verify 300ms lasting
	[ "$status" -eq 0 ]
	run ctl h1 service create --name bad --verify soon demo:1
	[ "$status" -ne 0 ]
	[[ $output == *--verify*soon* ]]
	ctl h1 service rm brief brief2 brief3 lasting
}
