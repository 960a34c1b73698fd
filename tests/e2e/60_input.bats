#!/usr/bin/env bats
# What is typed wrong: every verb and flag says what was wrong and what is accepted, and nothing stays behind.
# Exit status 2: wrong flags or arguments, nobody was asked. 1: refused by the cluster.
load common

setup_file() {
	export BATS_TEST_TIMEOUT=$((120 * ${SKEIN_SLOW:-1}))
	bed down
	bed up 2
	ctl h1 init --advertise-addr 10.77.0.1
	wait_for 10 nodes_ready h1 1
}

# Lines "STATUS | TEXT [& TEXT...] | COMMAND LINE": run each on a host; all that does not come out so is told at once.
check_table() {
	local host=$1 status text command part out got bad=0
	while IFS='|' read -r status text command; do
		[ -n "$status" ] || continue
		got=0
		out=$(eval "bed run $host timeout 20 $command" 2>&1 </dev/null) || got=$?
		if [ "$got" -ne "$status" ]; then echo "exit $got, not $status: $command: $out" >&2; bad=1; fi
		while [ -n "$text" ]; do
			part=${text%%&*}
			case $text in *'&'*) text=${text#*&} ;; *) text= ;; esac
			part="${part#"${part%%[! ]*}"}"
			part="${part%"${part##*[! ]}"}"
			if [[ $out != *"$part"* ]]; then echo "no '$part' in the answer to: $command: $out" >&2; bad=1; fi
		done
		if [[ $out != *": "* ]]; then echo "no message: $command: $out" >&2; bad=1; fi
	done
	return $bad
}

# What the cluster holds, so that it can be compared.
inventory() {
	ctl h1 service ls -q
	ctl h1 task ls -q
	ctl h1 image ls -q
	ctl h1 network ls -q
	ctl h1 join-token ls --format '{{.ID}} {{.Uses}} {{.Labels}}'
	ctl h1 node inspect h1 | jq -c '.[0].spec'
	bed run h1 ls /var/lib/skein/volumes 2>/dev/null || :
}

# Every command: "noun verb" or "verb".
commands() {
	local word
	for word in $(ctl h1 __complete ""); do
		case $word in
		completion) echo "$word" ;;
		*)
			if [ -n "$(ctl h1 __complete "$word" "" | grep -vx -e worker -e manager)" ] && ctl h1 "$word" --help | grep -q '^Commands:'; then
				[ "$word" != join-token ] || echo "$word"
				ctl h1 "$word" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' | sed "s/^/$word /"
			else
				echo "$word"
			fi
			;;
		esac
	done
}

@test "service create: flags that are wrong by themselves" {
	inventory >"$BATS_FILE_TMPDIR/before"
	check_table h1 <<-'EOT'
		2 | missing an argument & IMAGE | clusterctl service create
		2 | unknown flag & --bogus | clusterctl service create --bogus x
		2 | --replicas & did you mean | clusterctl service create --replica 3 x
		2 | IMAGE & BAD IMAGE & lower case | clusterctl service create 'BAD IMAGE'
		2 | IMAGE & x@sha256:12 | clusterctl service create x@sha256:12
		2 | --replicas & -1 & whole number | clusterctl service create --replicas -1 x
		2 | --replicas & many & whole number | clusterctl service create --replicas many x
		2 | --replicas & 99999999999999999999 | clusterctl service create --replicas 99999999999999999999 x
		2 | --replicas & --mode & global | clusterctl service create --mode global --replicas 3 x
		2 | --mode & other & replicated & global | clusterctl service create --mode other x
		2 | --env & =x & NAME=VALUE | clusterctl service create --env =x x
		2 | --env & A B=x & blanks | clusterctl service create --env 'A B=x' x
		2 | --env-file & /nonexistent | clusterctl service create --env-file /nonexistent x
		2 | --env-file & /etc | clusterctl service create --env-file /etc x
		2 | --label & =x & KEY=VALUE | clusterctl service create --label =x x
		2 | --label & a b=c & blanks | clusterctl service create --label 'a b=c' x
		2 | --container-label & KEY=VALUE | clusterctl service create --container-label = x
		2 | --mount & unknown key & type, source, target | clusterctl service create --mount x x
		2 | --mount & bogus & bind, volume or tmpfs | clusterctl service create --mount type=bogus,target=/x x
		2 | --mount & target= is missing | clusterctl service create --mount type=tmpfs x
		2 | --mount & rel & absolute path | clusterctl service create --mount type=bind,source=rel,target=/x x
		2 | --mount & source & absolute path | clusterctl service create --mount type=bind,target=/x x
		2 | --mount & /x & type=bind | clusterctl service create --mount type=volume,source=/x,target=/x x
		2 | --mount & no source | clusterctl service create --mount type=tmpfs,source=x,target=/x x
		2 | --mount & target & absolute path | clusterctl service create --mount type=tmpfs,target=x x
		2 | --mount & tmpfs-size & big | clusterctl service create --mount type=tmpfs,target=/a,tmpfs-size=big x
		2 | --mount & tmpfs-mode & octal | clusterctl service create --mount type=tmpfs,target=/a,tmpfs-mode=9 x
		2 | --mount & tmpfs-mode & type=tmpfs | clusterctl service create --mount type=volume,target=/a,tmpfs-mode=700 x
		2 | --mount & bind-propagation & rslave | clusterctl service create --mount type=bind,source=/a,target=/a,bind-propagation=x x
		2 | --mount & readonly & true or false | clusterctl service create --mount type=volume,target=/a,readonly=x x
		2 | --mount & two mounts & /a | clusterctl service create --mount type=tmpfs,target=/a --mount type=tmpfs,target=/a x
		2 | --ulimit & nofile & NAME=SOFT | clusterctl service create --ulimit nofile x
		2 | --ulimit & bogus=1 & nproc | clusterctl service create --ulimit bogus=1 x
		2 | --ulimit & nofile=2:1 & above | clusterctl service create --ulimit nofile=2:1 x
		2 | --sysctl & KEY=VALUE | clusterctl service create --sysctl x x
		2 | --cap-add & N O & NET_ADMIN | clusterctl service create --cap-add 'N O' x
		2 | --cap-drop & NET_ADMIN | clusterctl service create --cap-drop '' x
		2 | --constraint & foo & KEY==VALUE | clusterctl service create --constraint foo x
		2 | --constraint & node.role=manager | clusterctl service create --constraint node.role=manager x
		2 | --placement-pref & spread=foo & spread=node.labels.NAME | clusterctl service create --placement-pref spread=foo x
		2 | --entrypoint & not closed | clusterctl service create --entrypoint '"open' x
		2 | --tty & maybe & true or false | clusterctl service create --tty=maybe x
		2 | --stop-grace-period & 10 & 500ms | clusterctl service create --stop-grace-period 10 x
		2 | --stop-grace-period & -1s | clusterctl service create --stop-grace-period -1s x
		2 | --oom-score-adj & 2000 & -1000 to 1000 | clusterctl service create --oom-score-adj 2000 x
		2 | --limit-cpu & cores | clusterctl service create --limit-cpu x x
		2 | --limit-cpu & -1 & cores | clusterctl service create --limit-cpu -1 x
		2 | --limit-memory & 512m | clusterctl service create --limit-memory x x
		2 | --limit-pids & -1 & 4194304 | clusterctl service create --limit-pids -1 x
		2 | --reserve-cpu & cores | clusterctl service create --reserve-cpu x x
		2 | --reserve-memory & 512m | clusterctl service create --reserve-memory x x
		2 | --reserve-memory & 8MiB & --limit-memory & 4MiB | clusterctl service create --reserve-memory 8m --limit-memory 4m x
		2 | --reserve-cpu & --limit-cpu | clusterctl service create --reserve-cpu 2 --limit-cpu 1 x
		2 | --replicas-max-per-node & whole number | clusterctl service create --replicas-max-per-node x x
		2 | --restart-condition & always & on-failure | clusterctl service create --restart-condition always x
		2 | --restart-delay & 500ms | clusterctl service create --restart-delay x x
		2 | --restart-max-attempts & -1 | clusterctl service create --restart-max-attempts -1 x
		2 | --restart-window & 1 & 500ms | clusterctl service create --restart-window 1 x
		2 | --network & expected the name of a network | clusterctl service create --network '' x
		2 | --network & unknown key & driver-opt & name, alias, ip, ip6 | clusterctl service create --network name=a,driver-opt=b x
		2 | --network & ip= & x & IPv4 | clusterctl service create --network name=a,ip=x x
		2 | --network & ip6= & 10.0.0.1 & IPv6 | clusterctl service create --network name=a,ip6=10.0.0.1 x
		2 | --network & host & no other network | clusterctl service create --network host --network a x
		2 | --network & host and none exclude | clusterctl service create --network host --network none x
		2 | --endpoint-mode & x & vip, dnsrr | clusterctl service create --endpoint-mode x x
		2 | --publish & 1 to 65535 | clusterctl service create --publish 0:80 x
		2 | --publish & 65536 & 1 to 65535 | clusterctl service create -p 8080:65536 x
		2 | --publish & icmp & tcp, udp or sctp | clusterctl service create -p 8080:80/icmp x
		2 | --publish & 8010-8000 & ends before it begins | clusterctl service create -p 8010-8000:1-11 x
		2 | --publish & 8000-8010:80 & expected as many | clusterctl service create -p 8000-8010:80 x
		2 | --publish & nohost & IP address | clusterctl service create -p nohost:8080:80 x
		2 | --publish & target= is missing | clusterctl service create -p published=8080 x
		2 | --publish & unknown key & target, published, protocol, mode, host-ip | clusterctl service create -p target=80,bogus=1 x
		2 | --publish & mode & ingress or host | clusterctl service create -p target=80,mode=x x
		2 | --publish & mode=host | clusterctl service create -p target=80,mode=ingress,host-ip=10.0.0.1 x
		2 | --dns & x & IP address | clusterctl service create --dns x x
		2 | --dns-search & a b & domain | clusterctl service create --dns-search 'a b' x
		2 | --dns-option & a b & resolv.conf | clusterctl service create --dns-option 'a b' x
		2 | --host & x & NAME:IP | clusterctl service create --host x x
		2 | --update-parallelism & whole number | clusterctl service create --update-parallelism x x
		2 | --update-delay & 500ms | clusterctl service create --update-delay x x
		2 | --update-order & stop-first & start-first | clusterctl service create --update-order first x
		2 | --update-monitor & 500ms | clusterctl service create --update-monitor x x
		2 | --update-max-failure-ratio & 2 & 0 to 1 | clusterctl service create --update-max-failure-ratio 2 x
		2 | --update-max-failure-ratio & nan | clusterctl service create --update-max-failure-ratio nan x
		2 | --update-failure-action & pause & rollback | clusterctl service create --update-failure-action x x
		2 | --rollback-failure-action & rollback & pause, continue | clusterctl service create --rollback-failure-action rollback x
		2 | --rollback-order & start-first | clusterctl service create --rollback-order x x
		2 | --with-registry-auth & no login for | env -u HOME clusterctl service create --with-registry-auth reg.test/x
	EOT
}

@test "service create: what the manager refuses, by the name of the flag" {
	check_table h1 <<-'EOT'
		1 | --name & a b & 1 to 63 letters | clusterctl service create --name 'a b' x
		1 | --name & -x | clusterctl service create --name -x x
		1 | --replicas & 10000000 & 100000 | clusterctl service create --replicas 10000000 x
		1 | --group & a b & group | clusterctl service create --group 'a b' x
		1 | --mount & target & other than / | clusterctl service create --mount type=tmpfs,target=/ x
		1 | --mount & /a/../b & without .. | clusterctl service create --mount type=tmpfs,target=/a/../b x
		1 | --mount & .. & name of letters | clusterctl service create --mount type=volume,source=..,target=/a x
		1 | --mount & /a/ & twice | clusterctl service create --mount type=tmpfs,target=/a --mount type=tmpfs,target=/a/ x
		1 | --sysctl & kernel.panic & net. | clusterctl service create --sysctl kernel.panic=1 x
		1 | --network & nosuch | clusterctl service create --network nosuch x
		1 | --publish & 8080 | clusterctl service create -p 8080:80 -p 8080:81 x
		1 | --publish & 8080:80 & endpoint mode vip | clusterctl service create --endpoint-mode dnsrr -p 8080:80 x
		1 | --publish & host | clusterctl service create --network host -p 8080:80 x
		1 | --sysctl & net.x & host | clusterctl service create --sysctl net.x=1 --network host x
		1 | --cap-add & NOPE & CAP_NET_ADMIN | clusterctl service create --cap-add NOPE x
		1 | --cap-drop & NOPE | clusterctl service create --cap-drop NOPE x
		1 | --constraint & node.bogus & node.hostname | clusterctl service create --constraint node.bogus==1 x
		1 | --hostname & a_b & letters, digits | clusterctl service create --hostname a_b x
		1 | --user & a:b:c & user:group | clusterctl service create --user a:b:c x
		1 | --workdir & rel & absolute path | clusterctl service create --workdir rel x
		1 | --entrypoint & program | clusterctl service create --entrypoint '""' x
		1 | --stop-signal & SIGFOO & SIGTERM | clusterctl service create --stop-signal SIGFOO x
		1 | --stop-signal & 99 | clusterctl service create --stop-signal 99 x
		1 | --stop-grace-period & 100000h & 8784h | clusterctl service create --stop-grace-period 100000h x
		1 | --limit-cpu & 0.0001 cores & 65536 | clusterctl service create --limit-cpu 0.0001 x
		1 | --limit-memory & 1KiB & 4 MiB | clusterctl service create --limit-memory 1k x
		1 | --reserve-memory & 1KiB & 4 MiB | clusterctl service create --reserve-memory 1k x
		1 | --replicas-max-per-node & replicated | clusterctl service create --mode global --replicas-max-per-node 1 x
		1 | --restart-delay & 99999h & 8784h | clusterctl service create --restart-delay 99999h x
		1 | --update-parallelism & 99999999 & 100000 | clusterctl service create --update-parallelism 99999999 x
	EOT
}

@test "the other verbs of services and tasks" {
	check_table h1 <<-'EOT'
		2 | unknown command & service & did you mean | clusterctl servce ls
		2 | unknown command & service bogus | clusterctl service bogus
		2 | Usage: clusterctl service COMMAND | clusterctl service
		2 | SERVICE=REPLICAS | clusterctl service scale
		2 | SERVICE=REPLICAS & x | clusterctl service scale x
		2 | x=y & SERVICE=REPLICAS & number | clusterctl service scale x=y
		2 | x=1000000000 & 100000 | clusterctl service scale x=1000000000
		1 | no such service & nosuch | clusterctl service scale nosuch=3
		2 | SERVICE | clusterctl service update
		2 | nothing to change & --image | clusterctl service update nosuch
		2 | unexpected argument & b | clusterctl service update --force a b
		2 | --image & BAD | clusterctl service update --image 'BAD X' nosuch
		2 | --args & not closed | clusterctl service update --args '"x' nosuch
		2 | --env-add & =x | clusterctl service update --env-add =x nosuch
		2 | --mount-add & target= is missing | clusterctl service update --mount-add type=tmpfs nosuch
		2 | --placement-pref-rm & spread=node.labels.NAME | clusterctl service update --placement-pref-rm x nosuch
		2 | --constraint-add & x & KEY==VALUE | clusterctl service update --constraint-add x nosuch
		2 | --network-add & host & no other network | clusterctl service update --network-add host --network-add a nosuch
		2 | --publish-add & x & 1 to 65535 | clusterctl service update --publish-add x nosuch
		2 | --publish-rm & 8080:80 & TARGET | clusterctl service update --publish-rm 8080:80 nosuch
		2 | --dns-add & x & IP address | clusterctl service update --dns-add x nosuch
		2 | --dns-rm & x & IP address | clusterctl service update --dns-rm x nosuch
		2 | --dns-search-add & a b & domain | clusterctl service update --dns-search-add 'a b' nosuch
		2 | --dns-option-add & a b & resolv.conf | clusterctl service update --dns-option-add 'a b' nosuch
		2 | --host-add & x & NAME:IP | clusterctl service update --host-add x nosuch
		2 | --host-rm & a b & NAME | clusterctl service update --host-rm 'a b' nosuch
		2 | --endpoint-mode & x & vip, dnsrr | clusterctl service update --endpoint-mode x nosuch
		1 | no such service & nosuch | clusterctl service update --force nosuch
		1 | no such service & nosuch | clusterctl service rollback nosuch
		1 | no such service & nosuch | clusterctl service rebalance --dry-run nosuch
		1 | no such service & nosuch | clusterctl service rm nosuch
		1 | no such service & nosuch | clusterctl service ps nosuch
		2 | --filter & bogus & desired-state | clusterctl service ps --filter bogus=1 nosuch
		1 | desired-state=bogus & running & shutdown | clusterctl service ps --filter desired-state=bogus nosuch
		2 | --format & .Bogus & .CurrentState | clusterctl service ps --format '{{.Bogus}}' nosuch
		2 | --format & not closed | clusterctl service ps --format '{{' nosuch
		2 | --filter & bogus & KEY=VALUE | clusterctl service ls --filter bogus
		1 | mode=bogus & replicated & global | clusterctl service ls --filter mode=bogus
		2 | unexpected argument & extra | clusterctl service ls extra
		1 | no such service & nosuch | clusterctl service inspect nosuch
		1 | nosuch | clusterctl service logs nosuch
		2 | --tail & x & number | clusterctl service logs --tail x nosuch
		2 | --since & x & 10m | clusterctl service logs --since x nosuch
		2 | --since & 2020-99-99 | clusterctl service logs --since 2020-99-99 nosuch
		1 | no such service & nosuch | clusterctl service explain nosuch
		2 | task bogus | clusterctl task bogus
		1 | no such task & nosuch | clusterctl task inspect nosuch
		2 | missing an argument & TASK | clusterctl task migrate
		2 | --to & id or the name | clusterctl task migrate --to "" nosuch
		2 | --freeze-budget & soon & 500ms | clusterctl task migrate --freeze-budget soon nosuch
		2 | --max-rounds & 0 & 1 to 100 | clusterctl task migrate --max-rounds 0 nosuch
		2 | --timeout & 10 & 500ms | clusterctl task migrate --timeout 10 nosuch
		3 | no such task & nosuch | clusterctl task migrate nosuch
		2 | --timeout & 25h & 24h | clusterctl task migrate --timeout 25h nosuch
		2 | --freeze-budget & 2h & 1h | clusterctl task migrate --freeze-budget 2h nosuch
		2 | --filter & colour & service | clusterctl task migrations --filter colour=red
		1 | state & flying & rolled-back | clusterctl task migrations --filter state=flying
		1 | no such migration & nosuch | clusterctl task cancel-migration nosuch
		2 | --filter & bogus | clusterctl task ls --filter bogus=1
	EOT
}

@test "networks" {
	check_table h1 <<-'EOT'
		2 | Usage: clusterctl network COMMAND | clusterctl network
		2 | missing an argument & NETWORK | clusterctl network create
		2 | unexpected argument & b | clusterctl network create a b
		2 | --driver & x & overlay, bridge, macvlan, ipvlan, vlan | clusterctl network create -d x a
		2 | --subnet & 10.0.5.1/24 & 10.0.5.0/24 | clusterctl network create --subnet 10.0.5.1/24 a
		2 | --subnet & x & 10.0.1.0/24 | clusterctl network create --subnet x a
		2 | --subnet fd00::/64 & --ipv6 | clusterctl network create --subnet fd00::/64 a
		2 | --subnet 10.0.5.0/24 & overlaps & 10.0.0.0/16 | clusterctl network create --subnet 10.0.0.0/16 --subnet 10.0.5.0/24 a
		2 | --gateway & 10.0.5.1 & no --subnet | clusterctl network create --gateway 10.0.5.1 a
		2 | --gateway & x & IP address | clusterctl network create --subnet 10.0.5.0/24 --gateway x a
		2 | --gateway & 10.0.5.2 & has one | clusterctl network create --subnet 10.0.5.0/24 --gateway 10.0.5.1 --gateway 10.0.5.2 a
		2 | --ip-range & 10.0.6.0/25 & no --subnet | clusterctl network create --subnet 10.0.5.0/24 --ip-range 10.0.6.0/25 a
		2 | --aux-address & 10.0.5.3 & NAME=IP | clusterctl network create --subnet 10.0.5.0/24 --aux-address 10.0.5.3 a
		2 | --ipv6 & x & true or false | clusterctl network create --ipv6=x a
		2 | --opt & =x & KEY=VALUE | clusterctl network create --opt =x a
		2 | --label & a b=c & blanks | clusterctl network create --label 'a b=c' a
		1 | NETWORK & a b | clusterctl network create 'a b'
		1 | --opt & bogus | clusterctl network create --opt bogus=1 a
		1 | --opt & mtu & x | clusterctl network create --opt mtu=x a
		1 | --opt & parent | clusterctl network create -d macvlan a
		1 | --opt & id | clusterctl network create -d vlan --opt parent=eth0 --opt id=9999 a
		1 | ingress | clusterctl network create --subnet 10.255.0.0/16 a
		1 | bridge | clusterctl network create bridge
		2 | --filter & bogus & driver | clusterctl network ls --filter bogus=1
		1 | driver=bogus & overlay | clusterctl network ls --filter driver=bogus
		2 | --format & .Bogus & .Subnets | clusterctl network ls --format '{{.Bogus}}'
		2 | unexpected argument & x | clusterctl network ls x
		2 | NETWORK | clusterctl network inspect
		1 | no such network & nosuch | clusterctl network inspect nosuch
		1 | no such network & nosuch | clusterctl network check nosuch
		2 | --format & x & table, json | clusterctl network check --format x
		2 | NETWORK | clusterctl network rm
		1 | no such network & nosuch | clusterctl network rm nosuch
		1 | bridge & predefined | clusterctl network rm bridge
		1 | ingress & predefined | clusterctl network rm ingress
	EOT
}

@test "nodes, tokens, images" {
	check_table h1 <<-'EOT'
		2 | --filter & bogus & availability | clusterctl node ls --filter bogus=1
		1 | role=bogus & worker & manager | clusterctl node ls --filter role=bogus
		1 | no such node & nosuch | clusterctl node inspect nosuch
		1 | no such node & nosuch | clusterctl node ps nosuch
		2 | --timeout & --wait | clusterctl node drain --timeout 5s h1
		2 | --timeout & soon | clusterctl node drain --wait --timeout soon h1
		1 | no such node & nosuch | clusterctl node drain --wait nosuch
		1 | no such node & nosuch | clusterctl node activate nosuch
		2 | nothing to change & --availability | clusterctl node update h1
		2 | --availability & x & drain | clusterctl node update --availability x h1
		2 | --role & x & worker, manager | clusterctl node update --role x h1
		2 | --label-add & =x & KEY=VALUE | clusterctl node update --label-add =x h1
		2 | --label-add & a b=x & blanks | clusterctl node update --label-add 'a b=x' h1
		1 | no such node & nosuch | clusterctl node update --label-add a=b nosuch
		1 | no such node & nosuch | clusterctl node promote nosuch
		1 | h1 & last manager | clusterctl node demote h1
		1 | h1 & manager & demote | clusterctl node rm --force h1
		2 | worker & manager & bogus | clusterctl join-token bogus
		2 | unexpected argument | clusterctl join-token worker manager
		2 | --role & x & worker | clusterctl join-token create --role x
		2 | --ttl & x & 500ms | clusterctl join-token create --ttl x
		1 | ttl & 100000h & 8784h | clusterctl join-token create --ttl 100000h
		2 | --uses & x & 4294967295 | clusterctl join-token create --uses x
		2 | --label & =x & KEY=VALUE | clusterctl join-token create --label =x
		1 | role=x & worker | clusterctl join-token ls --filter role=x
		1 | nosuch | clusterctl join-token rm nosuch
		2 | X Y & lower case | clusterctl image pull 'X Y'
		2 | unexpected argument & b | clusterctl image pull a b
		2 | --input & /nonexistent | clusterctl image load -i /nonexistent
		1 | archive & empty | clusterctl image load
		2 | --filter & bogus & reference & digest | clusterctl image ls --filter bogus=1
		1 | reference & missing | clusterctl image ls --filter reference=
		1 | nosuch:1 & name & digest | clusterctl image rm nosuch:1
	EOT
}

@test "init, join, leave, info and the global flags" {
	check_table h2 <<-'EOT'
		1 | nosuchif & eth0 | clusterctl init --advertise-addr nosuchif
		1 | 10.1.1.1 & 10.77.0.2 | clusterctl init --advertise-addr 10.1.1.1
		2 | --advertise-addr & 10.77.0.2:99999 & HOST:PORT | clusterctl init --advertise-addr 10.77.0.2:99999
		2 | --listen-addr & x:y & HOST:PORT | clusterctl init --listen-addr x:y
		1 | 10.1.1.1:2377 & assign | clusterctl init --listen-addr 10.1.1.1:2377
		2 | --availability & x & drain | clusterctl init --availability x
		2 | --cert-expiry & 1s & 1h | clusterctl init --cert-expiry 1s
		2 | --dispatcher-heartbeat & 1ms & 50ms to 1m | clusterctl init --dispatcher-heartbeat 1ms
		2 | --default-addr-pool & x & 10.0.1.0/24 | clusterctl init --default-addr-pool x
		2 | --default-addr-pool & fd00::/48 & IPv4 | clusterctl init --default-addr-pool fd00::/48
		2 | --default-addr-pool & 10.0.5.0/25 & 24 bits | clusterctl init --default-addr-pool 10.0.5.0/25
		2 | --default-addr-pool-mask-length & 31 & 8 to 29 | clusterctl init --default-addr-pool-mask-length 31
		2 | --task-history-limit & 5000 & 1000 | clusterctl init --task-history-limit 5000
		2 | --etcd-ca | clusterctl init --etcd-ca /nonexistent
		1 | ftp://x & https://HOST:PORT | clusterctl init --etcd-endpoints ftp://x
		2 | unexpected argument & extra | clusterctl init extra
		2 | HOST:PORT | clusterctl join
		2 | --token & SKEIN-1- | clusterctl join --token x 10.77.0.1
		2 | --token & --token-file & exclude | clusterctl join --token x --token-file y 10.77.0.1
		2 | --token-file & /nonexistent | clusterctl join --token-file /nonexistent 10.77.0.1
		1 | not part of a cluster | clusterctl leave
		2 | --force & x & true or false | clusterctl leave --force=x
		2 | --format & .Bogus & .State | clusterctl info --format '{{.Bogus}}'
		2 | unexpected argument & extra | clusterctl version extra
		2 | zsh & bash | clusterctl completion zsh
		2 | unknown flag & --bogus | clusterctl --bogus
		2 | --host & --tls-ca & --tls-key | clusterctl --host h1 node ls
		2 | --host & a b & HOST:PORT | clusterctl --host 'a b' --tls-ca x --tls-cert x --tls-key x node ls
		1 | --tls-ca & /nonexistent | clusterctl --host h1 --tls-ca /nonexistent --tls-cert x --tls-key x node ls
		1 | /nonexistent/agent.sock & cluster-agent | clusterctl --run-dir /nonexistent node ls
		2 | --host & before the command | clusterctl node ls --host x
		2 | unknown command & bogus | clusterctl help bogus
		1 | not part of a cluster & clusterctl init | clusterctl service ls
	EOT
	# refused inits leave a host that can still be anything
	[ "$(ctl h2 info --format '{{.State}}')" = inactive ]
	[ -z "$(bed run h2 sh -c 'ls -A /var/lib/skein/identity /var/lib/skein/etcd 2>/dev/null')" ]
	ctl h1 join-token -q worker >"$SKEIN_TESTBED/h2/run/token"
	ctl h2 join --token-file /run/skein/token 10.77.0.1
	check_table h2 <<-'EOT'
		1 | already part of a cluster & leave | clusterctl join --token-file /run/skein/token 10.77.0.1
		1 | already part of a cluster & leave | clusterctl init
		1 | not a manager & 10.77.0.1:2377 | clusterctl service create x
	EOT
}

@test "the daemons refuse flags and keys of files that they do not know" {
	printf 'listen = 0.0.0.0\nlsten = x\n' >"$SKEIN_TESTBED/h1/etc/typo.conf"
	printf 'peer-port = x\n' >"$SKEIN_TESTBED/h1/etc/value.conf"
	check_table h1 <<-'EOT'
		2 | unknown flag & --bogus | cluster-agent --bogus
		2 | unexpected argument & extra | cluster-agent extra
		2 | --peer-port & 0 & 1 to 65535 | cluster-agent --peer-port 0
		2 | --log-level & x & debug | cluster-agent --log-level x
		2 | --join & --token-file | cluster-agent --join 10.77.0.1:2377
		2 | typo.conf:2 & lsten & listen | cluster-agent --config /etc/skein/typo.conf
		2 | value.conf:1 & peer-port & 65535 | cluster-agent --config /etc/skein/value.conf
		2 | /nonexistent | cluster-agent --config /nonexistent
		2 | --bogus | cluster-manager --bogus
		2 | --advertise-address | cluster-manager
		2 | --leader-ttl & x & 500ms | cluster-manager --leader-ttl x --advertise-address a:1
	EOT
}

@test "every flag of every command: no value, a wrong truth, an unknown one" {
	local command
	commands >"$SKEIN_TESTBED/h1/run/commands"
	[ "$(wc -l <"$SKEIN_TESTBED/h1/run/commands")" -ge 30 ]
	cat >"$SKEIN_TESTBED/h1/run/flags.sh" <<-'EOT'
		bad=0 flags=0
		expect() { # STATUS-2 command with texts
			local text=$1 got=0 out
			shift
			out=$(timeout 20 "$@" 2>&1 </dev/null) || got=$?
			if [ $got -ne 2 ] || [[ $out != *$text* ]]; then echo "exit $got: $*: $out"; bad=1; fi
		}
		while read -r command; do
			expect "unknown flag --no-such-thing" clusterctl $command --no-such-thing
			while read -r flag arg; do
				flags=$((flags + 1))
				case $flag in --help) continue ;; esac
				if [ -n "$arg" ]; then
					expect "$flag needs a value: " clusterctl $command "$flag"
				else
					expect "$flag: invalid value \"maybe\": expected true or false" clusterctl $command "$flag=maybe"
				fi
			done < <(clusterctl $command --help | sed -n '/^Options:/,/^$/s/^ \{2,6\}\(-., \)\?\(--[a-z0-9-]*\)\( [^ ]\+\)\?.*/\2\3/p')
		done </run/skein/commands
		echo "$flags flags"
		exit $bad
	EOT
	run bed run h1 bash /run/skein/flags.sh
	echo "$output"
	[ "$status" -eq 0 ]
	[ "${output%% *}" -gt 200 ]
}

@test "nothing half-created stayed" {
	inventory >"$BATS_FILE_TMPDIR/after"
	diff "$BATS_FILE_TMPDIR/before" "$BATS_FILE_TMPDIR/after"
}

@test "--help of every command comes at once, with an example, also without an agent" {
	local command
	commands >"$SKEIN_TESTBED/h1/run/commands"
	while read -r command; do
		# shellcheck disable=SC2086
		run timeout 5 "$SKEIN_BIN/clusterctl" --run-dir /nonexistent $command --help
		[ "$status" -eq 0 ]
		[[ $output == "Usage: clusterctl $command"* ]]
		[[ $output == *$'\nExample:\n  clusterctl '* || $output == *$'\nExample:\n  '*"clusterctl $command"* ]]
	done <"$SKEIN_TESTBED/h1/run/commands"
	for command in "" service node task image join-token; do
		# shellcheck disable=SC2086
		run timeout 5 "$SKEIN_BIN/clusterctl" $command --help
		[ "$status" -eq 0 ]
		[[ $output == *Example* ]]
	done
	for command in cluster-agent cluster-manager; do
		run timeout 5 "$SKEIN_BIN/$command" --help
		[ "$status" -eq 0 ]
		[[ $output == *Example* ]]
	done
}

@test "bash completion loads and completes commands, flags, values and names" {
	ctl h1 service create --name web --replicas 0 --detach none:1
	cat >"$SKEIN_TESTBED/h1/run/complete.sh" <<-'EOT'
		source <(clusterctl completion bash)
		complete -p clusterctl >/dev/null || exit 1
		complete_line() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _clusterctl; echo "${COMPREPLY[*]}" | tr '\n' ' '; echo; }
		complete_line clusterctl ser
		complete_line clusterctl service sc
		complete_line clusterctl service create --replicas-
		complete_line clusterctl service create --mode ""
		complete_line clusterctl service create --mode = gl
		complete_line clusterctl service rm ""
		complete_line clusterctl node update --availability dr
		complete_line clusterctl node inspect h
		complete_line clusterctl join-token ma
	EOT
	run bed run h1 bash /run/skein/complete.sh
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "service " ]
	[ "${lines[1]}" = "scale " ]
	[ "${lines[2]}" = "--replicas-max-per-node " ]
	[ "${lines[3]}" = "replicated global " ]
	[ "${lines[4]}" = "global " ]
	[ "${lines[5]}" = "web " ]
	[ "${lines[6]}" = "drain " ]
	[ "${lines[7]}" = "h1 h2 " ] || [ "${lines[7]}" = "h2 h1 " ]
	[ "${lines[8]}" = "manager " ]
	ctl h1 service rm web
}

@test "manual pages are made for every command and are good roff" {
	local dir=$BATS_TEST_TMPDIR/man page section
	"$SKEIN_BIN/clusterctl" __man "$dir"
	"$SKEIN_BIN/cluster-agent" --man >"$dir/cluster-agent.8"
	"$SKEIN_BIN/cluster-manager" --man >"$dir/cluster-manager.8"
	while read -r page; do
		[ -s "$dir/clusterctl-${page// /-}.1" ]
	done < <(commands | grep -v '^completion$')
	for page in "$dir"/*; do
		[[ $(head -n 1 "$page") == .TH* ]]
		for section in NAME SYNOPSIS DESCRIPTION; do grep -q "^.SH $section" "$page"; done
		# a line that begins with a dot is a request that man(7) knows
		run grep -vE '^\.(TH|SH|TP|PP|B|BR|I|IR|RB|nf|fi|br|RS|RE|IP)( |$)' <(grep '^\.' "$page")
		[ -z "$output" ]
		if command -v groff >/dev/null; then
			run groff -ww -man -Tutf8 -z "$page"
			[ "$status" -eq 0 ]
			[ -z "$output" ]
		fi
	done
}
