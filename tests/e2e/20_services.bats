#!/usr/bin/env bats
# Services on three hosts: create, scale, placement, resources, restart policies, logs.
load common

setup_file() {
	cluster_up 1 2
	load_image h1 demo:1 --cmd 'echo "up $HOSTNAME"; trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'
}

@test "create --replicas 3 spreads over the hosts and converges" {
	run ctl h1 service create --name web --replicas 3 demo:1
	[ "$status" -eq 0 ]
	[ "$(running h1 web)" = 3 ]
	[ "$(nodes_of h1 web | uniq | wc -l)" = 3 ]
	[[ "$(ctl h1 service ls --format '{{.Name}} {{.Replicas}}')" == "web 3/3" ]]
}

@test "nodes without the image got it from a peer" {
	for h in h2 h3; do [ "$(ctl "$h" image ls -q | wc -l)" = 1 ]; done
}

@test "a name is taken once" {
	run ctl h1 service create --name web demo:1
	[ "$status" -eq 1 ]
	[[ $output == *web*"in use"* ]]
}

@test "scale 3 to 30 to 3" {
	run ctl h1 service scale web=30
	[ "$status" -eq 0 ]
	[ "$(running h1 web)" = 30 ]
	run ctl h1 service scale web=3
	[ "$status" -eq 0 ]
	[ "$(running h1 web)" = 3 ]
	only_three() { [ "$(for h in h1 h2 h3; do bed run "$h" sh -c 'cat /run/skein/exec/*/pid 2>/dev/null | wc -w; true'; done | wc -l)" = 3 ]; }
	[ "$(ctl h1 service ps web --filter desired-state=running -q | wc -l)" = 3 ]
}

@test "logs of all tasks come from all hosts" {
	all_logged() { [ "$(ctl h1 service logs web | grep -c ' up ')" -ge 3 ]; }
	wait_for 10 all_logged
	# A container that was scaled away has its log until it is gone.
	three_left() { [ "$(ctl h1 service logs --tail 1 web | wc -l)" = 3 ]; }
	wait_for 30 three_left
	run ctl h1 service logs --tail 1 -t web
	[ "$status" -eq 0 ]
	[ "${#lines[@]}" -eq 3 ]
	[[ ${lines[0]} == *T*Z*web.*"| up "* ]]
}

@test "logs -f shows what comes later" {
	ctl h1 service create --name ticker --detach demo:1 sh -c 'i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.2; done'
	wait_for 20 running_is h1 ticker 1
	run timeout 20 sh -c "'$ROOT/tests/e2e/testbed' ctl h1 service logs -f --raw ticker | head -n 10"
	[[ $output == *"tick 10"* ]]
	ctl h1 service rm ticker
}

@test "constraints and what explains them" {
	ctl h1 node update --label-add rack=a h2
	ctl h1 service create --name pinned --replicas 2 --constraint node.labels.rack==a demo:1
	[ "$(nodes_of h1 pinned | uniq)" = h2 ]
	run ctl h1 service create --name nowhere --detach --constraint node.labels.rack==z demo:1
	[ "$status" -eq 0 ]
	pending() { ctl h1 service ps nowhere --no-trunc | grep -q 'no suitable node (scheduling constraints not satisfied on 3 nodes)'; }
	wait_for 10 pending
	run ctl h1 service explain nowhere
	[ "$status" -eq 0 ]
	[[ $output == *rack* ]]
	ctl h1 service rm pinned nowhere
}

@test "spread preferences even out over a label" {
	ctl h1 node update --label-add zone=x h1
	ctl h1 node update --label-add zone=x h2
	ctl h1 node update --label-add zone=y h3
	ctl h1 service create --name spread --replicas 4 --placement-pref spread=node.labels.zone demo:1
	[ "$(nodes_of h1 spread | grep -c h3)" = 2 ]
	ctl h1 service rm spread
}

@test "reservations that do not fit stay pending with the reason, and are placed when a node joins" {
	local mem
	mem=$(ctl h1 node inspect h1 | bed run h1 jq -r '.[0].description.capacity.mem_bytes')
	ctl h1 service create --name big --replicas 4 --reserve-memory $((mem * 6 / 10)) --detach demo:1
	some_pending() { ctl h1 service ps big --no-trunc | grep -q 'insufficient memory on 3 nodes'; }
	wait_for 20 some_pending
	wait_for 20 running_is h1 big 3
	run ctl h1 service explain big
	[[ $output == *"insufficient memory"*free* ]]
	bed boot h4
	ctl h4 join --token "$(ctl h1 join-token -q worker)" 10.77.0.1:2377
	wait_for 20 running_is h1 big 4
	ctl h1 service rm big
	ctl h4 leave
	wait_for 20 node_is h1 h4 Down
	ctl h1 node rm h4
}

@test "a global service runs once on every node" {
	ctl h1 service create --name each --mode global demo:1
	[ "$(nodes_of h1 each | tr '\n' ' ')" = "h1 h2 h3 " ]
	ctl h1 service rm each
}

@test "drain moves tasks away, active takes new ones again" {
	ctl h1 node update --availability drain h3
	away() { ! nodes_of h1 web | grep -q h3 && running_is h1 web 3; }
	wait_for 30 away
	ctl h1 node update --availability active h3
	ctl h1 service scale web=6
	[ "$(nodes_of h1 web | grep -c h3)" -ge 1 ]
	ctl h1 service scale web=3
}

@test "restart policies: any, on-failure, none, max attempts" {
	ctl h1 service create --name once --restart-condition none demo:1 sh -c 'exit 0'
	completed() { ctl h1 service ps once | grep -q Complete; }
	wait_for 10 completed
	run ctl h1 service create --name thrice --restart-delay 0s --restart-max-attempts 3 --detach demo:1 sh -c 'exit 7'
	[ "$status" -eq 0 ]
	failed_four() { [ "$(ctl h1 service ps thrice --format '{{.CurrentState}}' | grep -c '^Failed')" = 4 ]; }
	wait_for 20 failed_four
	ctl h1 service ps --no-trunc thrice | grep -q 'non-zero exit (7)'
	ctl h1 service create --name back --restart-delay 0s demo:1
	local first
	first=$(task_of h1 back 1)
	local host
	host=$(nodes_of h1 back)
	bed run "$host" sh -c 'kill -9 $(cat /run/skein/exec/'"$first"'/pid /run/skein/exec/'"$first"'.pid 2>/dev/null | head -1)'
	replaced() { [ "$(task_of h1 back 1)" != "$first" ] && running_is h1 back 1; }
	wait_for 20 replaced
	ctl h1 service rm once thrice back
}

@test "a rolling update replaces every task, rollback brings the old back" {
	ctl h1 service update --env COLOR=blue --update-monitor 0s web
	[ "$(running h1 web)" = 3 ]
	env_of() { ctl h1 service inspect web | bed run h1 jq -c '.[0].spec.task.container.env'; }
	[[ $(env_of) == *COLOR=blue* ]]
	ctl h1 service rollback web
	[[ $(env_of) != *COLOR=blue* ]]
	wait_for 30 running_is h1 web 3
}

@test "what a container gets: env, hostname, user, workdir, mounts, limits, no new privileges" {
	bed run h1 mkdir -p /var/lib/skein/data
	ctl h1 service create --name probe --restart-condition none --constraint node.hostname==h1 \
		--env A=1 --hostname 'box-{{.Task.Slot}}' --user 1000:1000 --workdir /www --read-only \
		--mount type=tmpfs,target=/scratch --mount type=volume,source=vol,target=/vol \
		--mount type=bind,source=/var/lib/skein/data,target=/data,readonly \
		--limit-memory 64m --limit-pids 50 --ulimit nofile=512:1024 --cap-drop ALL --network none \
		demo:1 sh -c 'env; hostname; id; pwd; mount; ulimit -n; grep -E "NoNewPrivs|CapEff|Seccomp:" /proc/self/status; touch /x || echo read-only; ls /sys/class/net'
	wait_for 20 sh -c "'$ROOT/tests/e2e/testbed' ctl h1 service ps probe | grep -q Complete"
	run ctl h1 service logs --raw probe
	[[ $output == *A=1* ]]
	[[ $output == *box-1* ]]
	[[ $output == *"uid=1000"*"gid=1000"* ]]
	[[ $output == */www* ]]
	[[ $output == *"/scratch"*tmpfs* || $output == *tmpfs*"/scratch"* ]]
	[[ $output == *512* ]]
	[[ $output == *"NoNewPrivs:	1"* ]]
	[[ $output == *"CapEff:	0000000000000000"* ]]
	[[ $output == *"Seccomp:	2"* ]]
	[[ $output == *read-only* ]]
	[[ $output != *eth0* ]]
	ctl h1 service rm probe
}

@test "rm removes tasks and their containers everywhere" {
	ctl h1 service rm web
	gone() { [ -z "$(for h in h1 h2 h3; do bed run "$h" ls /var/lib/skein/tasks; done)" ]; }
	wait_for 30 gone
	run ctl h1 service ps web
	[ "$status" -eq 1 ]
	[[ $output == *"no such service: web"* ]]
}
