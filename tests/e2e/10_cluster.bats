#!/usr/bin/env bats
# Making a cluster: init, join, promote, demote, leave, node verbs.
load common

setup_file() {
	bed down
	bed up 4
}

@test "a host outside a cluster says so" {
	run ctl h1 node ls
	[ "$status" -eq 1 ]
	[[ $output == *"not"*"cluster"* ]]
	[ "$(ctl h1 info --format '{{.State}}')" = inactive ]
}

@test "init makes a cluster and prints the join line" {
	run ctl h1 init --advertise-addr 10.77.0.1
	[ "$status" -eq 0 ]
	[[ $output == *"clusterctl join --token SKEIN-1-"*"10.77.0.1:2377"* ]]
	wait_for 10 nodes_ready h1 1
}

@test "init again is refused" {
	run ctl h1 init --advertise-addr 10.77.0.1
	[ "$status" -eq 1 ]
	[[ $output == *"already"* ]]
}

@test "a worker joins with the worker token" {
	run ctl h2 join --token "$(ctl h1 join-token -q worker)" 10.77.0.1:2377
	[ "$status" -eq 0 ]
	wait_for 10 nodes_ready h1 2
	run ctl h2 node ls
	[ "$status" -eq 1 ]
	[[ $output == *"not a manager"* ]]
}

@test "managers join with the manager token and form a quorum" {
	local token
	token=$(ctl h1 join-token -q manager)
	ctl h3 join --token "$token" 10.77.0.1:2377
	ctl h4 join --token "$token" 10.77.0.1:2377
	wait_for 20 nodes_ready h3 4
	wait_for 20 managers_are h4 3
	[ "$(ctl h4 node ls --format '{{.ManagerStatus}}' | grep -c Leader)" = 1 ]
}

@test "state files are for root only" {
	run bed run h1 find /var/lib/skein -type f -perm /077 -not -path '*/layers/*' -not -path '*/etcd/*' -not -path '*/volumes/*'
	[ "$status" -eq 0 ]
	[ -z "$output" ]
	[ "$(bed run h1 stat -c %a /run/skein/agent.sock)" = 660 ]
	[ "$(bed run h1 stat -c %a /run/skein/manager.sock)" = 660 ]
}

@test "a promoted worker becomes a manager, a demoted one a worker" {
	ctl h1 node promote h2
	wait_for 30 managers_are h1 4
	wait_for 30 ctl h2 node ls
	demote h1 h2
	wait_for 30 managers_are h1 3
	no_api() { ! ctl h2 node ls; }
	wait_for 30 no_api
	wait_for 10 nodes_ready h1 4
}

@test "node update sets availability and labels, by name and by id prefix" {
	local id
	id=$(ctl h1 node ls --filter name=h2 -q)
	ctl h1 node update --availability drain --label-add rack=a --label-add zone=1 h2
	[ "$(ctl h1 node inspect h2 | bed run h1 jq -r '.[0].spec.availability')" = drain ]
	ctl h1 node update --availability active --label-rm zone "${id:0:6}"
	[ "$(ctl h1 node inspect "${id:0:6}" | bed run h1 jq -r '.[0].spec.availability')" = active ]
	run ctl h1 node update --availability never h2
	[ "$status" -eq 2 ]
	[[ $output == *availability*never*active* ]]
	run ctl h1 node inspect no-such-node
	[ "$status" -eq 1 ]
	[[ $output == *no-such-node* ]]
}

@test "a worker leaves, its node goes down and can be removed" {
	run ctl h1 node rm h2
	[ "$status" -eq 1 ]
	ctl h2 leave
	wait_for 20 node_is h1 h2 Down
	ctl h1 node rm h2
	run ctl h1 node inspect h2
	[ "$status" -eq 1 ]
	[ "$(ctl h2 info --format '{{.State}}')" = inactive ]
}

@test "a manager does not leave without force" {
	run ctl h4 leave
	[ "$status" -eq 1 ]
	[[ $output == *--force* ]]
}

@test "the last managers cannot be demoted away" {
	demote h1 h4
	wait_for 30 managers_are h1 2
	demote h1 h3
	wait_for 30 managers_are h1 1
	run ctl h1 node demote h1
	[ "$status" -eq 1 ]
	[[ $output == *last* ]]
}
