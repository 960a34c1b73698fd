#!/usr/bin/env bats
# Networks that Debian's kernel has and others may lack: IPVS, ipvlan, vlan, ESP. 1 manager + 1 worker; h4 is a host outside.
#   tests/vm/run e2e ../vm/kernel_networks
load ../e2e/common
load ../e2e/net

setup_file() {
	export BATS_TEST_TIMEOUT=$((120 * ${SKEIN_SLOW:-1}))
	cluster_up 1 1
	bed host h4
	net_image h1
	background h4 "$SKEIN_TESTBED/netecho" serve 80
	wait_for 10 answers_from h1 10.77.0.4 80
}

teardown() {
	if [ -z "${BATS_TEST_COMPLETED:-}" ]; then save_logs; clear_cluster; fi
}

feature() { ctl h1 node inspect "$1" | jq -r --arg k "$2" '.[0].description.features | if type == "array" then (.[] | select(.key == $k) | .value) else .[$k] end'; }
# Two tasks, one on each host.
pair() { ctl h1 service create -q --name "$1" --replicas 2 --replicas-max-per-node 1 "${@:2}" echo:1; }

@test "IPVS balances, and ipvsadm lists just the tasks that run" {
	[ "$(feature h1 network.balancer)" = ipvs ]
	ctl h1 network create front
	ctl h1 service create -q --name web --replicas 5 --network front echo:1
	pair client --network front
	for h in h1 h2; do
		wait_for 10 all_met client "$(slot_on client $h)" "$(vip front web)" 80 5
		ask client "$(slot_on client $h)" "$(vip front web)" 80 50 | is_even 5
	done
	listed() { in_overlay "$1" front ipvsadm -Sn | sed -n 's/.*-r \([0-9.]*\):0 -g -w [1-9].*/\1/p' | sort; }
	wanted() { ctl h1 network inspect front | jq -r '.[0].uses[] | select(.kind == "task" and (.name | startswith("web."))) | .ipv4 | split("/")[0]' | sort; }
	# web's, and client's, which is balanced as well
	as_wanted() { [ "$(comm -13 <(listed "$1") <(wanted) | wc -l)" = 0 ] && [ "$(listed "$1" | wc -l)" = $(($2 + 2)) ]; }
	for h in h1 h2; do wait_for 10 as_wanted $h 5; done
	ctl h1 service scale -q web=2
	for h in h1 h2; do
		wait_for 20 as_wanted $h 2
		wait_for 10 all_met client "$(slot_on client $h)" "$(vip front web)" 80 2
	done
	wait_for 20 check_clean front
	ctl h1 service rm web client
	wait_for 20 ctl h1 network rm front
}

# Samples of skein_lb_* of a host's network, against what ipvsadm says: services, endpoints, connections by state.
balanced_said() {
	bed run "$1" curl -sS --fail --max-time 10 http://127.0.0.1:9640/metrics | awk -v n="network=\"$2\"" 'index($0, n) && /^skein_lb_/ {
		name = $1; sub(/^skein_lb_/, "", name); sub(/\{.*/, "", name); if (match($1, /state="[a-z]*/)) name = substr($1, RSTART + 7, RLENGTH - 7)
		print name, $2 }' | sort
}
balanced_is() {
	in_overlay "$1" "$2" ipvsadm -Ln | awk '/^(TCP|UDP|FWM)/ { s++ } $1 == "->" && $2 !~ /^Remote/ { e++; a += $5; i += $6 }
		END { print "active", a + 0; print "endpoints", e + 0; print "inactive", i + 0; print "services", s + 0 }'
}
balanced_alike() { local said; said=$(balanced_said "$1" "$2") && [ "$said" = "$(balanced_is "$1" "$2")" ] && [[ $said =~ $3 ]]; }

@test "what IPVS balances is what the agents' metrics say: services, endpoints, connections" {
	local h
	ctl h1 network create front
	ctl h1 service create -q --name web --replicas 3 --network front echo:1
	pair client --network front
	for h in h1 h2; do wait_for 10 all_met client "$(slot_on client $h)" "$(vip front web)" 80 3; done
	for h in h1 h2; do wait_for 20 balanced_alike $h front 'endpoints [1-9].*inactive [1-9].*services [1-9]'; done
	hold_start h1 "$(pid_of client "$(slot_on client h1)")" "$(vip front web)" 80
	wait_for 20 balanced_alike h1 front 'active 1'
	background_end "$BACK"
	wait_for 20 balanced_alike h1 front 'active 0'
	ctl h1 service scale -q web=1
	for h in h1 h2; do wait_for 20 balanced_alike $h front 'services [1-9]'; done
	ctl h1 service rm web client
	wait_for 20 ctl h1 network rm front
	gone() { [ -z "$(balanced_said h1 front)" ]; }
	wait_for 20 gone
}

@test "ipvlan: tasks share their host's MAC and stand in its network" {
	local slot host
	ctl h1 network create -d ipvlan --subnet 10.77.0.0/24 --ip-range 10.77.0.128/25 --gateway 10.77.0.4 --opt parent=eth0 lan
	pair web --network lan --endpoint-mode dnsrr
	for slot in 1 2; do
		host=$(node_of web $slot)
		[ "$(ask_from h4 "$(address lan web.$slot)" 80 | peers)" = 10.77.0.4 ]
		[ "$(bed run h4 ip -j neigh show "$(address lan web.$slot)" | jq -r '.[0].lladdr')" = "$(bed run "$host" ip -j link show eth0 | jq -r '.[0].address')" ]
	done
	[ "$(ask web 1 "$(address lan web.2)" 80 | peers)" = "$(address lan web.1)" ]
	wait_for 20 check_clean lan
	ctl h1 service rm web
	wait_for 20 ctl h1 network rm lan
}

@test "vlan: tasks are met under their tag only" {
	local slot
	bed run h4 ip link add link eth0 name eth0.7 type vlan id 7
	bed run h4 ip link set eth0.7 up
	bed run h4 ip addr add 10.88.0.4/24 dev eth0.7
	ctl h1 network create -d vlan --subnet 10.88.0.0/24 --ip-range 10.88.0.128/25 --gateway 10.88.0.4 --opt parent=eth0 --opt id=7 tagged
	pair web --network tagged --endpoint-mode dnsrr
	for slot in 1 2; do [ "$(ask_from h4 "$(address tagged web.$slot)" 80 | peers)" = 10.88.0.4 ]; done
	[ "$(ask web 1 "$(address tagged web.2)" 80 | peers)" = "$(address tagged web.1)" ]
	wait_for 20 check_clean tagged
	bed run h4 ip link del eth0.7
	bed run h4 ip addr add 10.88.0.4/24 dev eth0
	run bed run h4 timeout 5 "$SKEIN_TESTBED/netecho" ask "$(address tagged web.1)" 80
	[ "$status" -ne 0 ]
	bed run h4 ip addr del 10.88.0.4/24 dev eth0
	ctl h1 service rm web
	wait_for 20 ctl h1 network rm tagged
}

# What went over the wire between the hosts while tasks of a network spoke: into $CAP.
capture() {
	local net=$1 pid
	CAP=$BATS_TEST_TMPDIR/$net.cap
	ctl h1 network create "${@:2}" "$net"
	pair web --network "$net"
	wait_for 20 answers web 1 "$(address "$net" web.2)" 80
	bed run h1 tcpdump -nn -U -Z root -i eth0 -s 0 -w "$CAP" 2>"$CAP.err" 3>&- &
	pid=$!
	wait_for 20 grep -q listening "$CAP.err"
	ask web 1 "$(address "$net" web.2)" 80 20 >/dev/null
	ask web 2 "$(address "$net" web.1)" 80 20 >/dev/null
	bed run h1 pkill -x tcpdump
	wait $pid || :
	wait_for 20 check_clean "$net"
	ctl h1 service rm web
	wait_for 20 ctl h1 network rm "$net"
}
spoken() { tcpdump -nn -A -r "$1" 2>/dev/null | grep -c question || :; }
packets() { tcpdump -nn -r "$1" "$2" 2>/dev/null | wc -l; }

@test "an encrypted overlay: nothing is in the clear on the wire, which shows everything of a plain one" {
	capture plain
	[ "$(spoken "$CAP")" -ge 40 ]
	[ "$(packets "$CAP" 'udp port 4789')" -ge 80 ]
	capture secret --opt encrypted
	[ "$(spoken "$CAP")" = 0 ]
	[ "$(packets "$CAP" 'udp port 4789')" = 0 ]
	[ "$(packets "$CAP" esp)" -ge 80 ]
}
