#!/usr/bin/env bats
# What is replaced under running containers: certificates, the leader, the agent's program.
load common

setup_file() {
	cluster_up 3 1
	load_image h1 demo:1 --cmd 'echo "up $HOSTNAME"; trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'
	ctl h1 service create --name web --replicas 10 demo:1
	ctl h1 service create --name ticker --constraint node.hostname==h4 demo:1 sh -c 'i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.1; done'
}

leader() { ctl "$1" node ls --format '{{.Hostname}} {{.ManagerStatus}}' | awk '$2 == "Leader" { print $1 }'; }
file_serial() { bed run "$1" openssl x509 -in /var/lib/skein/identity/node.crt -noout -serial; }
# The certificate that a port of a host shows to a manager on h2.
shown_serial() {
	bed run h2 sh -c "openssl s_client -connect $1 -alpn h2,http/1.1 -cert /var/lib/skein/identity/node.crt \
		-key /var/lib/skein/identity/node.key -CAfile /var/lib/skein/identity/root.crt </dev/null 2>/dev/null | openssl x509 -noout -serial"
}
shows() { [ "$(shown_serial "$1")" = "$2" ]; }
renewed() { [ "$(file_serial "$1")" != "$2" ]; }
tasks() { ctl "$1" service ps web --no-trunc -q | sort; }
pids() { for h in h1 h2 h3 h4; do bed run "$h" sh -c 'cd /proc && for p in [0-9]*; do case "$(tr "\0" " " 2>/dev/null <$p/cmdline)" in "sleep 3600 "|"sleep 3600") echo $p;; esac; done' | sed "s/^/$h /"; done | sort; }
sessions() { for h in "$@"; do grep -c event=session_up "$SKEIN_TESTBED/$h/agent.log"; done; }
hup() { bed run "$1" sh -c 'kill -HUP "$(cut -d" " -f1 /run/skein/agent.pid)"'; }
last_tick() { tail -n 1 "$1" | grep -o '[0-9]*$'; }
ticks_past() { [ "$(last_tick "$1")" -gt "$2" ]; }
# No tick is missing, none comes twice.
gapless() { grep -o 'tick [0-9]*$' "$1" | awk '{ if (NR > 1 && $2 != last + 1) { print "after tick", last, "came", $2; exit 1 } last = $2 }' >&2; }

@test "a renewed certificate disturbs nobody: sessions, a followed log, containers" {
	local h before_tasks before_pids before_sessions old new follower log=$BATS_TEST_TMPDIR/follow
	before_tasks=$(tasks h1)
	before_pids=$(pids)
	before_sessions=$(sessions h1 h2 h3 h4)
	ctl h1 service logs -f --raw ticker >"$log" 2>&1 &
	follower=$!
	followed() { [ -s "$log" ]; }
	wait_for 10 followed
	for h in h1 h2 h3 h4; do
		old=$(file_serial "$h")
		hup "$h"
		wait_for 20 renewed "$h" "$old"
	done
	for h in h1 h2 h3; do
		new=$(file_serial "$h")
		# To new connections, by the manager, by the gate of its etcd and by etcd to its peers.
		wait_for 20 shows "10.77.0.${h#h}:2377" "$new"
		wait_for 20 shows "10.77.0.${h#h}:2379" "$new"
		wait_for 20 shows "10.77.0.${h#h}:2380" "$new"
	done
	wait_for 20 shows 10.77.0.4:7946 "$(file_serial h4)"
	wait_for 20 ticks_past "$log" $(($(last_tick "$log") + 5))
	kill -0 "$follower"
	kill "$follower"
	gapless "$log"
	[ "$(sessions h1 h2 h3 h4)" = "$before_sessions" ]
	[ "$(tasks h1)" = "$before_tasks" ]
	[ "$(pids)" = "$before_pids" ]
	ctl h3 node ls
}

@test "the cluster knows the new certificate's end" {
	same_end() {
		local host end
		host=$(bed run h4 openssl x509 -in /var/lib/skein/identity/node.crt -noout -enddate | cut -d= -f2)
		end=$(ctl h1 node inspect h4 | jq -r '.[0].cert_expires_at')
		[ "$(date -d "$host" +%s)" = "$(date -d "$end" +%s 2>/dev/null || echo $((end / 1000000000)))" ]
	}
	wait_for 10 same_end
}

@test "a frozen leader is followed by another; thawed, it leads no more and writes nothing" {
	local old other tasks_then count
	old=$(leader h1)
	other=h1; [ "$old" = h1 ] && other=h2
	bed run "$old" sh -c 'kill -STOP "$(cut -d" " -f1 /run/skein/manager.pid)" $(pgrep -x etcd)'
	other_leads() { local l; l=$(leader "$other") && [ -n "$l" ] && [ "$l" != "$old" ]; }
	wait_for 30 other_leads
	# It believes to lead still, and would place what it sees next: first the others do.
	ctl "$other" service scale --detach web=14
	placed() { [ "$(ctl "$other" service ps web --filter desired-state=running -q | wc -l)" = 14 ]; }
	wait_for 30 placed
	bed run "$old" sh -c 'kill -CONT $(pgrep -x etcd) "$(cut -d" " -f1 /run/skein/manager.pid)"'
	ctl "$other" service scale --detach web=18
	wait_for 30 running_is "$other" web 18
	wait_for 30 ctl "$old" service ls
	one_leader() {
		local h
		for h in h1 h2 h3; do [ "$(leader "$h")" = "$(leader "$other")" ] && [ "$(ctl "$h" node ls --format '{{.ManagerStatus}}' | grep -c Leader)" = 1 ] || return 1; done
	}
	wait_for 30 one_leader
	[ "$(leader "$old")" != "$old" ]
	grep -q event=deposed "$SKEIN_TESTBED/$old/agent.log"
	# Slots 1..18, each once.
	wait_for 30 nodes_ready "$other" 4
	wait_for 30 running_is "$other" web 18
	[ "$(ctl "$other" service ps web --filter desired-state=running --format '{{.Name}}' | sort -u | wc -l)" = 18 ]
	eighteen() { [ "$(pids | wc -l)" = 18 ]; }
	wait_for 30 eighteen
	ctl "$other" service scale web=10
}

@test "a new agent program takes over running containers; a followed log goes on" {
	local before_tasks before_pids old follower log=$BATS_TEST_TMPDIR/follow
	local host=h4
	ten() { [ "$(pids | wc -l)" = 10 ]; }
	wait_for 30 ten
	ctl h1 service update --detach --constraint-add node.hostname==h4 web
	all_there() { running_is h1 web 10 && [ "$(nodes_of h1 web | uniq)" = h4 ] && ten; }
	wait_for 60 all_there
	before_tasks=$(tasks h1)
	before_pids=$(pids)
	ctl h1 service logs -f --raw --tail 1 ticker >"$log" 2>&1 &
	follower=$!
	followed() { [ -s "$log" ]; }
	wait_for 10 followed
	# As a package does it: another file under the same name.
	mkdir -p "$SKEIN_TESTBED/new"
	cp "$SKEIN_BIN/cluster-agent" "$SKEIN_BIN/cluster-manager" "$SKEIN_BIN/clusterctl" "$SKEIN_TESTBED/new/"
	old=$(bed pid h4 agent)
	bed run h4 kill -TERM "$old"
	stopped() { ! bed run h4 kill -0 "$old"; }
	wait_for 20 stopped
	[ "$(pids)" = "$before_pids" ]
	SKEIN_BIN=$SKEIN_TESTBED/new bed start h4
	[ "$(bed run h4 readlink "/proc/$(bed pid h4 agent)/exe")" = "$SKEIN_TESTBED/new/cluster-agent" ]
	wait_for 20 nodes_ready h1 4
	wait_for 30 ticks_past "$log" $(($(last_tick "$log") + 5))
	kill -0 "$follower"
	kill "$follower"
	gapless "$log"
	wait_for 20 running_is h1 web 10
	[ "$(tasks h1)" = "$before_tasks" ]
	[ "$(pids)" = "$before_pids" ]
}
