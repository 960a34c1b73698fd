#!/usr/bin/env bats
# The managers' quorum: joins that are interrupted or at once, hosts that return, refusals with numbers, a forced new cluster.
load common

setup_file() {
	bed down
	bed up 3
	ctl h1 init --advertise-addr 10.77.0.1
	load_image h1 demo:1 --cmd 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'
}

# How many of etcd's members vote, and how many there are.
members() { bed run "$1" sh -c 'cd /run/skein/etcd && ETCDCTL_API=3 etcdctl --endpoints unix://etcd.sock:1 member list -w json' | jq -r '[.members[] | select(.isLearner != true)] | length'; }
members_are() { [ "$(members "$1")" = "$2" ]; }
warnings() { ctl "$1" info --format '{{.Warnings}}'; }
warned() { [[ $(warnings "$1") == *"$2"* ]]; }
manager_token() { ctl h1 join-token -q manager; }
has() { bed run "$1" test -e "$2"; }

@test "one manager: nothing to warn of" {
	wait_for 20 nodes_ready h1 1
	[ -z "$(warnings h1)" ]
}

@test "two managers join at the same moment" {
	local token pid
	token=$(manager_token)
	ctl h2 join --token "$token" 10.77.0.1:2377 &
	pid=$!
	ctl h3 join --token "$token" 10.77.0.1:2377
	wait "$pid"
	wait_for 30 nodes_ready h1 3
	wait_for 30 members_are h1 3
	for h in h1 h2 h3; do wait_for 20 managers_are "$h" 3; done
}

@test "a manager whose etcd was killed before its log was there, or lost its data, joins anew" {
	local lost
	for lost in etcd/member/wal etcd; do
		bed crash h3
		rm -r "$SKEIN_TESTBED/h3/state/$lost"
		bed boot h3
		wait_for 60 members_are h1 3
		again() { ctl h3 node ls && managers_are h3 3 && nodes_ready h3 3; }
		wait_for 60 again
	done
}

@test "a service on all of them, seen from all of them" {
	ctl h2 service create --name web --replicas 3 demo:1
	for h in h1 h2 h3; do wait_for 10 running_is "$h" web 3; done
}

@test "a manager that dies while a service is waited for: another one is watched" {
	local out=$BATS_TEST_TMPDIR/out pid tls="--tls-ca /var/lib/skein/identity/root.crt --tls-cert /var/lib/skein/identity/node.crt --tls-key /var/lib/skein/identity/node.key"
	waits() { grep -q 'no suitable node' "$out"; }
	# Through the socket: its agent starts it again.
	ctl h2 service create --name many --replicas 30 --constraint node.labels.many==yes demo:1 >"$out" 2>&1 &
	pid=$!
	wait_for 20 waits
	bed kill h2 manager
	wait_for 20 grep -q 'is lost' "$out"
	for h in h1 h2 h3; do wait_for 30 ctl h1 node update --label-add many=yes $h; done
	wait "$pid"
	wait_for 10 running_is h1 many 30 # another manager was watched
	grep -q 'many: converged' "$out"
	ctl h1 service rm many
	for h in h1 h2 h3; do wait_for 20 ctl h1 node update --label-rm many $h; done
	wait_for 30 managers_are h1 3
	# From a list: the first that answers, then the next one; the other host stays silent.
	# shellcheck disable=SC2086
	bed run h1 clusterctl -H 10.77.0.99,10.77.0.3,10.77.0.2 $tls service create --name listed --replicas 3 --constraint node.labels.listed==yes demo:1 >"$out" 2>&1 &
	pid=$!
	wait_for 30 waits
	bed unplug h3
	wait_for 30 grep -q 'is lost' "$out"
	wait_for 30 ctl h1 node update --label-add listed=yes h2
	wait "$pid"
	wait_for 10 running_is h1 listed 3
	[ "$(ctl h1 service ls --format '{{.Name}}' | grep -c '^listed$')" = 1 ]
	bed plug h3
	ctl h1 service rm listed
	wait_for 60 nodes_ready h1 3
	wait_for 60 managers_are h1 3
	wait_for 60 managers_are h3 3
}

@test "a manager's host that crashed rejoins by itself when it boots" {
	bed crash h3
	wait_for 20 node_is h1 h3 Down
	wait_for 20 warned h1 "2 of 3 managers are healthy: the quorum is lost when one more manager fails"
	bed boot h3
	wait_for 30 nodes_ready h3 3
	wait_for 20 managers_are h3 3
	wait_for 20 running_is h3 web 3
	unwarned() { [ -z "$(warnings h1)" ]; }
	wait_for 20 unwarned
}

@test "who is needed for the quorum is neither demoted nor removed, and the numbers say why" {
	bed crash h3
	wait_for 20 node_is h1 h3 Down
	wait_for 20 warned h1 "2 of 3 managers are healthy"
	run ctl h1 node demote h2
	[ "$status" -eq 1 ]
	[[ $output == *"without h2 only 1 of 2 managers would be healthy, 2 are needed"* ]]
	run ctl h1 node rm --force h2
	[ "$status" -eq 1 ]
	[[ $output == *"demote it"* ]]
	[ "$(members h1)" = 3 ]
	# The dead one may go: what stays is whole.
	ctl h1 node demote h3
	wait_for 20 members_are h1 2
	wait_for 20 warned h1 "2 managers: losing either one loses the quorum"
	ctl h1 node rm h3
	run ctl h1 node inspect h3
	[ "$status" -eq 1 ]
}

@test "a host that was removed while it was away learns it, and can join again" {
	bed boot h3
	removed() { [[ $(ctl h3 info --format '{{.State}} {{.Error}}') == *removed* ]]; }
	wait_for 40 removed
	ctl h3 leave --force
	[ "$(ctl h3 info --format '{{.State}}')" = inactive ]
}

@test "a join that is killed half way goes on, or can be repeated" {
	local token at
	token=$(manager_token)
	for at in agent:etcd/member host:identity/node.json host:manager/manager.conf host:etcd/member; do
		ctl h3 join --token "$token" 10.77.0.1:2377 >/dev/null 2>&1 &
		wait_for 20 has h3 "/var/lib/skein/${at#*:}"
		if [ "${at%%:*}" = agent ]; then
			bed kill h3 agent
			wait %% || :
			bed start h3
		else
			bed crash h3
			wait %% || :
			bed boot h3
		fi
		[ "$(ctl h3 info --format '{{.State}}')" = active ] || ctl h3 join --token "$token" 10.77.0.1:2377
		wait_for 60 members_are h1 3
		wait_for 30 managers_are h3 3
		# where the newest member slows etcd down, the answer may be that it took too long
		demote h1 h3
		wait_for 20 members_are h1 2
		worker() { [ "$(ctl h3 info --format '{{.Role}}')" = worker ]; }
		wait_for 20 worker
		ctl h3 leave
		wait_for 20 node_is h1 h3 Down
		ctl h1 node rm h3
	done
}

@test "without quorum: refused with the numbers, containers go on" {
	ctl h3 join --token "$(manager_token)" 10.77.0.1:2377
	wait_for 30 members_are h1 3
	wait_for 20 nodes_ready h1 3
	wait_for 20 running_is h1 web 3
	ctl h1 service scale web=6
	bed crash h2
	bed crash h3
	told() { run ctl h1 node demote h2; [ "$status" -eq 1 ] && [[ $output == *"lost their quorum (1 of 3 are healthy, 2 are needed)"* ]]; }
	wait_for 30 told
	wait_for 30 warned h1 "lost their quorum: 1 of 3 are healthy, 2 are needed"
	[ "$(processes h1 '^sleep 3600')" -ge 2 ]
}

@test "--force-new-cluster: the survivor keeps services and nodes, and the dead can be removed" {
	local before
	before=$(bed run h1 pgrep -f '^sleep 3600' | sort)
	ctl h1 init --force-new-cluster
	wait_for 30 members_are h1 1
	wait_for 30 ctl h1 service ls
	[ "$(ctl h1 service ls --format '{{.Name}}')" = web ]
	[ "$(ctl h1 node ls -q | wc -l)" = 3 ]
	wait_for 30 node_is h1 h2 Down
	wait_for 30 node_is h1 h3 Down
	# What ran here runs on; what the dead had is started here.
	wait_for 30 running_is h1 web 6
	[ -z "$(comm -23 <(echo "$before") <(bed run h1 pgrep -f '^sleep 3600' | sort))" ]
	demote h1 h3
	ctl h1 node rm h3
	[ "$(ctl h1 node ls -q | wc -l)" = 2 ]
}

@test "a lost manager that returns to the forced cluster becomes a member anew" {
	bed boot h2
	wait_for 60 members_are h1 2
	wait_for 30 managers_are h2 2
	wait_for 30 nodes_ready h2 2
	six() { [ "$(ctl h2 service ls --format '{{.Name}} {{.Replicas}}')" = "web 6/6" ]; }
	wait_for 20 six
}

@test "the forced start is for once: a restart of the manager keeps both" {
	bed kill h1 manager
	wait_for 30 ctl h1 service ls
	wait_for 30 members_are h1 2
	wait_for 30 ctl h1 service scale web=2
}
