#!/usr/bin/env bats
# Names inside containers: services, tasks, aliases, search domains, names from outside. 1 manager + 1 worker; h4 is the name server
# that the hosts use.
load common
load net

setup_file() {
	export BATS_TEST_TIMEOUT=$((120 * ${SKEIN_SLOW:-1}))
	cluster_up 1 1
	bed host h4
	mkdir -p "$SKEIN_TESTBED/dns"
	{
		echo no-resolv; echo no-hosts; echo port=53; echo user=root; echo log-queries; echo log-facility="$SKEIN_TESTBED/dns/log"
		echo address=/www.example.test/192.0.2.7
		echo address=/www.example.test/2001:db8::7
		echo address=/printer.corp.test/192.0.2.9
		for i in $(seq 80); do echo "host-record=big.example.test,192.0.2.$i"; done
		for i in $(seq 20); do echo "txt-record=txt.example.test,$(printf 'a%.0s' $(seq 200))$i"; done
		echo local=/test/
	} >"$SKEIN_TESTBED/dns/conf"
	background h4 dnsmasq -k -C "$SKEIN_TESTBED/dns/conf"
	for h in h1 h2; do printf 'nameserver 10.77.0.4\nsearch corp.test\n' >"$SKEIN_TESTBED/$h/resolv.conf"; done
	outside() { [ "$(bed run h1 dig +short @10.77.0.4 www.example.test)" = 192.0.2.7 ]; }
	wait_for 10 outside
	net_image h1
	ctl h1 network create --ipv6 front
	ctl h1 service create -q --name web --replicas 4 --network name=front,alias=www echo:1
	ctl h1 service create -q --name rr --replicas 3 --endpoint-mode dnsrr --network front echo:1
	ctl h1 service create -q --name client --replicas 2 --replicas-max-per-node 1 --network front echo:1
}

# A question from inside the container's network, to its own resolver: names SLOT NAME [dig's options]
q() { local slot=$1; shift; in_net client "$slot" dig +short +tries=1 +time=3 @127.0.0.11 "$@" | sort; }
status_of() { local slot=$1; shift; in_net client "$slot" dig +tries=1 +time=3 @127.0.0.11 "$@" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
addresses() { ctl h1 network inspect front | jq -r --arg s "$1." ".[0].uses[] | select(.kind == \"task\" and (.name | startswith(\$s))) | .$2 | split(\"/\")[0]" | sort; }
# A node hears of tasks of other nodes a moment after the one who asked for them.
are_answered() { is_answered "$1" "$2" "$(addresses "${2#tasks.}" ipv4)"; }
is_answered() { [ "$(q "$1" "$2")" = "$3" ]; }

@test "a service's name is its virtual address, on every node, by TCP and UDP" {
	local slot
	for slot in 1 2; do
		wait_for 10 is_answered $slot web "$(vip front web)"
		[ "$(q $slot web AAAA)" = "$(vip front web ipv6)" ]
		[ "$(q $slot web +tcp)" = "$(vip front web)" ]
		[ "$(q $slot WEB)" = "$(vip front web)" ]
		[ "$(q $slot www)" = "$(vip front web)" ]
		[ "$(q $slot web MX)" = "" ]
		[ "$(status_of $slot web MX)" = NOERROR ]
	done
}

@test "tasks.NAME are all tasks, NAME.SLOT is one; dnsrr has the tasks under its name" {
	local slot
	for slot in 1 2; do
		wait_for 10 are_answered $slot tasks.web
		wait_for 10 are_answered $slot tasks.rr
		[ "$(q $slot tasks.web AAAA)" = "$(addresses web ipv6)" ]
		[ "$(q $slot web.2)" = "$(address front web.2)" ]
		[ "$(q $slot rr)" = "$(addresses rr ipv4)" ]
	done
	# an answer begins with another one each time
	for i in $(seq 40); do in_net client 1 dig +short @127.0.0.11 rr | head -1; done | sort -u | wc -l | grep -qx 3
}

@test "what programs use: nslookup, wget by name, the reverse" {
	local slot
	for slot in 1 2; do wait_for 10 all_met client "$slot" "$(vip front web)" 80 4; done
	in_task client 1 nslookup web | grep -q "$(vip front web)"
	in_task client 1 wget -qO- http://web/ | grep -qE '^[a-z0-9]{12} '
	in_task client 2 wget -qO- http://www/ | grep -qE '^[a-z0-9]{12} '
	[ "$(in_task client 1 sh -c 'for i in $(seq 12); do wget -qO- http://rr/; done' | answerers)" -ge 2 ]
	[[ $(q 1 -x "$(address front web.1)") == web.1* ]]
}

@test "resolv.conf and hosts are what Docker's users know; flags change them" {
	[ "$(in_task client 1 cat /etc/resolv.conf | grep -c '^nameserver')" = 1 ]
	in_task client 1 cat /etc/resolv.conf | grep -qx 'nameserver 127.0.0.11'
	in_task client 1 cat /etc/resolv.conf | grep -qx 'search corp.test'
	in_task client 1 cat /etc/resolv.conf | grep -q 'ndots:0'
	in_task client 1 cat /etc/hosts | grep -q "$(address front client.1)"
	ctl h1 service create -q --name flags --network front --dns 10.77.0.4 --dns-search example.test --dns-option ndots:2 --dns-option timeout:1 \
		--host store:10.1.2.3 --host store6:fd00::3 echo:1
	in_task flags 1 cat /etc/resolv.conf | grep -qx 'search example.test'
	in_task flags 1 cat /etc/resolv.conf | grep '^options' | grep -q 'ndots:2'
	in_task flags 1 cat /etc/resolv.conf | grep '^options' | grep -q 'timeout:1'
	in_task flags 1 cat /etc/hosts | grep -qE '^10\.1\.2\.3[[:space:]]+store$'
	in_task flags 1 cat /etc/hosts | grep -qE '^fd00::3[[:space:]]+store6$'
	[ "$(in_net flags 1 dig +short @127.0.0.11 www.example.test)" = 192.0.2.7 ]
	ctl h1 service update -q --update-monitor 0s --host-rm store --dns-search-rm example.test --dns-search-add corp.test flags
	in_task flags 1 cat /etc/resolv.conf | grep -qx 'search corp.test'
	[ "$(in_task flags 1 cat /etc/hosts | grep -cw store)" = 0 ]
	ctl h1 service rm flags
}

@test "names from outside: forwarded to the host's resolver, by UDP and TCP, both families" {
	[ "$(q 1 www.example.test)" = 192.0.2.7 ]
	[ "$(q 1 www.example.test AAAA)" = 2001:db8::7 ]
	[ "$(q 2 +tcp www.example.test)" = 192.0.2.7 ]
	[ "$(status_of 1 nosuch.example.test)" = NXDOMAIN ]
	# the search domain of the host, as the container's libc does it
	in_task client 1 nslookup printer.corp.test | grep -q 192.0.2.9
	# a name without a dot that nobody in the cluster has
	[ "$(status_of 1 nosuchname)" != NOERROR ]
	# names of the cluster never leave it
	q 1 web >/dev/null; q 1 tasks.web >/dev/null
	not grep -qE ' (web|tasks\.web) ' "$SKEIN_TESTBED/dns/log"
}

@test "large answers: EDNS, truncation, TCP" {
	[ "$(q 1 big.example.test | wc -l)" = 80 ]
	[ "$(q 1 +tcp big.example.test | wc -l)" = 80 ]
	in_net client 1 dig +noedns +ignore @127.0.0.11 big.example.test | grep -q 'flags:.* tc'
	ctl h1 service scale -q web=40
	all() { [ "$(q 1 +tcp tasks.web | wc -l)" = 40 ]; }
	wait_for 20 all
	in_net client 1 dig +noedns +ignore @127.0.0.11 tasks.web | grep -q 'flags:.* tc'
	[ "$(q 1 +bufsize=4096 tasks.web | wc -l)" = 40 ]
	[ "$(in_net client 1 dig +bufsize=512 +ignore @127.0.0.11 tasks.web | sed -n 's/.*MSG SIZE  rcvd: //p')" -le 512 ]
	ctl h1 service scale -q web=4
	four() { [ "$(q 1 tasks.web | wc -l)" = 4 ] && [ "$(q 2 tasks.web | wc -l)" = 4 ]; }
	wait_for 20 four
	all_named() { [ "$(q 1 tasks.web)" = "$(addresses web ipv4)" ]; }
	wait_for 20 all_named
}

@test "a task that ends is out of the names at once, its successor in" {
	local gone
	gone=$(address front web.3)
	bed run "$(node_of web 3)" kill -9 "$(pid_of web 3)"
	out() { ! q 1 tasks.web | grep -qx "$gone"; }
	wait_for 5 out
	back() { [ "$(q 1 tasks.web | wc -l)" = 4 ] && [ "$(q 2 tasks.web | wc -l)" = 4 ]; }
	wait_for 20 back
	[ "$(q 2 web)" = "$(vip front web)" ]
}

@test "a service that is gone is a name that is gone; a network's names are its own" {
	ctl h1 network create back
	ctl h1 service create -q --name hidden --network back echo:1
	[ -z "$(q 1 hidden)" ]
	ctl h1 service create -q --name brief --network front echo:1
	wait_for 10 is_answered 1 brief "$(vip front brief)"
	ctl h1 service rm brief
	wait_for 10 is_answered 1 brief ""
	ctl h1 service rm hidden
	wait_for 20 ctl h1 network rm back
}

@test "a resolver that is silent costs an answer, nothing else" {
	local before
	before=$(bed pid h1 agent)
	bed unplug h4
	# many at once, all waiting for nobody
	in_net client 1 sh -c 'for i in $(seq 60); do dig +tries=1 +time=1 @127.0.0.11 silent$i.example.test >/dev/null & done; wait' || :
	[ "$(q 1 web)" = "$(vip front web)" ]
	[ "$(q 1 tasks.web | wc -l)" = 4 ]
	bed plug h4
	back() { [ "$(q 1 www.example.test)" = 192.0.2.7 ]; }
	wait_for 20 back
	[ "$(bed pid h1 agent)" = "$before" ]
	# a loop that waited for the resolver would have stood for a second and more; a busy machine costs less
	not grep -qE 'event=loop_stall took_ms=[0-9]{4}' "$SKEIN_TESTBED/h1/agent.log"
}

@test "bytes that are no question are dropped, the resolver goes on" {
	in_net client 1 python3 - <<-'EOT'
		import os, socket
		u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		for n in list(range(0, 40)) + [512, 4000, 60000]:
		    u.sendto(os.urandom(n), ("127.0.0.11", 53))
		for data in (b"\x00\x00", b"\xff\xff" + os.urandom(100), b"\x00\x05abc", os.urandom(3000)):
		    t = socket.create_connection(("127.0.0.11", 53), timeout=5); t.sendall(data); t.close()
	EOT
	[ "$(q 1 web)" = "$(vip front web)" ]
}
