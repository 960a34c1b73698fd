#!/usr/bin/env bash
# What the networks cost: throughput, new connections, time until a task is reachable, containers with an address.
#   tests/bench/network.sh [ROUNDS [PART...]]      (needs root; programs from SKEIN_BIN, default build/dev)
# Parts: stream connect lone reach addresses; all of them unless some are named.
#
# Hosts are namespaces on one bridge: no wire limits anything, so every packet's cost in CPU time shows. Everything that is
# compared is measured in the same rounds, in turn.
#   stream     iperf3 and requests on standing connections, task to task on another host: against a hand-made VXLAN of the
#              same MTU (its own bridge, veth and namespace, as anybody would make it) and against the bare cable
#   connect    new connections per second through a service's address and through a published port, against the same
#              task directly and against a task in the host's own network
#   lone       the same on one host against a hand-made direct-routing balancer of ipvsadm(8), where the kernel has IPVS
#   reach      from a task's RUNNING to its first answer through the service's address, from three nodes
#   addresses  containers per second with an address in an overlay network against none
# shellcheck disable=SC1091,SC2016,SC2154
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.bash"
. "$(dirname "${BASH_SOURCE[0]}")/../e2e/net.bash"
rounds=${1:-5}
parts=" ${*:2} "
wanted() { [ "$parts" = "  " ] || [[ $parts == *" $1 "* ]]; }
SECONDS_EACH=2

work=$SKEIN_TESTBED/rounds
row() { printf '%-58s %14s %14s %7s\n' "$@"; }
# row LABEL FILE FILE FORMAT: medians of two files and their ratio.
compare() {
	local a b
	a=$(median <"$work/$2") b=$(median <"$work/$3")
	row "$1" "$(printf "$4" "$a")" "$(printf "$4" "$b")" "$(ratio "$a" "$b")"
}

# ---------------------------------------------------------------- measuring

# Bits per second of one TCP stream between two places: PLACE is "HOST" or "HOST PID" (its network namespace).
at() {
	local host=$1 pid=$2
	shift 2
	if [ "$pid" = - ]; then bed run "$host" "$@"; else bed run "$host" nsenter -t "$pid" -n -- "$@"; fi
}
listens() { at "$1" "$2" ss -ltnH "sport = :$3" | grep -q .; }
# stream SERVER-HOST SERVER-PID CLIENT-HOST CLIENT-PID ADDRESS
stream() {
	at "$1" "$2" iperf3 -s -1 -p 5999 >/dev/null 2>&1 </dev/null 3>&- &
	local server=$!
	wait_for 10 listens "$1" "$2" 5999
	at "$3" "$4" iperf3 -c "$5" -p 5999 -t "$SECONDS_EACH" -O 0.3 -J </dev/null | jq '.end.sum_received.bits_per_second | floor'
	wait "$server" || :
}
# A server on port 8099 at a place: its pid inside the host.
serve() { at "$1" "$2" sh -c '"$1" serve 8099 >/dev/null 2>&1 </dev/null & echo $!' serve "$SKEIN_TESTBED/netecho"; }
# Requests per second: requests HOST PID ADDRESS PORT [wrk's arguments]; with "Connection: close" that is connections.
requests() {
	local host=$1 pid=$2 url=http://$3:$4/
	shift 4
	at "$host" "$pid" wrk -t 1 -d "${SECONDS_EACH}s" --timeout 5s "$@" "$url" </dev/null >"$work/wrk"
	if grep -q 'Socket errors' "$work/wrk"; then cat "$work/wrk" >&2; fi
	awk '/^Requests\/sec/ { printf "%.0f\n", $2 }' "$work/wrk"
}
connections() { requests "$1" "$2" "$3" "$4" -c 8 -H 'Connection: close'; }

# ---------------------------------------------------------------- the hand-made network

# Named namespaces of a host are its own: they end with it.
own_netns() { bed run "$1" sh -ec 'mkdir -p /run/netns; mount -t tmpfs netns /run/netns'; }

# A namespace on each of two hosts, joined by a VXLAN device in it, with one veth as a container would have.
hand_made() {
	local host=$1 own=$2 peer=$3 n=$4
	bed run "$host" sh -ec '
		ip netns add hand
		ip netns add leaf
		ip link add hv type vxlan id 77 local "$1" dstport 4790 nolearning proxy
		ip link set hv netns hand
		ip -n hand link add name br0 type bridge
		ip -n hand link set br0 up
		ip -n hand link set hv mtu 1450 master br0 up
		ip -n leaf link add eth0 mtu 1450 type veth peer name leaf mtu 1450 netns hand
		ip -n hand link set leaf master br0 up
		ip -n leaf link set eth0 address "02:42:0a:63:00:0$3" up
		ip -n leaf addr add "10.99.0.$3/24" dev eth0
		other=$((3 - $3))
		bridge -n hand fdb add "02:42:0a:63:00:0$other" dev hv dst "$2" self static
		ip -n hand neigh add "10.99.0.$other" lladdr "02:42:0a:63:00:0$other" dev hv nud permanent' hand "$own" "$peer" "$n"
}
leaf_pid() { bed run "$1" sh -c 'ip netns exec leaf sleep 100000 >/dev/null 2>&1 & echo $!'; }

part_stream() {
	local a b h1_leaf h2_leaf address
	ctl h1 service create -q --name left --network front --constraint node.hostname==h1 echo:1 >/dev/null
	ctl h1 service create -q --name right --network front --constraint node.hostname==h2 echo:1 >/dev/null
	hand_made h1 10.77.0.1 10.77.0.2 1
	hand_made h2 10.77.0.2 10.77.0.1 2
	h1_leaf=$(leaf_pid h1) h2_leaf=$(leaf_pid h2)
	a=$(pid_of left 1) b=$(pid_of right 1) address=$(address front right.1)
	# The same server everywhere, outside of containers: their cgroups and system call filters are not what is compared.
	serve h2 - >"$work/server"
	serve h2 "$h2_leaf" >>"$work/server"
	serve h2 "$b" >>"$work/server"
	for _ in $(seq "$rounds"); do
		stream h2 "$b" h1 "$a" "$address" >>"$work/stream.ours"
		stream h2 "$h2_leaf" h1 "$h1_leaf" 10.99.0.2 >>"$work/stream.hand"
		stream h2 - h1 - 10.77.0.2 >>"$work/stream.cable"
		requests h1 "$a" "$address" 8099 -c 1 >>"$work/rr.ours"
		requests h1 "$h1_leaf" 10.99.0.2 8099 -c 1 >>"$work/rr.hand"
		requests h1 - 10.77.0.2 8099 -c 1 >>"$work/rr.cable"
	done
	row stream ours 'the other' ratio
	for f in stream.ours stream.hand stream.cable; do awk '{ printf "%.2f\n", $1 / 1e9 }' "$work/$f" >"$work/$f.g"; done
	compare 'iperf3, overlay : hand-made VXLAN of the same MTU' stream.ours.g stream.hand.g '%s Gbit/s'
	compare 'iperf3, overlay : bare cable' stream.ours.g stream.cable.g '%s Gbit/s'
	compare 'request/response, overlay : hand-made VXLAN' rr.ours rr.hand '%s /s'
	compare 'request/response, overlay : bare cable' rr.ours rr.cable '%s /s'
	while read -r pid; do bed run h2 kill "$pid"; done <"$work/server"
	ctl h1 service rm left right >/dev/null
}

part_connect() {
	local client task v
	ctl h1 service create -q --name client --network front --constraint node.hostname==h1 echo:1 >/dev/null
	ctl h1 service create -q --name web --network front --publish 8080:80 --constraint node.hostname==h2 echo:1 >/dev/null
	ctl h1 service create -q --name bare --network host --entrypoint /bin/netecho --constraint node.hostname==h2 echo:1 serve 8099 >/dev/null
	client=$(pid_of client 1) task=$(address front web.1) v=$(vip front web)
	wait_for 20 answers_from h4 10.77.0.1 8080
	wait_for 20 answers_from h4 10.77.0.2 8099
	for _ in $(seq "$rounds"); do
		connections h1 "$client" "$v" 80 >>"$work/new.vip"
		connections h1 "$client" "$task" 80 >>"$work/new.direct"
		connections h4 - 10.77.0.2 8080 >>"$work/new.here"
		connections h4 - 10.77.0.1 8080 >>"$work/new.ingress"
		connections h4 - 10.77.0.2 8099 >>"$work/new.host"
	done
	row connect ours 'the other' ratio
	compare 'new connections: service address : the task directly' new.vip new.direct '%s /s'
	compare 'published port, task on that host : task with --network host' new.here new.host '%s /s'
	compare 'published port, task on another host : the same' new.ingress new.host '%s /s'
	ctl h1 service rm client web bare >/dev/null
}

# Client, balancer and two servers in namespaces on one bridge; the servers hold the virtual address on lo.
hand_made_balancer() {
	bed run h1 sh -ec '
		ip netns add sw
		ip -n sw link add name br0 type bridge
		ip -n sw link set br0 up
		i=0
		for n in c lb s1 s2; do
			i=$((i + 1))
			ip netns add dr-$n
			ip -n dr-$n link add eth0 mtu 1450 type veth peer name $n mtu 1450 netns sw
			ip -n sw link set $n master br0 up
			ip -n dr-$n link set lo up
			ip -n dr-$n link set eth0 up
			ip -n dr-$n addr add 10.98.0.$i/24 dev eth0
		done
		for n in s1 s2; do
			ip netns exec dr-$n sh -c "echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore; echo 2 >/proc/sys/net/ipv4/conf/all/arp_announce"
			ip -n dr-$n addr add 10.98.0.100/32 dev lo
			ip netns exec dr-$n "$1" serve 80 >/dev/null 2>&1 </dev/null &
		done
		ip -n dr-lb addr add 10.98.0.100/32 dev eth0
		ip netns exec dr-lb ipvsadm -A -t 10.98.0.100:80 -s rr
		ip netns exec dr-lb ipvsadm -a -t 10.98.0.100:80 -r 10.98.0.3 -g
		ip netns exec dr-lb ipvsadm -a -t 10.98.0.100:80 -r 10.98.0.4 -g' hand "$SKEIN_TESTBED/netecho"
	bed run h1 sh -c 'ip netns exec dr-c sleep 100000 >/dev/null 2>&1 & echo $!'
}

part_lone() {
	local client hand v
	if ! bed run h1 unshare -n ipvsadm -Ln >/dev/null 2>&1; then
		echo "lone: skipped, this kernel has no IPVS"
		return
	fi
	hand=$(hand_made_balancer)
	ctl h1 service create -q --name client --network front --constraint node.hostname==h1 echo:1 >/dev/null
	ctl h1 service create -q --name web --replicas 2 --network front --constraint node.hostname==h1 echo:1 >/dev/null
	client=$(pid_of client 1) v=$(vip front web)
	for _ in $(seq "$rounds"); do
		connections h1 "$client" "$v" 80 >>"$work/lone.ours"
		connections h1 "$hand" 10.98.0.100 80 >>"$work/lone.hand"
	done
	row lone ours 'the other' ratio
	compare 'new connections on one host: ours : hand-made ipvsadm -g' lone.ours lone.hand '%s /s'
	ctl h1 service rm client web >/dev/null
}

# When the only task of a service began to run, us.
ran_since() {
	local id
	id=$(tasks "$1" | awk '{ print $3 }')
	ctl h1 task inspect "$id" | jq -r '.[0].status.at' | { read -r at; to_us "$at"; }
}
to_us() { case $1 in *T*) date -d "$1" +%s%6N ;; *) echo $(($1 / 1000)) ;; esac; }

part_reach() {
	local v i last start
	for i in 1 2 3; do ctl h1 service create -q --name "from$i" --network front --constraint node.hostname==h$i echo:1 >/dev/null; done
	ctl h1 service create -q --name far --replicas 0 --network front --constraint node.hostname==h2 --stop-grace-period 0s echo:1 >/dev/null
	v=$(vip front far)
	for _ in $(seq "$rounds"); do
		waiting=()
		for i in 1 2 3; do
			at "h$i" "$(pid_of "from$i" 1)" "$SKEIN_TESTBED/netecho" reach "$v" 80 >"$work/reach.$i" 2>/dev/null </dev/null 3>&- &
			waiting+=($!)
		done
		start=$(now_us)
		ctl h1 service scale -q far=1 >/dev/null
		wait "${waiting[@]}"
		last=$(sort -n "$work"/reach.[123] | tail -1)
		echo $((last - $(ran_since far))) >>"$work/reach.all"
		echo $((last - start)) >>"$work/reach.scale"
		ctl h1 service scale -q far=0 >/dev/null
	done
	row reach ours
	row 'RUNNING to the first answer on the last of three nodes' "$(ms "$(median <"$work/reach.all")")"
	row '`service scale` to the first answer on the last of them' "$(ms "$(median <"$work/reach.scale")")"
	ctl h1 service rm from1 from2 from3 far >/dev/null
}

many_us() {
	script h1 '
		s=${EPOCHREALTIME/[.,]/}
		clusterctl service create -q --name many --network "$1" --stop-grace-period 0s --replicas 50 bench:1 >/dev/null
		echo $((${EPOCHREALTIME/[.,]/} - s))
		clusterctl service rm many >/dev/null' "$1"
	wait_for 120 all_gone
}
all_gone() { local h; for h in h1 h2 h3; do no_tasks $h || return 1; done; }

part_addresses() {
	load_image h1 bench:1 --cmd 'exec sleep 1000000' >/dev/null
	many_us none >/dev/null
	for _ in $(seq "$rounds"); do
		many_us front >>"$work/many.front"
		many_us none >>"$work/many.none"
	done
	for f in front none; do awk '{ printf "%.1f\n", 50e6 / $1 }' "$work/many.$f" >"$work/per_s.$f"; done
	row addresses ours 'the other' ratio
	compare '50 containers on 3 nodes: with an address : without network' per_s.front per_s.none '%s /s'
}

# ---------------------------------------------------------------- all

cluster_up 1 2 >/dev/null
bed host h4
net_image h1 >/dev/null
ctl h1 network create --subnet 10.200.0.0/16 front >/dev/null
mkdir -p "$work"
for h in h1 h2; do own_netns $h; done
echo "$rounds rounds of ${SECONDS_EACH} s, medians ($(machine)); balancer: $(ctl h1 node inspect h1 | jq -r '.[0].description.features | if type == "array" then (.[] | select(.key == "network.balancer") | .value) else .["network.balancer"] end')"
for part in stream connect lone reach addresses; do
	rm -f "$work"/*
	if wanted "$part"; then "part_$part"; fi
done
