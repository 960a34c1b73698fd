#!/usr/bin/env bats
# What breaks: containers, agents, managers, the leader, etcd, whole hosts. 3 managers + 2 workers.
load common

setup_file() {
	cluster_up 3 2
	load_image h1 demo:1 --cmd 'echo "up $HOSTNAME"; trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'
	ctl h1 service create --name web --replicas 3 --restart-delay 0s --constraint node.role==worker demo:1
}

leader() { ctl "$1" node ls --format '{{.Hostname}} {{.ManagerStatus}}' | awk '$2 == "Leader" { print $1 }'; }
# The agent starts a killed manager again within a tenth of a second: it may well be the next leader itself.
has_leader() { [ -n "$(leader "$1")" ]; }
# Containers that really run, cluster-wide, by the tasks' own processes.
containers() { local n=0 h; for h in "$@"; do n=$((n + $(processes "$h" '^sleep 3600'))); done; echo "$n"; }
containers_are() { local want=$1; shift; [ "$(containers "$@")" = "$want" ]; }

@test "an agent killed and restarted keeps its containers" {
	local before after
	before=$(ctl h1 service ps web --no-trunc -q | sort)
	bed kill h4 agent
	bed start h4
	wait_for 20 nodes_ready h1 5
	after=$(ctl h1 service ps web --no-trunc -q | sort)
	[ "$before" = "$after" ]
	containers_are 3 h4 h5
}

@test "a container that ends while no agent runs is found with its exit code" {
	ctl h1 service create --detach --name brief --restart-condition none --constraint node.hostname==h5 \
		--mount type=volume,source=go,target=/go demo:1 sh -c 'while [ ! -e /go/on ]; do sleep 0.1; done; exit 42'
	wait_for 20 running_is h1 brief 1
	bed kill h5 agent
	bed run h5 sh -c 'touch /var/lib/skein/volumes/go/_data/on'
	sleepers_gone() { [ "$(processes h5 'sh -c while')" = 0 ]; }
	wait_for 20 sleepers_gone
	bed start h5
	exit_known() { ctl h1 service ps --no-trunc brief | grep -q 'non-zero exit (42)'; }
	wait_for 20 exit_known
	ctl h1 service rm brief
}

@test "a killed manager comes back, the others serve meanwhile" {
	bed kill h2 manager
	ctl h1 service ls
	wait_for 20 ctl h2 service ls
	wait_for 20 nodes_ready h1 5
}

@test "a killed leader is followed by the next and services go on" {
	local old other
	old=$(leader h1)
	other=h1; [ "$old" = h1 ] && other=h2
	bed kill "$old" manager
	wait_for 20 has_leader "$other"
	ctl "$other" service create --name after --replicas 2 demo:1
	[ "$(running "$other" after)" = 2 ]
	ctl "$other" service rm after
	wait_for 20 nodes_ready "$other" 5
	wait_for 20 containers_are 3 h4 h5
}

@test "etcd's child is restarted" {
	bed kill h1 etcd
	wait_for 20 ctl h1 service ls
	wait_for 20 ctl h1 service scale web=4 # what is read may be older than etcd's end
	ctl h1 service scale web=3
}

@test "a silent host is replaced, and never runs twice after it returns" {
	bed unplug h5
	wait_for 20 node_is h1 h5 Down
	elsewhere() { running_is h1 web 3 && ! nodes_of h1 web | grep -q h5; }
	wait_for 20 elsewhere
	bed plug h5
	wait_for 20 nodes_ready h1 5
	wait_for 20 containers_are 3 h4 h5
	[ "$(running h1 web)" = 3 ]
}

@test "a host that dies whole is replaced, and comes back empty" {
	bed crash h4
	wait_for 20 node_is h1 h4 Down
	elsewhere() { running_is h1 web 3 && ! nodes_of h1 web | grep -q h4; }
	wait_for 20 elsewhere
	bed boot h4
	wait_for 20 nodes_ready h1 5
	wait_for 20 containers_are 3 h4 h5
}

@test "without quorum the API refuses, containers go on, and it heals" {
	bed unplug h2
	bed unplug h3
	refused() { ! timeout 20 "$ROOT/tests/e2e/testbed" ctl h1 service scale --detach web=5; }
	refused
	containers_are 3 h4 h5
	bed plug h2
	bed plug h3
	wait_for 60 ctl h1 service scale web=4
	wait_for 30 running_is h1 web 4
	wait_for 30 nodes_ready h1 5
}
