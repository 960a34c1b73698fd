#!/usr/bin/env bats
# What happened in the cluster: told alike by all managers, also by one that was not there.
load common

setup_file() {
	cluster_up 3 0
	load_image h1 demo:1 --cmd 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'
	ctl h1 service create --name web --replicas 2 demo:1
	ctl h1 service scale web=3
	ctl h1 service create --name bad --restart-condition none --replicas 1 --detach demo:1 sh -c 'exit 3'
	export WEB
	WEB=$(ctl h1 service ls --no-trunc -q --filter name=web)
}

events() { local host=$1; shift; ctl "$host" events "$@"; }
has() { local host=$1 pattern=$2; shift 2; events "$host" "$@" | grep -Eq -- "$pattern"; }

@test "services, tasks, nodes, images and tokens tell what happened, in Docker's words" {
	wait_for 20 has h1 ' task die .*exitCode=3' --filter service=bad
	run events h1 --filter type=service --filter service=web
	[[ ${lines[0]} =~ ^20[0-9-]+T[0-9:.]+Z\ service\ create\ $WEB\ \(image=.*demo:1,\ name=web\)$ ]]
	[[ $output == *"service update $WEB (name=web, replicas.new=3, replicas.old=2)"* ]]
	[ "$(events h1 --filter type=task --filter event=start --filter service=web | wc -l)" = 3 ]
	run events h1 --filter type=task --filter service=bad --filter event=die
	[[ $output == *"name=bad.1"* && $output == *"node=h"* && $output == *"exitCode=3"* && $output == *"state=failed"* ]]
	[[ $(events h1 --filter type=image --filter node=h1) == *"image load "*demo:1* ]]
	[[ $(events h1 --filter type=token --filter event=create) == *role=worker* ]]
	[ "$(events h1 --filter type=node --filter event=create | wc -l)" -ge 2 ]
	[[ $(events h1 --filter type=node) == *leader.new=true* ]]
}

@test "filters, times and formats; what is wrong is named" {
	[ -z "$(events h1 --until 2020-01-01)" ]
	[ -z "$(events h1 --since 2099-01-01)" ]
	[ "$(events h1 --filter type=service --format json | jq -r 'select(.Action == "create") | .Actor.Attributes.name' | sort | xargs)" = "bad web" ]
	[ "$(events h1 --filter type=service --filter event=create --format '{{.Type}} {{.Actor.Attributes.name}} {{.Name}}' | sort | head -1)" = "service bad bad" ]
	run events h1 --filter type=nonsense
	[ "$status" -ne 0 ]
	[[ $output == *nonsense*service*task* ]]
	run events h1 --filter nonsense=1
	[ "$status" -eq 2 ]
	run events h1 --format '{{.NoSuch}}'
	[ "$status" -ne 0 ]
	[[ $output == *NoSuch* ]]
	run events h1 --since yesterday-ish
	[ "$status" -eq 2 ]
}

@test "no secret is ever told" {
	local token
	token=$(ctl h1 join-token -q worker)
	ctl h1 join-token create --role worker --uses 3
	! events h1 --format json | grep -qF "${token##*-}"
}

@test "all managers tell the same" {
	local h
	same() { [ "$(events h1 --until "$1" --format '{{.Revision}} {{.Type}} {{.Action}} {{.ID}}')" = "$(events "$2" --until "$1" --format '{{.Revision}} {{.Type}} {{.Action}} {{.ID}}')" ]; }
	local now; now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
	for h in h2 h3; do wait_for 10 same "$now" "$h"; done
}

@test "a manager that is started again knows what was before" {
	local before
	before=$(events h3 --filter type=service --format '{{.Revision}} {{.Action}} {{.ID}} {{.At}}')
	[ -n "$before" ]
	bed kill h3 manager
	again() { [ "$(events h3 --filter type=service --format '{{.Revision}} {{.Action}} {{.ID}} {{.At}}')" = "$before" ]; }
	wait_for 30 again
}

@test "-f goes on, and goes over to another manager when its own is lost" {
	local out=$SKEIN_TESTBED/follow leader other f
	told() { grep -q -- "$1" "$out"; }
	bed run h1 bash -c 'exec clusterctl events -f --since 1s --filter type=service' </dev/null >"$out" 2>&1 &
	local pid=$!
	ctl h1 service create --detach --name one --replicas 0 demo:1
	wait_for 10 told name=one
	kill "$pid"
	wait "$pid" || :
	# By addresses: two managers are named, the first is lost.
	local id=/var/lib/skein/identity
	bed run h1 bash -c "exec clusterctl -H 10.77.0.2:2377,10.77.0.3:2377 --tls-ca $id/root.crt --tls-cert $id/node.crt --tls-key $id/node.key events -f --filter type=service" </dev/null >"$out" 2>&1 &
	pid=$!
	wait_for 10 told name=one
	bed kill h2 manager
	ctl h1 service create --detach --name two --replicas 0 demo:1
	wait_for 20 told name=two
	[ "$(grep -c name=one "$out")" = 1 ]
	kill "$pid"
	wait "$pid" || :
	# A follower with an end.
	run timeout 20 "$ROOT/tests/e2e/testbed" ctl h1 events -f --until "$(date -u -d '+2 sec' +%Y-%m-%dT%H:%M:%SZ)" --filter service=two
	[ "$status" -eq 0 ]
	[[ $output == *name=two* ]]
}

@test "a node that goes down, is drained and comes back" {
	ctl h1 node update --availability drain h3
	wait_for 10 has h1 'availability.new=drain.*name=h3' --filter type=node
	bed unplug h3
	wait_for 20 has h1 'name=h3.*state.new=down' --filter node=h3
	bed plug h3
	wait_for 30 has h1 'name=h3.*state.new=ready, state.old=down' --filter node=h3
}
