#!/usr/bin/env bats
# Networks of every kind that this kernel has, looked at from inside containers, from hosts and in the kernel. 1 manager + 2 workers;
# h4 is a host outside the cluster. What only Debian's kernel has (IPVS, ipvlan, vlan, ESP) is in tests/vm/kernel_networks.bats.
load common
load net

setup_file() {
	export BATS_TEST_TIMEOUT=$((120 * ${SKEIN_SLOW:-1}))
	cluster_up 1 2
	bed host h4
	underlay_v6 h1 h2 h3 h4
	net_image h1
	background h4 "$SKEIN_TESTBED/netecho" serve 80
	wait_for 10 answers_from h1 10.77.0.4 80
}

teardown() {
	if [ -z "${BATS_TEST_COMPLETED:-}" ]; then save_logs; clear_cluster; fi
}

vlan_works() { bed run h4 ip link add link eth0 name probe.7 type vlan id 7 && bed run h4 ip link del probe.7; }
# Three tasks, one on each node, that only ask.
clients() { ctl h1 service create -q --name "$1" --mode global --network "$2" echo:1; }
explains() { ctl h1 service explain "$1" | grep -qE "$2"; }
listens() { [ -n "$(in_net "$1" "$2" ss -Hltn "sport = :$3")" ]; }
is_gone() { ! ctl h1 network inspect "$1"; }

@test "host, none, bridge and ingress are there from the start" {
	[ "$(ctl h1 network ls --format '{{.Name}} {{.Driver}} {{.Scope}}' | sort | tr '\n' ,)" = "bridge bridge local,host host local,ingress overlay cluster,none none local," ]
	run ctl h1 network rm host none bridge ingress
	[ "$status" -eq 1 ]
	[ "$(ctl h1 network ls -q | wc -l)" = 4 ]
}

@test "without --network: an address of its own, a way out, no way to others" {
	ctl h1 service create -q --name alone --replicas 2 --constraint node.hostname==h2 echo:1
	[ "$(in_net alone 1 ip -j -4 addr show dev eth0 | jq '.[0].addr_info | length')" = 1 ]
	# out through the node's address
	[ "$(ask alone 1 10.77.0.4 80 | peers)" = 10.77.0.2 ]
	other=$(in_net alone 2 ip -j -4 addr show dev eth0 | jq -r '.[0].addr_info[0].local')
	run in_net alone 1 timeout 2 "$SKEIN_TESTBED/netecho" ask "$other" 80
	[ "$status" -ne 0 ]
	ctl h1 service rm alone
}

@test "overlay: six tasks on three nodes behind one address, evenly, each sees the client" {
	local node slot asked own
	ctl h1 network create --label who=me front
	ctl h1 service create -q --name web --replicas 6 --network front echo:1
	clients client front
	[ "$(nodes_of h1 web | sort | uniq -c | awk '{ print $1 }' | sort -u)" = 2 ]
	for node in h1 h2 h3; do
		slot=$(tasks client | awk -v n=$node '$2 == n { print $1 }')
		wait_for 10 all_met client "$slot" "$(vip front web)" 80 6
		asked=$(ask client "$slot" "$(vip front web)" 80 60)
		is_even 6 <<<"$asked"
		own=$(address front "client.$slot")
		[ "$(peers <<<"$asked")" = "$own" ]
		asked=$(ask client "$slot" -u "$(vip front web)" 5000 60)
		is_even 6 <<<"$asked"
		[ "$(peers <<<"$asked")" = "$own" ]
	done
}

@test "overlay: every task reaches every task by its address, also its own service" {
	local slot other
	for slot in 1 2 3 4 5 6; do
		for other in 1 2 3 4 5 6; do
			[ "$(ask web $slot "$(address front web.$other)" 80 | awk '{ print $1 }')" = "$(tasks web | awk -v s=$other '$1 == s { print substr($3, 1, 12) }')" ]
		done
		[ "$(ask web $slot "$(vip front web)" 80 30 | answerers)" = 6 ]
	done
}

@test "overlay: what the kernel holds is what inspect says; nothing is learned or flooded" {
	local node use id
	ctl h1 network inspect --pretty front >&2
	id=$(ctl h1 network inspect --format '{{.id}}' front)
	ctl h1 network inspect front | jq -c '.[0].uses[] | select(.kind == "task")' >"$BATS_TEST_TMPDIR/uses"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/uses")" = 9 ]
	for node in h1 h2 h3; do
		in_overlay $node front bridge -j fdb show dev vx0 | jq -r '.[] | select(.dst) | "\(.mac) \(.dst)"' | sort >"$BATS_TEST_TMPDIR/fdb"
		jq -r --arg n $node 'select(.node_name != $n) | "\(.mac) 10.77.0.\(.node_name[1:])"' "$BATS_TEST_TMPDIR/uses" | sort >"$BATS_TEST_TMPDIR/want"
		diff "$BATS_TEST_TMPDIR/fdb" "$BATS_TEST_TMPDIR/want"
		[ "$(grep -c ^00:00:00:00:00:00 "$BATS_TEST_TMPDIR/fdb")" = 0 ]
		[ "$(in_overlay $node front ip -j -d link show vx0 | jq -r '.[0].linkinfo.info_data | "\(.id) \(.learning) \(.port)"')" = "$(ctl h1 network inspect --format '{{.vni}}' front) false 4789" ]
	done
	[ "$(in_net web 1 ip -j link show eth0 | jq '.[0].mtu')" = 1450 ]
	[ "$(in_net web 1 ip -j link show eth0 | jq -r '.[0].address')" = "$(mac front web.1)" ]
	# VIP + 9 tasks + gateway of the VIPs of two services
	[ "$(ctl h1 network inspect front | jq -r '.[0].free[]')" -le 243 ]
	[ "$(ctl h1 network ls --filter label=who=me --format '{{.Name}}')" = front ]
	wait_for 20 check_clean front
}

@test "overlay: only VXLAN between the nodes, and no broadcast of it" {
	local node pid
	bed run h1 timeout 60 tcpdump -nn -U -Z root -i eth0 -c 100 -w "$BATS_TEST_TMPDIR/cap" udp port 4789 2>"$BATS_TEST_TMPDIR/dump" 3>&- &
	pid=$!
	wait_for 5 grep -q listening "$BATS_TEST_TMPDIR/dump"
	ask client "$(slot_on client h1)" "$(vip front web)" 80 60 >/dev/null
	wait $pid
	[ "$(tcpdump -nn -r "$BATS_TEST_TMPDIR/cap" 2>/dev/null | grep -c VXLAN)" = 100 ]
	# who has nothing of the network gets nothing
	[ "$(tcpdump -nn -r "$BATS_TEST_TMPDIR/cap" 2>/dev/null | grep -cE '> (2[2-5][0-9]\.[0-9.]+|10\.77\.0\.4)\.4789')" = 0 ]
}

@test "overlay: a network in use is not removed, and the refusal names who uses it" {
	run ctl h1 network rm front
	[ "$status" -eq 1 ]
	[[ $output == *front* && $output == *web* && $output == *client* ]]
	ctl h1 service rm web client
	wait_for 20 ctl h1 network rm front
	wait_for 20 is_gone front
	none_left() { [ -z "$(for h in h1 h2 h3; do network_namespaces $h; done)" ]; }
	wait_for 20 none_left
}

@test "overlay with both families: VIPs, tasks and clients of each" {
	local slot six
	ctl h1 network create --ipv6 both
	ctl h1 service create -q --name web --replicas 6 --network both echo:1
	clients client both
	for node in h1 h2; do
		slot=$(slot_on client $node)
		wait_for 10 all_met client "$slot" "$(vip both web ipv6)" 80 6
		six=$(address both "client.$slot" ipv6)
		ask client "$slot" "$(vip both web ipv6)" 80 60 >"$BATS_TEST_TMPDIR/asked"
		is_even 6 <"$BATS_TEST_TMPDIR/asked"
		[ "$(peers <"$BATS_TEST_TMPDIR/asked")" = "$six" ]
		ask client "$slot" -u "$(vip both web ipv6)" 5000 60 >"$BATS_TEST_TMPDIR/asked"
		is_even 6 <"$BATS_TEST_TMPDIR/asked"
		[ "$(peers <"$BATS_TEST_TMPDIR/asked")" = "$six" ]
		[ "$(ask client "$slot" "$(vip both web)" 80 30 | answerers)" = 6 ]
		[ "$(ask client "$slot" "$(address both web.1 ipv6)" 80 | wc -l)" = 1 ]
	done
	wait_for 20 check_clean both
	ctl h1 service rm web client
	wait_for 20 ctl h1 network rm both
}

@test "overlay: subnet, gateway, range, auxiliary address and the address of a task are those asked for" {
	ctl h1 network create --subnet 10.44.0.0/24 --gateway 10.44.0.254 --ip-range 10.44.0.64/29 --aux-address printer=10.44.0.65 picked
	ctl h1 service create -q --name fixed --network name=picked,ip=10.44.0.77,alias=other echo:1
	ctl h1 service create -q --name web --replicas 4 --network picked echo:1
	[ "$(address picked fixed.1)" = 10.44.0.77 ]
	for slot in 1 2 3 4; do [[ $(address picked web.$slot) =~ ^10\.44\.0\.(6[4-9]|7[01])$ ]]; done
	[ "$(ctl h1 network inspect picked | jq -r '.[0].uses[] | select(.kind != "aux") | .ipv4' | grep -c '^10\.44\.0\.65\(/24\)\?$')" = 0 ]
	[ "$(ctl h1 network inspect --format '{{json .pools}}' picked | jq -r '.[0].gateway')" = 10.44.0.254 ]
	run ctl h1 service create -q --name second --replicas 2 --network name=picked,ip=10.44.0.78 echo:1
	[ "$status" -ne 0 ]
	run ctl h1 service create -q --name outside --network name=picked,ip=10.45.0.1 echo:1
	[ "$status" -ne 0 ]
	[[ $output == *10.45.0.1* && $output == *10.44.0.0/24* ]]
	run ctl h1 network create --subnet 10.44.0.128/25 overlapping
	[ "$status" -eq 1 ]
	[[ $output == *picked* ]]
	ctl h1 service rm fixed web
	wait_for 20 ctl h1 network rm picked
}

@test "an exhausted subnet is the reason that explain gives, and room ends the waiting" {
	ctl h1 network create --subnet 10.46.0.0/29 tiny
	ctl h1 service create -q -d --name many --replicas 8 --network tiny echo:1
	wait_for 20 explains many 'no free address in 10\.46\.0\.0/29'
	[ "$(ctl h1 network inspect tiny | jq -r '.[0].free[]')" = 0 ]
	several() { before=$(running h1 many); [ "$before" -ge 3 ]; }
	wait_for 20 several
	[ "$before" -le 5 ]
	ctl h1 service scale -d many=$before
	wait_for 30 running_is h1 many "$before"
	ctl h1 service rm many
	wait_for 20 ctl h1 network rm tiny
}

@test "internal: no way out; otherwise out by the node's address" {
	ctl h1 network create --internal closed
	ctl h1 network create open
	ctl h1 service create -q --name in --network closed echo:1
	ctl h1 service create -q --name out --network open echo:1
	[ -z "$(in_net in 1 ip route show default)" ]
	run in_net in 1 timeout 2 "$SKEIN_TESTBED/netecho" ask 10.77.0.4 80
	[ "$status" -ne 0 ]
	node=$(node_of out 1)
	[ "$(ask out 1 10.77.0.4 80 | peers)" = "10.77.0.${node#h}" ]
	ctl h1 service rm in out
	wait_for 20 ctl h1 network rm closed
	wait_for 20 ctl h1 network rm open
}

@test "two overlays do not see each other; a task in both is in both" {
	ctl h1 network create left
	ctl h1 network create right
	ctl h1 service create -q --name l --network left echo:1
	ctl h1 service create -q --name r --network right echo:1
	ctl h1 service create -q --name both --network left --network right echo:1
	wait_for 10 answers both 1 "$(vip left l)" 80
	wait_for 10 answers both 1 "$(vip right r)" 80
	run in_net l 1 timeout 2 "$SKEIN_TESTBED/netecho" ask "$(address right r.1)" 80
	[ "$status" -ne 0 ]
	[ "$(ctl h1 service inspect both | jq '.[0].endpoint.vips | length')" = 2 ]
	# --network-add and -rm replace the tasks; the addresses follow
	ctl h1 service update -q --update-monitor 0s --network-rm right both
	[ "$(in_net both 1 ip -j -4 addr | jq '[.[] | select(.ifname != "lo")] | length')" = 2 ]
	ctl h1 service update -q --update-monitor 0s --network-add name=right,alias=again both
	wait_for 10 answers both 1 "$(vip right r)" 80
	ctl h1 service rm l r both
	wait_for 20 ctl h1 network rm left
	wait_for 20 ctl h1 network rm right
}

@test "bridge: every node has its own, with a way out unless it is internal" {
	ctl h1 network create -d bridge local
	ctl h1 service create -q --name web --replicas 6 --network local echo:1
	clients client local
	[ "$(ctl h1 network ls --filter driver=bridge --format '{{.Name}} {{.Scope}}' | sort | tr '\n' ,)" = "bridge local,local local," ]
	slot=$(slot_on client h2)
	here=$(tasks web | awk '$2 == "h2" { print $1; exit }') there=$(tasks web | awk '$2 == "h3" { print $1; exit }')
	[ "$(ask client "$slot" "$(address local "web.$here")" 80 | peers)" = "$(address local "client.$slot")" ]
	run in_net client "$slot" timeout 2 "$SKEIN_TESTBED/netecho" ask "$(address local "web.$there")" 80
	[ "$status" -ne 0 ]
	[ "$(ask client "$slot" 10.77.0.4 80 | peers)" = 10.77.0.2 ]
	ctl h1 service rm web client
	wait_for 20 ctl h1 network rm local
	no_bridge() { ! bed run h2 ip -j link show type bridge | jq -r '.[].ifname' | grep -qx 'sk-.*'; }
	wait_for 20 no_bridge
}

@test "macvlan: tasks stand in the network of the hosts" {
	local slot
	ctl h1 network create -d macvlan --subnet 10.77.0.0/24 --ip-range 10.77.0.128/25 --gateway 10.77.0.4 --opt parent=eth0 lan
	ctl h1 service create -q --name web --replicas 3 --replicas-max-per-node 1 --network lan --endpoint-mode dnsrr echo:1
	for slot in 1 2 3; do
		[[ $(address lan web.$slot) == 10.77.0.* ]]
		# the host outside meets them without anything in between
		[ "$(ask_from h4 "$(address lan web.$slot)" 80 | peers)" = 10.77.0.4 ]
		[ "$(bed run h4 ip -j neigh show "$(address lan web.$slot)" | jq -r '.[0].lladdr')" = "$(in_net web $slot ip -j link show eth0 | jq -r '.[0].address')" ]
	done
	[ "$(ask web 1 "$(address lan web.2)" 80 | peers)" = "$(address lan web.1)" ]
	[ "$(ask web 1 10.77.0.4 80 | peers)" = "$(address lan web.1)" ]
	wait_for 20 check_clean lan
	ctl h1 service rm web
	wait_for 20 ctl h1 network rm lan
}

@test "what this kernel lacks is a reason, not a failure" {
	run ctl h1 network create -d macvlan --subnet 10.88.0.0/24 --opt parent=nosuch0 wrong
	ctl h1 service create -q -d --name lost --network wrong echo:1
	wait_for 20 explains lost nosuch0
	ctl h1 service rm lost
	wait_for 20 ctl h1 network rm wrong
	if vlan_works; then skip "this kernel has vlan"; fi
	ctl h1 network create -d vlan --subnet 10.88.0.0/24 --opt parent=eth0 --opt id=7 tagged
	ctl h1 service create -q -d --name lost --network tagged echo:1
	wait_for 20 explains lost 'network driver vlan not supported by the kernel'
	ctl h1 service rm lost
	wait_for 20 ctl h1 network rm tagged
}

@test "an underlay with a small MTU: networks follow it, and large packets arrive" {
	local h
	ctl h1 network create narrow
	ctl h1 network create --ipv6 narrow6
	ctl h1 service create -q --name web --replicas 3 --replicas-max-per-node 1 --network narrow --network narrow6 -p 8080:80 echo:1
	mtus() { in_net web "$1" ip -j link | jq -r 'sort_by(.ifname)[] | select(.ifname != "lo") | .mtu' | tr '\n' ' '; }
	mtus_are() { [ "$(mtus 1)" = "$1" ] && [ "$(mtus 2)" = "$1" ]; }
	mtus_are "1450 1450 1500 "
	for h in h1 h2 h3; do bed run $h ip link set eth0 mtu 1300; done
	# those that are there follow as well; IPv6 needs 1280
	wait_for 20 mtus_are "1250 1280 1300 "
	wait_for 20 check_clean
	for to in "$(address narrow web.1)" "$(address narrow6 web.1)" "$(address narrow6 web.1 ipv6)"; do
		in_net web 1 iperf3 -s -1 -D -p 5201
		wait_for 10 listens web 1 5201
		in_net web 2 iperf3 -c "$to" -p 5201 -n 5M -J | jq -e '.end.sum_sent.bytes >= 5000000 and .end.sum_received.bytes >= 2000000'
	done
	ctl h1 service update -q --update-monitor 0s --force web
	mtus_are "1250 1280 1300 "
	for n in 1 2 3; do wait_for 20 all_met_from h4 10.77.0.$n 8080 3; done
	for h in h1 h2 h3; do bed run $h ip link set eth0 mtu 1500; done
	wait_for 20 mtus_are "1450 1450 1500 "
	wait_for 20 check_clean
	ctl h1 service rm web
	wait_for 20 ctl h1 network rm narrow narrow6
}

@test "an MTU that is asked for is the tasks' own" {
	ctl h1 network create --opt mtu=1380 chosen
	ctl h1 service create -q --name web --network chosen echo:1
	[ "$(in_net web 1 ip -j link show eth0 | jq '.[0].mtu')" = 1380 ]
	ctl h1 service rm web
	wait_for 20 ctl h1 network rm chosen
}

@test "200 networks: made, shown and removed" {
	bed run h1 sh -c 'for i in $(seq 200); do clusterctl network create n$i || exit 1; done' >/dev/null
	[ "$(ctl h1 network ls --filter driver=overlay -q | wc -l)" = 201 ]
	[ "$(ctl h1 network ls --format '{{.Subnets}}' | grep -c /24)" -ge 200 ]
	[ -z "$(ctl h1 network ls --format '{{.Subnets}}' | grep . | sort | uniq -d)" ]
	[ -z "$(ctl h1 network ls --filter driver=overlay --format '{{.VNI}}' | sort | uniq -d)" ]
	# tasks in thirty of them
	bed run h1 sh -c 'for i in $(seq 30); do clusterctl service create -q -d --name s$i --network n$i echo:1 || exit 1; done' >/dev/null
	all_run() { [ "$(ctl h1 service ls --format '{{.Name}} {{.Replicas}}' | grep -c '^s[0-9]* 1/1')" = 30 ]; }
	wait_for 60 all_run
	wait_for 20 check_clean
	bed run h1 sh -c 'clusterctl service rm $(seq -f s%g 30)' >/dev/null
	removed() { bed run h1 sh -c 'clusterctl network rm $(clusterctl network ls --format "{{.Name}}" | grep "^n[0-9]")'; }
	wait_for 30 removed
	none_left() { [ -z "$(for h in h1 h2 h3; do network_namespaces $h; done)" ]; }
	wait_for 20 none_left
}

@test "nothing of a task's network stays behind" {
	left() { bed run "$1" sh -c 'ls /run/skein/net 2>/dev/null; ip -j link | jq -r ".[].ifname"' | grep -vxE 'lo|eth0|skein0|skein-in'; }
	clean() { for h in h1 h2 h3; do [ -z "$(left $h)" ] || return 1; done; }
	wait_for 20 clean || { for h in h1 h2 h3; do left $h >&2; done; false; }
	wait_for 20 check_clean
}
