# The peer of the benchmarks: dockerd in swarm mode inside a test-bed host, when the package docker.io is installed.
# Sourced behind common.bash. Nothing of it is needed to build or run Skein.

# What dockerd leaves outside its data and exec roots; only what was not there before is removed.
docker_traces=()
for trace in /run/docker /run/containerd /etc/docker/key.json; do
	if [ ! -e "$trace" ]; then docker_traces+=("$trace"); fi
done
for trace in /sys/fs/cgroup/*/; do
	if [ ! -e "${trace}docker" ]; then docker_traces+=("${trace}docker"); fi
done

docker_forget() {
	local trace
	for trace in "${docker_traces[@]}"; do
		case $trace in
		/sys/fs/cgroup/*) find "$trace" -depth -type d -exec rmdir {} + 2>/dev/null || : ;;
		*) rm -rf --one-file-system "$trace" ;;
		esac
	done
}

# Start dockerd in a host (made if need be) with data and exec roots of its own; false when there is none to start.
docker_up() {
	local host=$1
	command -v dockerd >/dev/null || return 1
	trap 'bed down; docker_forget' EXIT
	bed boot "$host" >/dev/null 2>&1 || return 1
	bed run "$host" setsid -f dockerd --data-root /var/lib/skein/docker --exec-root /run/skein/docker \
		--pidfile /run/skein/dockerd.pid -H unix:///run/skein/docker.sock --storage-driver overlay2 \
		--iptables=false --ip6tables=false --ip-forward=false --bridge=none \
		</dev/null >"$SKEIN_TESTBED/$host/dockerd.log" 2>&1
	if ! wait_for 30 docker "$host" info; then
		tail -3 "$SKEIN_TESTBED/$host/dockerd.log" >&2
		return 1
	fi
	docker "$host" load -q -i "$SKEIN_TESTBED/image.tar" >/dev/null
	docker "$host" swarm init --advertise-addr eth0 --listen-addr eth0 >/dev/null
}

docker() {
	local host=$1
	shift
	bed run "$host" docker -H unix:///run/skein/docker.sock "$@"
}

docker_empty() { [ -z "$(docker "$1" ps -aq)" ]; }

# As create_us: one `docker service create` of N replicas; it returns when all run (its monitor period is set to nothing).
docker_create_us() {
	script "$1" '
		s=${EPOCHREALTIME/[.,]/}
		docker -H unix:///run/skein/docker.sock service create -q --detach --name bench --no-resolve-image \
			--update-monitor 0s --stop-grace-period 0s --replicas "$1" bench:1 >/dev/null
		until [ "$(docker -H unix:///run/skein/docker.sock service ls --format "{{.Replicas}}")" = "$1/$1" ]; do sleep 0.02; done
		echo $((${EPOCHREALTIME/[.,]/} - s))' "$2"
	docker "$1" service rm bench >/dev/null
	wait_for 120 docker_empty "$1"
}
