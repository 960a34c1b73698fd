#!/usr/bin/env bash
# create -> N running, against the same containers started by the bare runtime, interleaved in one run.
#   tests/bench/start.sh [ROUNDS]      (needs root; programs from SKEIN_BIN, default build/dev)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
rounds=${1:-3}
export SKEIN_BIN=${SKEIN_BIN:-$PWD/build/dev} SKEIN_TESTBED=/tmp/skein-bench
bed=tests/e2e/testbed
$bed down
$bed up 1
trap '$bed down' EXIT
$bed ctl h1 init --advertise-addr 10.77.0.1 >/dev/null
deploy/dev/make-image bench:1 "$SKEIN_TESTBED/image.tar" --cmd 'exec sleep 1000000'
$bed ctl h1 image load -q -i "$SKEIN_TESTBED/image.tar" >/dev/null 2>&1 || $bed ctl h1 image load -i "$SKEIN_TESTBED/image.tar" >/dev/null
runtime=$($bed ctl h1 node inspect h1 | jq -r '.[0].description.features | if type == "array" then (.[] | select(.key == "runtime") | .value) else .runtime end')
runtime=${runtime##*/}
layer=$($bed run h1 sh -c 'ls -d /var/lib/skein/images/layers/*' | head -1)

now_ms() { echo $(( $(date +%s%N) / 1000000 )); }

# The floor: the same image, overlay root and runtime, as many at a time as there are cores.
bare() {
	local n=$1 start end
	$bed run h1 sh -c "
		rm -rf /var/lib/skein/bare; mkdir -p /var/lib/skein/bare; cd /var/lib/skein/bare
		for i in \$(seq $n); do mkdir -p b\$i/rootfs b\$i/up b\$i/work; done
		$runtime spec -b b1 2>/dev/null || (cd b1 && $runtime spec)
		sed -i 's/\"terminal\": true/\"terminal\": false/; s/\"sh\"/\"sleep\",\"1000000\"/; s/\"\\/bin\\/sh\"/\"sleep\",\"1000000\"/' b1/config.json
		for i in \$(seq 2 $n); do cp b1/config.json b\$i/; done"
	start=$(now_ms)
	$bed run h1 sh -c "cd /var/lib/skein/bare; seq $n | xargs -P $(nproc) -I{} sh -c '
		mount -t overlay overlay -o lowerdir=$layer,upperdir=b{}/up,workdir=b{}/work b{}/rootfs &&
		$runtime run -d -b b{} bare{} </dev/null >/dev/null 2>b{}/err'"
	end=$(now_ms)
	echo $((end - start))
	$bed run h1 sh -c "for i in \$(seq $n); do $runtime delete -f bare\$i; umount /var/lib/skein/bare/b\$i/rootfs; done" >/dev/null 2>&1
}

ours() {
	local n=$1 start end
	start=$(now_ms)
	$bed ctl h1 service create -q --name bench --network none --replicas "$n" bench:1 >/dev/null
	end=$(now_ms)
	echo $((end - start))
	$bed ctl h1 service rm bench >/dev/null
	local limit=$(( $(date +%s) + 60 ))
	until [ -z "$($bed run h1 ls /var/lib/skein/tasks)" ]; do
		[ "$(date +%s)" -lt $limit ] || { echo "tasks are left" >&2; exit 1; }
		read -rt 0.05 <> <(:) || :
	done
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

echo "runtime $runtime, $rounds rounds, medians"
printf '%6s %14s %14s %8s\n' N 'service create' "bare $runtime" ratio
for n in 1 10 50; do
	: >"$SKEIN_TESTBED/a"
	: >"$SKEIN_TESTBED/b"
	for _ in $(seq "$rounds"); do
		ours "$n" >>"$SKEIN_TESTBED/a"
		bare "$n" >>"$SKEIN_TESTBED/b"
	done
	a=$(median <"$SKEIN_TESTBED/a")
	b=$(median <"$SKEIN_TESTBED/b")
	printf '%6d %11d ms %11d ms %8s\n' "$n" "$a" "$b" "$(awk "BEGIN { printf \"%.2f\", $a / $b }")"
done
