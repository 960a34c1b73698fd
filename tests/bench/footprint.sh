#!/usr/bin/env bash
# What the daemons of a manager node cost: memory and CPU time at idle and with 100 containers.
#   tests/bench/footprint.sh [SECONDS [CONTAINERS]]      (needs root; programs from SKEIN_BIN, default build/dev)
#
# The floor is an etcd of its own, without any client, with the same timing flags, in the same host at the same time.
# Where dockerd is installed, dockerd + containerd in swarm mode are the peer; monitors (conmon, containerd-shim) count
# apart, as there is one per container.
# shellcheck disable=SC1091,SC2016,SC2154
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.bash"
. "$(dirname "${BASH_SOURCE[0]}")/docker.bash"
seconds=${1:-60}
containers=${2:-100}

bed down
bed up 1
ctl h1 init --advertise-addr 10.77.0.1 >/dev/null
load_image h1 bench:1 --cmd 'exec sleep 1000000' >/dev/null
peer=
if docker_up h2; then peer=1; fi
bed run h1 setsid -f bash -c 'cd /run/skein && exec -a etcd-floor etcd --name=floor --data-dir=/run/skein/floor \
	--listen-client-urls=unix://floor.sock:1 --advertise-client-urls=unix://floor.sock:1 \
	--listen-peer-urls=http://127.0.0.1:12380 --initial-advertise-peer-urls=http://127.0.0.1:12380 \
	--initial-cluster=floor=http://127.0.0.1:12380 --heartbeat-interval=20 --election-timeout=200' </dev/null >/dev/null 2>&1
wait_for 20 bed run h1 pgrep -f '^etcd-floor '

# Sum over processes (pids inside the host): processes, RSS KiB, PSS KiB, CPU ticks.
sums() {
	script "$1" '
		n=0 rss=0 pss=0 ticks=0
		for p in $1; do
			[ -r /proc/$p/smaps_rollup ] || continue
			while read -r key value _; do
				case $key in Rss:) rss=$((rss + value)) ;; Pss:) pss=$((pss + value)) ;; esac
			done </proc/$p/smaps_rollup
			stat=$(cat /proc/$p/stat)
			set -- ${stat##*) }
			ticks=$((ticks + ${12} + ${13})) n=$((n + 1))
		done 2>/dev/null
		echo $n $rss $pss $ticks' "$2"
}

# The programs that are looked at: a label, a host, how their pids are found inside it.
labels=(agent manager etcd 'etcd alone (floor)' monitors)
hosts=(h1 h1 h1 h1 h1)
finders=('cut -d" " -f1 /run/skein/agent.pid' 'cut -d" " -f1 /run/skein/manager.pid' 'pgrep -f "^etcd --name="'
	'pgrep -f "^etcd-floor "' 'pgrep -x conmon')
if [ -n "$peer" ]; then
	labels+=('dockerd (peer)' 'containerd (peer)' 'shims (peer)')
	hosts+=(h2 h2 h2)
	finders+=('pgrep -x dockerd' 'pgrep -x containerd' 'pgrep -x containerd-shim')
fi
pids() { bed run "${hosts[$1]}" sh -c "${finders[$1]}" | tr '\n' ' '; }

hz=$(getconf CLK_TCK)
measure() {
	local title=$1 i n rss pss ticks before=() list=() pss_of=() cpu_of=()
	for i in "${!labels[@]}"; do
		list[i]=$(pids "$i" || :)
		read -r _ _ _ "before[i]" < <(sums "${hosts[i]}" "${list[i]}")
	done
	sleep "$seconds"
	echo "$title"
	printf '  %-20s %5s %9s %9s %14s %10s %10s\n' '' count RSS PSS 'CPU per minute' 'PSS/floor' 'CPU/floor'
	for i in "${!labels[@]}"; do
		read -r n rss pss ticks < <(sums "${hosts[i]}" "${list[i]}")
		pss_of[i]=$pss
		cpu_of[i]=$(((ticks - before[i]) * 1000 / hz * 60 / seconds))
		count_of[i]=$n rss_of[i]=$rss
	done
	for i in "${!labels[@]}"; do
		printf '  %-20s %5s %6s MB %6s MB %11s ms %10s %10s\n' "${labels[i]}" "${count_of[i]}" $((rss_of[i] / 1024)) \
			$((pss_of[i] / 1024)) "${cpu_of[i]}" "$(ratio "${pss_of[i]}" "${pss_of[3]}")" "$(ratio "${cpu_of[i]}" "${cpu_of[3]}")"
	done
	printf '  %-20s %5s %9s %6s MB %11s ms\n' 'agent+manager+etcd' '' '' $(((pss_of[0] + pss_of[1] + pss_of[2]) / 1024)) \
		$((cpu_of[0] + cpu_of[1] + cpu_of[2]))
	if [ -n "$peer" ]; then
		printf '  %-20s %5s %9s %9s %14s %10s %10s\n' 'against the peer' '' '' '' '' \
			"$(ratio $((pss_of[0] + pss_of[1] + pss_of[2])) $((pss_of[5] + pss_of[6])))" \
			"$(ratio $((cpu_of[0] + cpu_of[1] + cpu_of[2])) $((cpu_of[5] + cpu_of[6])))"
	fi
}

echo "$seconds s each ($(machine))"
measure idle
create_us h1 bench "$containers" >/dev/null
if [ -n "$peer" ]; then
	docker h2 service create -q --detach --name bench --no-resolve-image --stop-grace-period 0s --replicas "$containers" bench:1 >/dev/null
	docker_all() { [ "$(docker h2 service ls --format '{{.Replicas}}')" = "$containers/$containers" ]; }
	wait_for 180 docker_all
fi
measure "$containers containers"
