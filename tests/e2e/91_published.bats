#!/usr/bin/env bats
# Published ports, seen from a host outside the cluster (h4), from the nodes and from containers. 1 manager + 2 workers.
load common
load net

setup_file() {
	export BATS_TEST_TIMEOUT=$((120 * ${SKEIN_SLOW:-1}))
	cluster_up 1 2
	bed host h4
	underlay_v6 h1 h2 h3 h4
	net_image h1
	for h in h1 h2 h3; do foreign_tables $h; foreign_rules $h >"$BATS_FILE_TMPDIR/foreign.$h"; done
	ctl h1 service create -q --name web --replicas 3 --constraint node.hostname!=h1 -p 8080:80 -p 5000:5000/udp echo:1
}

# What an operator or another program may have: chains of its own at the same hooks, drops and accepts, counters aside.
foreign_tables() {
	bed run "$1" nft -f - <<-'EOT'
		table inet corporate {
			set admins { type ipv4_addr; elements = { 10.77.0.4, 10.9.9.9 } }
			chain input { type filter hook input priority 0; policy accept; tcp dport 23 drop; ip saddr @admins accept; }
			chain forward { type filter hook forward priority 0; policy accept; ip daddr 203.0.113.0/24 drop; }
			chain nat { type nat hook prerouting priority -100; tcp dport 2222 redirect to :22; }
		}
		table ip other {
			chain post { type nat hook postrouting priority 100; ip saddr 203.0.113.0/24 masquerade; }
		}
	EOT
}
reaches() { answers_from h4 "$@"; }
refuses() { ! timeout 3 "$ROOT/tests/e2e/testbed" run h4 "$SKEIN_TESTBED/netecho" ask "$@" >/dev/null 2>&1; }
task_ids() { ctl h1 service ps "$1" --no-trunc -q --filter desired-state=running | sort; }
ports() { ctl h1 service ls --format '{{.Name}} {{.Ports}}' | awk -v n="$1" '$1 == n { sub(/^[^ ]+ /, ""); print }'; }

@test "TCP: every node's port leads to every task, and the task sees the client" {
	local n
	[ "$(ports web)" = "*:8080->80/tcp, *:5000->5000/udp" ]
	for n in 1 2 3; do
		wait_for 10 all_met_from h4 10.77.0.$n 8080 3
		ask_from h4 10.77.0.$n 8080 60 >"$BATS_TEST_TMPDIR/asked"
		is_even 3 <"$BATS_TEST_TMPDIR/asked"
		[ "$(peers <"$BATS_TEST_TMPDIR/asked")" = 10.77.0.4 ]
	done
}

@test "UDP: the same" {
	local n
	for n in 1 2 3; do
		ask_from h4 -u 10.77.0.$n 5000 60 >"$BATS_TEST_TMPDIR/asked"
		is_even 3 <"$BATS_TEST_TMPDIR/asked"
		[ "$(peers <"$BATS_TEST_TMPDIR/asked")" = 10.77.0.4 ]
	done
}

@test "IPv6: the same, to a service in a network with IPv6" {
	local n
	ctl h1 network create --ipv6 six
	ctl h1 service create -q --name six --replicas 3 --constraint node.hostname!=h1 --network six -p 8086:80 -p 5006:5000/udp echo:1
	for n in 1 2 3; do
		wait_for 10 all_met_from h4 fd77::$n 8086 3
		ask_from h4 fd77::$n 8086 60 >"$BATS_TEST_TMPDIR/asked"
		is_even 3 <"$BATS_TEST_TMPDIR/asked"
		[ "$(peers <"$BATS_TEST_TMPDIR/asked")" = fd77::4 ]
		ask_from h4 -u fd77::$n 5006 30 >"$BATS_TEST_TMPDIR/asked"
		[ "$(answerers <"$BATS_TEST_TMPDIR/asked")" = 3 ]
		[ "$(peers <"$BATS_TEST_TMPDIR/asked")" = fd77::4 ]
		[ "$(ask_from h4 10.77.0.$n 8086 | peers)" = 10.77.0.4 ]
	done
	ctl h1 service rm six
	wait_for 20 ctl h1 network rm six
}

@test "from a node itself: by its address, by 127.0.0.1, by another node" {
	local h to
	for h in h1 h2; do
		for to in 127.0.0.1 10.77.0.1 10.77.0.2 10.77.0.3; do
			[ "$(ask_from $h $to 8080 6 | answerers)" = 3 ]
		done
	done
}

@test "from a container: by its own node and by others" {
	local slot
	for slot in 1 2 3; do
		for to in 10.77.0.1 10.77.0.2 10.77.0.3; do
			[ "$(ask web $slot $to 8080 6 | answerers)" = 3 ]
		done
	done
}

@test "one port of a client, connected to every node at the same time" {
	local n held=()
	ctl h1 service create -q --name solo --constraint node.hostname==h3 -p 8181:80 -p 5151:5000/udp echo:1
	for n in 1 2 3; do
		wait_for 10 reaches 10.77.0.$n 8181
		[ "$(bed run h4 env NETECHO_PORT=40000 "$SKEIN_TESTBED/netecho" ask -u 10.77.0.$n 5151 | peers)" = 10.77.0.4 ]
	done
	for n in 1 2 3; do
		BACK=$(mktemp -d "$SKEIN_TESTBED/back.XXXXXX"); held+=("$BACK")
		( s=0; bed run h4 env NETECHO_PORT=40001 "$SKEIN_TESTBED/netecho" hold 10.77.0.$n 8181 "$BACK/stop" >"$BACK/out" 2>&1 || s=$?; echo $s >"$BACK/status" ) 3>&- &
		wait_for 10 grep -q connected "$BACK/out"
	done
	for n in "${held[@]}"; do background_end "$n"; done
	# the task itself, by every node, its own one as well
	for n in 1 2 3; do [ "$(ask solo 1 10.77.0.$n 8181 3 | wc -l)" = 3 ]; done
	ctl h1 service rm solo
}

@test "a long connection by a node that runs no task goes on while the service is scaled" {
	hold_start h4 "" 10.77.0.1 8080
	held=$BACK
	ctl h1 service scale -q web=4
	wait_for 10 all_met_from h4 10.77.0.1 8080 4
	ctl h1 service scale -q web=3
	[ ! -s "$held/status" ] || grep -q 'answered' "$held/out"
	# the connection went on unless its own task was the one that left
	if [ -s "$held/status" ]; then cat "$held/out"; else background_end "$held"; fi
}

@test "ports are added, changed and removed without touching the tasks" {
	local before after
	before=$(task_ids web)
	ctl h1 service update -q --publish-add 8081:81 web
	wait_for 10 all_met_from h4 10.77.0.1 8081 3
	ctl h1 service update -q --publish-rm 81 web
	wait_for 10 refuses 10.77.0.1 8081
	reaches 10.77.0.1 8080
	ctl h1 service update -q --publish-rm 80 --publish-add 8090:80 web
	wait_for 10 all_met_from h4 10.77.0.3 8090 3
	wait_for 10 refuses 10.77.0.1 8080
	ctl h1 service update -q --publish-rm 80 --publish-add 8080:80 web
	wait_for 10 all_met_from h4 10.77.0.3 8080 3
	after=$(task_ids web)
	[ "$before" = "$after" ]
}

@test "a port that is taken is refused with the name of who has it" {
	run ctl h1 service create -q --name rival -p 8080:80 echo:1
	[ "$status" -eq 1 ]
	[[ $output == *8080/tcp* && $output == *"'web'"* ]]
	# another protocol is another port
	ctl h1 service create -q -d --name rival -p 8080:5000/udp echo:1
	run ctl h1 service update -q --publish-add 8080:80 rival
	[ "$status" -eq 1 ]
	[[ $output == *"'web'"* ]]
	ctl h1 service rm rival
	ctl h1 service create -q --name rival --constraint node.hostname==h1 -p published=8080,target=80,mode=host echo:1 || status=$?
	ctl h1 service rm rival || :
}

@test "dynamic ports come from 30000 to 32767, stay, and are the service's own" {
	local one two
	ctl h1 service create -q --name dyn --replicas 2 -p 80 -p 81 echo:1
	one=$(port_of dyn 80) two=$(port_of dyn 81)
	[ "$one" -ge 30000 ] && [ "$one" -le 32767 ] && [ "$two" -ge 30000 ] && [ "$two" -le 32767 ] && [ "$one" != "$two" ]
	[[ $(ports dyn) == *:$one*80*/tcp* ]]
	wait_for 10 all_met_from h4 10.77.0.1 "$one" 2
	ctl h1 service update -q --update-monitor 0s --env-add A=1 dyn
	[ "$(port_of dyn 80)" = "$one" ]
	bed kill h1 manager
	wait_for 30 ctl h1 service ls
	[ "$(port_of dyn 80)" = "$one" ]
	ctl h1 service rm dyn
	wait_for 10 refuses 10.77.0.1 "$one"
}

@test "a range of ports" {
	ctl h1 service create -q --name range -p 9080-9081:80-81 echo:1
	[ "$(ports range)" = "*:9080-9081->80-81/tcp" ]
	wait_for 10 reaches 10.77.0.1 9080
	wait_for 10 reaches 10.77.0.2 9081
	ctl h1 service rm range
}

@test "mode=host: only where the task runs, the client's address, one per node" {
	local node other
	ctl h1 service create -q --name here --constraint node.hostname!=h1 --replicas 1 -p published=8070,target=80,mode=host -p published=5070,target=5000,protocol=udp,mode=host echo:1
	node=$(node_of here 1)
	wait_for 10 reaches "10.77.0.${node#h}" 8070
	[ "$(ask_from h4 "10.77.0.${node#h}" 8070 | peers)" = 10.77.0.4 ]
	[ "$(ask_from h4 -u "10.77.0.${node#h}" 5070 | peers)" = 10.77.0.4 ]
	refuses 10.77.0.1 8070
	ctl h1 service ps here --format '{{.Ports}}' | grep -q '\*:8070->80/tcp'
	# as many as nodes fit, the next one has a reason
	ctl h1 service scale -q -d here=3
	taken() { ctl h1 service explain here | grep -q 'host-mode port already in use'; }
	wait_for 20 taken
	wait_for 20 running_is h1 here 2
	for other in 2 3; do wait_for 10 reaches 10.77.0.$other 8070; done
	ctl h1 service rm here
	wait_for 10 refuses "10.77.0.${node#h}" 8070
}

@test "mode=host with an address: only by that address" {
	ctl h1 service create -q --name local --constraint node.hostname==h2 -p 127.0.0.1:8071:80 -p 10.77.0.2:8072:80 echo:1
	wait_for 10 answers_from h2 127.0.0.1 8071
	wait_for 10 reaches 10.77.0.2 8072
	refuses 10.77.0.2 8071
	not answers_from h2 127.0.0.1 8072
	ctl h1 service rm local
}

@test "the chain skein-user is the operator's: filters published traffic, and stays" {
	local text
	bed run h1 nft add rule inet skein skein-user ip saddr 10.77.0.4 meta l4proto tcp ct original proto-dst 8080 drop
	wait_for 10 refuses 10.77.0.1 8080
	reaches 10.77.0.2 8080
	bed run h2 nft add rule inet skein skein-user ip saddr 10.77.0.4 meta l4proto tcp ct original proto-dst 8080 drop
	wait_for 10 refuses 10.77.0.2 8080
	# what we do meanwhile leaves it as it is
	text=$(bed run h1 nft list chain inet skein skein-user)
	ctl h1 service create -q --name more -p 8099:80 echo:1
	wait_for 10 reaches 10.77.0.1 8099
	ctl h1 service rm more
	bed kill h1 agent
	bed start h1
	wait_for 20 nodes_ready h1 3
	[ "$(bed run h1 nft list chain inet skein skein-user)" = "$text" ]
	refuses 10.77.0.1 8080
	for h in h1 h2; do bed run $h nft flush chain inet skein skein-user; done
	wait_for 10 reaches 10.77.0.1 8080
}

@test "a host's own firewall: its drops hold, its tables are byte for byte what they were" {
	bed run h3 nft add rule inet corporate input tcp dport 8080 drop
	bed run h3 nft add chain inet corporate early '{ type filter hook prerouting priority -300; }'
	bed run h3 nft add rule inet corporate early ip saddr 10.77.0.4 tcp dport 8080 drop
	refuses 10.77.0.3 8080
	bed run h3 nft flush chain inet corporate early
	bed run h3 nft delete chain inet corporate early
	bed run h3 nft delete rule inet corporate input handle "$(bed run h3 nft -a list chain inet corporate input | sed -n 's/.*dport 8080 drop # handle //p')"
	wait_for 10 reaches 10.77.0.3 8080
	for h in h1 h2 h3; do foreign_rules $h | diff - "$BATS_FILE_TMPDIR/foreign.$h"; done
	wait_for 20 check_clean
}

@test "when the service goes its ports are closed everywhere and nothing of them stays" {
	ctl h1 service rm web
	for n in 1 2 3; do wait_for 10 refuses 10.77.0.$n 8080; done
	no_rules() { ! bed run "$1" nft list table inet skein | grep -q '8080'; }
	for h in h1 h2 h3; do wait_for 10 no_rules $h; done
	for h in h1 h2 h3; do foreign_rules $h | diff - "$BATS_FILE_TMPDIR/foreign.$h"; done
}
