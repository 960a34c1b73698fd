#!/usr/bin/env bats
# The agent comes and goes, the node leaves, a manager cannot start: nothing hangs, nothing is left over.
load common

setup_file() {
	cluster_up 1 1
	load_image h1 stubborn --cmd 'trap "" TERM; while :; do sleep 1; done'
	load_image h2 stubborn --cmd 'trap "" TERM; while :; do sleep 1; done'
}

no_containers() { [ -z "$(bed run "$1" pgrep -x conmon)" ] && [ -z "$(bed run "$1" ls /var/lib/skein/tasks)" ]; }
agent_gone() { ! bed run "$1" kill -0 "$2"; }

# The process is there for a moment after the signal.
stop_agent() {
	local pid; pid=$(bed pid "$1" agent)
	bed run "$1" kill "-$2" "$pid"
	wait_for 20 agent_gone "$1" "$pid"
}

# Hold a TCP port on a host; let it go.
take_port() {
	bed run "$1" sh -c "setsid -f python3 -c '
import socket, time
s = socket.socket(); s.bind((\"0.0.0.0\", $2)); s.listen(); open(\"/run/skein/port.pid\", \"w\").write(str(__import__(\"os\").getpid()))
time.sleep(100000)' </dev/null >/dev/null 2>&1 3>&-"
	wait_for 10 bed run "$1" test -s /run/skein/port.pid
}
free_port() { bed run "$1" sh -c 'kill "$(cat /run/skein/port.pid)"; rm /run/skein/port.pid'; }

@test "a second agent on the same directories is refused" {
	run bed run h1 cluster-agent --state-dir /var/lib/skein --run-dir /run/skein
	[ "$status" -eq 1 ]
	[[ $output == *"another cluster-agent uses the directory /var/lib/skein"* ]]
	run bed run h1 cluster-agent --state-dir /tmp/skein-other-state --run-dir /run/skein
	[ "$status" -eq 1 ]
	[[ $output == *"another cluster-agent uses the directory /run/skein"* ]]
	rm -rf /tmp/skein-other-state
}

@test "containers outlive an agent that stops, and the next one finds them" {
	ctl h1 service create -q --name web --replicas 4 --stop-grace-period 2s stubborn
	before=$(ctl h1 service ps -q web | sort)
	stop_agent h2 TERM
	[ "$(bed run h2 pgrep -xc conmon)" = 2 ]
	bed start h2
	wait_for 20 nodes_ready h1 2
	[ "$(ctl h1 service ps -q web | sort)" = "$before" ]
	! grep -E 'AddressSanitizer|runtime error' "$SKEIN_TESTBED"/h*/agent.log
}

@test "a stop that a killed agent had begun is brought to its end" {
	ctl h1 service rm web
	stop_agent h2 KILL
	bed start h2
	wait_for 20 no_containers h2
	wait_for 20 no_containers h1
}

@test "an agent killed while containers start leaves none too many" {
	for round in 1 2 3; do
		ctl h1 service create -q --name k --replicas 6 --detach --restart-delay 100ms --stop-grace-period 1s stubborn
		read -rt "0.$round" <> <(:) || :
		stop_agent h2 KILL
		bed start h2
		wait_for 30 running_is h1 k 6
		count() { [ $(($(bed run h1 pgrep -xc conmon || :) + $(bed run h2 pgrep -xc conmon || :))) = 6 ]; }
		wait_for 30 count
		ctl h1 service rm k
		wait_for 30 no_containers h1
		wait_for 30 no_containers h2
	done
}

@test "a manager that cannot listen costs the others nothing, and says why" {
	take_port h2 2377
	ctl h1 node promote h2
	says_why() { ctl h2 info | grep -q '2377: the address is taken'; }
	wait_for 20 says_why
	ctl h1 service create -q --name w --replicas 1 --detach stubborn
	ctl h1 service rm w
	demote h1 h2
	is_worker() { [ "$(ctl h2 info --format '{{.Role}}')" = worker ]; }
	wait_for 20 is_worker
	free_port h2
}

@test "promoted and demoted in quick succession, the last word counts" {
	for i in 1 2 3; do
		ctl h1 node promote h2
		demote h1 h2
	done
	ctl h1 node promote h2
	wait_for 40 ctl h2 node ls
	demote h1 h2
	is_worker() { [ "$(ctl h2 info --format '{{.Role}}')" = worker ]; }
	wait_for 20 is_worker
}

@test "a taken port at boot is waited for; the identity is not overwritten" {
	stop_agent h2 TERM
	take_port h2 7946
	bed start h2
	says_error() { [ "$(ctl h2 info --format '{{.State}}')" = error ]; }
	wait_for 10 says_error
	run ctl h2 join --token "$(ctl h1 join-token -q worker)" 10.77.0.1:2377
	[ "$status" -eq 1 ]
	[[ $output == *"already part of a cluster"*"7946"* ]]
	free_port h2
	wait_for 20 nodes_ready h1 2
}

@test "leave stops even a container that ignores the signal, and the node is down at once" {
	ctl h1 service create -q --name web --replicas 2 --stop-grace-period 2s stubborn
	ctl h2 leave
	[ "$(ctl h2 info --format '{{.State}}')" = inactive ]
	[ "$(node_state h1 h2)" = Down ]
	no_containers h2
	wait_for 20 running_is h1 web 2
	ctl h1 service rm web
}

@test "left and joined again, as worker and as manager" {
	ctl h2 join --token "$(ctl h1 join-token -q worker)" 10.77.0.1:2377
	ctl h2 leave
	ctl h2 join --token "$(ctl h1 join-token -q manager)" 10.77.0.1:2377
	wait_for 20 ctl h2 node ls
	ctl h2 leave --force
	alone() { [ "$(ctl h1 node ls --format '{{.ManagerStatus}}' | grep -c .)" = 1 ]; }
	wait_for 20 alone
	ctl h1 service create -q --name w --replicas 1 --detach stubborn
}
