# Helpers of the suites of networks. Observers are programs of the host, in the namespace that they look at:
# ip, bridge, nft, dig, tcpdump, wrk, iperf3; netecho (tests/support/netecho.c) is both ends of the connections.

# Compile netecho (where there is no compiler it stands beside the programs), load the image echo:1 that serves with it (ports 80, 81 and 5000) on a host.
net_image() {
	if [ -x "$SKEIN_BIN/netecho" ]; then
		cp "$SKEIN_BIN/netecho" "$SKEIN_TESTBED/"
	else
		gcc -O2 -static -Wall -o "$SKEIN_TESTBED/netecho" "$ROOT/tests/support/netecho.c"
	fi
	load_image "$1" echo:1 --file "$SKEIN_TESTBED/netecho:/bin/netecho" --cmd 'exec netecho serve 80 81 5000'
}

# Every host has an IPv6 address in the underlay as well: fd77::N.
underlay_v6() {
	local h
	for h; do bed run "$h" ip addr add "fd77::${h#h}/64" dev eth0 nodad; done
}

# ---------------------------------------------------------------- tasks

# "slot node task" of the tasks of a service that are wanted.
tasks() {
	ctl h1 service ps "$1" --no-trunc --filter desired-state=running --format '{{.Name}} {{.Node}} {{.ID}}' | sed "s/^$1\.//" | sort -V
}
node_of() { tasks "$1" | awk -v s="$2" '$1 == s { print $2 }'; }
# The first slot that runs on a node.
slot_on() { tasks "$1" | awk -v n="$2" '$2 == n { print $1; exit }'; }
pid_of() { ctl h1 task inspect --format '{{.status.pid}}' "$(tasks "$1" | awk -v s="$2" '$1 == s { print $3 }')"; }

# A program of the host in the network namespace of a task: in_net SERVICE SLOT COMMAND...
in_net() {
	local node pid
	node=$(node_of "$1" "$2") pid=$(pid_of "$1" "$2")
	shift 2
	bed run "$node" nsenter -t "$pid" -n -- "$@"
}
# A program of the container in all its namespaces.
in_task() {
	local node pid
	node=$(node_of "$1" "$2") pid=$(pid_of "$1" "$2")
	shift 2
	bed run "$node" nsenter -t "$pid" -m -n -u -i -- "$@"
}

# ---------------------------------------------------------------- addresses

uses() { ctl h1 network inspect "$1" | jq -r --arg kind "$2" --arg name "$3" ".[0].uses[] | select(.kind == \$kind and .name == \$name) | .$4 | split(\"/\")[0]"; }
vip() { uses "$1" vip "$2" "${3:-ipv4}"; }
address() { uses "$1" task "$2" "${3:-ipv4}"; }
mac() { uses "$1" task "$2" mac; }
# A published port as the cluster gave it.
port_of() { ctl h1 service inspect "$1" | jq -r --argjson t "$2" '.[0].endpoint.ports[] | select(.target == $t) | .published'; }

# ---------------------------------------------------------------- what was answered

# Lines "HOSTNAME PEER WORDS" of netecho: by how many host names, and whether each had its share (half to double the mean).
answerers() { awk '{ print $1 }' | sort -u | wc -l; }
is_even() {
	awk -v want="$1" '{ n[$1]++; all++ } END {
		for (h in n) { hosts++; if (n[h] * 2 < all / want || n[h] > 2 * all / want) bad = 1 }
		for (h in n) print h, n[h] > "/dev/stderr"
		exit bad || hosts != want }'
}
peers() { awk '{ print $2 }' | sort -u; }

# ask FROM-SERVICE SLOT [-u] ADDRESS PORT [COUNT]
ask() { local s=$1 n=$2; shift 2; in_net "$s" "$n" "$SKEIN_TESTBED/netecho" ask "$@"; }
# From a host: ask_from HOST [-u] ADDRESS PORT [COUNT]
ask_from() { local h=$1; shift; bed run "$h" "$SKEIN_TESTBED/netecho" ask "$@"; }
answers() { ask "$@" >/dev/null; }
answers_from() { ask_from "$@" >/dev/null; }

# All tasks of a service stand in the balancing of every other one: each is met.
all_met() { [ "$(ask "$1" "$2" "$3" "$4" $((3 * $5)) | answerers)" = "$5" ]; }
all_met_from() { [ "$(ask_from "$1" "$2" "$3" $((3 * $4)) | answerers)" = "$4" ]; }

# ---------------------------------------------------------------- things that go on behind a test

# background HOST COMMAND...: its output in $BACK/out, its status in $BACK/status; ends by `touch $BACK/stop`.
background() {
	local host=$1
	shift
	BACK=$(mktemp -d "$SKEIN_TESTBED/back.XXXXXX")
	( s=0; bed run "$host" "$@" >"$BACK/out" 2>&1 || s=$?; echo "$s" >"$BACK/status" ) 3>&- &
}
# Waits for its end: its status.
background_end() {
	touch "$1/stop"
	wait_for 30 test -s "$1/status"
	cat "$1/out" >&2
	return "$(cat "$1/status")"
}
# Constant load of N connections at a time, each with one question: load_start HOST PID-or-"" ADDRESS PORT N
load_start() {
	local host=$1 pid=$2
	shift 2
	BACK=$(mktemp -d "$SKEIN_TESTBED/back.XXXXXX")
	if [ -n "$pid" ]; then
		set -- nsenter -t "$pid" -n -- "$SKEIN_TESTBED/netecho" load "$1" "$2" "$BACK/stop" "$3"
	else
		set -- "$SKEIN_TESTBED/netecho" load "$1" "$2" "$BACK/stop" "$3"
	fi
	( s=0; bed run "$host" "$@" >"$BACK/out" 2>&1 || s=$?; echo "$s" >"$BACK/status" ) 3>&- &
}
# One connection that stays: hold_start HOST PID-or-"" ADDRESS PORT; returns once it is answered.
hold_start() {
	local host=$1 pid=$2
	shift 2
	BACK=$(mktemp -d "$SKEIN_TESTBED/back.XXXXXX")
	if [ -n "$pid" ]; then
		set -- nsenter -t "$pid" -n -- "$SKEIN_TESTBED/netecho" hold "$1" "$2" "$BACK/stop"
	else
		set -- "$SKEIN_TESTBED/netecho" hold "$1" "$2" "$BACK/stop"
	fi
	( s=0; bed run "$host" "$@" >"$BACK/out" 2>&1 || s=$?; echo "$s" >"$BACK/status" ) 3>&- &
	wait_for 10 grep -q connected "$BACK/out"
}

# ---------------------------------------------------------------- a service under load

# Managers h1-h3, worker h4, h5 outside; four tasks of "web" in "front", published at 8080; a "client" on each node. All meet all.
web_for_load() {
	local node
	cluster_up 3 1
	bed host h5
	net_image h1
	ctl h1 network create front
	ctl h1 service create -q --name web --replicas 4 --stop-grace-period 10s --network front -p 8080:80 echo:1
	ctl h1 service create -q --name client --mode global --network front --ready-wait 0s echo:1
	for node in h1 h2 h3 h4; do wait_for 20 all_met client "$(slot_on client $node)" "$(vip front web)" 80 4; done
	for node in 1 2 3 4; do wait_for 20 all_met_from h5 10.77.0.$node 8080 4; done
}
client_pid() { pid_of client "$(slot_on client "$1")"; }
# Load by VIP from two nodes and by the published port from outside; `loads` holds their directories.
loads_begin() {
	loads=()
	load_start h2 "$(client_pid h2)" "$(vip front web)" 80 4; loads+=("$BACK")
	load_start h4 "$(client_pid h4)" "$(vip front web)" 80 4; loads+=("$BACK")
	load_start h5 "" 10.77.0.1 8080 4; loads+=("$BACK")
	load_start h5 "" 10.77.0.4 8080 4; loads+=("$BACK")
}
loads_end() {
	local d bad=0
	for d in "${loads[@]}"; do background_end "$d" || bad=1; done
	return $bad
}
# ---------------------------------------------------------------- kernel state

# Rules of a namespace that are not ours, with handles: what must stay byte for byte.
foreign_rules() {
	bed run "$1" nft -j -a list ruleset | jq -c '.nftables[] | select(.metainfo | not)
		| select((.table.name // .chain.table // .rule.table // .set.table // .map.table // .element.table // "") | startswith("skein") | not)'
}
# All network namespaces of the agent on a host that hold an overlay network.
network_namespaces() { bed run "$1" sh -c 'ls /run/skein/net' | grep -v '^task-'; }
in_overlay() { local h=$1 id; id=$(ctl h1 network inspect --format '{{.id}}' "$2"); shift 2; bed run "$h" nsenter --net="/run/skein/net/$id" -- "$@"; }

# `! COMMAND` does not fail a test.
not() { if "$@"; then return 1; fi; }
check_clean() { ctl h1 network check "$@"; }

# A test that failed must not be the reason for the next one's failure.
clear_cluster() {
	local all
	all=$(ctl h1 service ls -q)
	# shellcheck disable=SC2086
	if [ -n "$all" ]; then ctl h1 service rm $all; fi
	no_networks() { local n; n=$(ctl h1 network ls --format '{{.Name}}' | grep -vxE 'host|none|bridge|ingress') || return 0; ctl h1 network rm $n; }
	wait_for 30 no_networks || :
} >/dev/null 2>&1
