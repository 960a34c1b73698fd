#!/usr/bin/env bash
# create -> N running, against the same containers started by the bare runtime, interleaved in one run.
#   tests/bench/start.sh [ROUNDS [N...]]      (needs root; programs from SKEIN_BIN, default build/dev)
#
# The floor starts the very bundle that our agent made for a task: same image, overlay, configuration, runtime and
# cgroup parent, several at a time. It has no monitor and nobody to tell. Where dockerd is installed, it is measured in a
# host of its own in the same rounds: `docker service create` of the same image.
# shellcheck disable=SC1091,SC2016,SC2154
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.bash"
. "$(dirname "${BASH_SOURCE[0]}")/docker.bash"
rounds=${1:-5}
shift || :
counts=("${@:-1 10 50}")
read -ra counts <<<"${counts[*]}"

bed down
bed up 1
ctl h1 init --advertise-addr 10.77.0.1 >/dev/null
load_image h1 bench:1 --cmd 'exec sleep 1000000' >/dev/null
runtime=$(ctl h1 node inspect h1 | jq -r '.[0].description.features | if type == "array" then (.[] | select(.key == "runtime") | .value) else .runtime end')
peer=
if docker_up h2; then peer=1; fi

# The bundle of a running task becomes the pattern of the floor's bundles.
create_us h1 pattern 1 >/dev/null
script h1 '
	cd /var/lib/skein/tasks/*/
	id=$(basename "$PWD") top=/var/lib/skein/bare
	mkdir -p $top
	cp config.json $top/config.json
	cp -r etc $top/etc
	sed -i "s,/var/lib/skein/tasks/$id/etc,$top/etc,g; s,/run/skein/exec/$id/rootfs,rootfs,g; s,$id,BARE,g" $top/config.json
	awk "\$5 == \"/run/skein/exec/$id/rootfs\"" /proc/self/mountinfo | grep -o "lowerdir=[^,]*" >$top/lower' >/dev/null
ctl h1 service rm pattern >/dev/null
wait_for 60 no_tasks h1

# Time in us of N containers; bundles are made before and removed behind.
bare_us() {
	script h1 '
		n=$1 runtime=$2 jobs=$3
		cd /var/lib/skein/bare
		for i in $(seq $n); do
			mkdir -p b$i/rootfs b$i/up b$i/work
			sed "s,BARE,bare$i,g" config.json >b$i/config.json
		done
		one="mount -t overlay overlay -o $(cat lower),upperdir=b{}/up,workdir=b{}/work b{}/rootfs &&
			exec $runtime run -d -b b{} bare{} </dev/null >/dev/null 2>b{}/err"
		s=${EPOCHREALTIME/[.,]/}
		seq $n | xargs -P $jobs -I{} sh -c "$one" || { cat b*/err >&2; exit 1; }
		echo $((${EPOCHREALTIME/[.,]/} - s))
		for i in $(seq $n); do
			$runtime delete -f bare$i >/dev/null 2>&1
			umount b$i/rootfs
		done
		rm -rf b[0-9]*' "$1" "$runtime" "$(nproc)"
}

ours_us() {
	create_us h1 bench "$1"
	ctl h1 service rm bench >/dev/null
	wait_for 120 no_tasks h1
}

work=$SKEIN_TESTBED/rounds
mkdir -p "$work"
echo "runtime $runtime, $rounds rounds, medians ($(machine))"
printf '%6s %15s %15s %7s' N 'service create' "bare ${runtime##*/}" ratio
if [ -n "$peer" ]; then printf ' %15s %7s' 'docker service' 'ratio'; fi
echo
for n in "${counts[@]}"; do
	rm -f "$work"/*
	for _ in $(seq "$rounds"); do
		ours_us "$n" >>"$work/ours"
		bare_us "$n" >>"$work/bare"
		if [ -n "$peer" ]; then docker_create_us h2 "$n" >>"$work/peer"; fi
	done
	a=$(median <"$work/ours")
	b=$(median <"$work/bare")
	printf '%6d %15s %15s %7s' "$n" "$(ms "$a")" "$(ms "$b")" "$(ratio "$a" "$b")"
	if [ -n "$peer" ]; then
		p=$(median <"$work/peer")
		printf ' %15s %7s' "$(ms "$p")" "$(ratio "$a" "$p")"
	fi
	echo
done
