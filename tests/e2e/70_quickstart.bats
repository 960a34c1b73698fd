#!/usr/bin/env bats
# deploy/quickstart, as the README has it: up, up again, down without a trace. Runs inside a host of the test bed whose
# /usr/local/bin, /etc/bash_completion.d, /var/log, /etc/systemd and build directory are its own.
load common

setup_file() {
	export BATS_TEST_TIMEOUT=$((240 * ${SKEIN_SLOW:-1}))
	# What a run that was cut off left behind is empty by now and goes; one that is in use stays.
	own_cgroups | while read -r dir; do find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || :; done
	if own_cgroups | grep .; then
		echo "an agent uses the cgroup \"skein\" of this machine: stop it first" >&2
		return 1
	fi
	bed down
	bed host h1
	mkdir "$SKEIN_TESTBED"/h1/{tmp,upper,work}
	local dir
	for dir in /usr/local/bin /etc/bash_completion.d /var/log /etc/systemd /run/systemd; do
		if [ -d $dir ] || [ $dir = /etc/bash_completion.d ]; then bed run h1 sh -c "mkdir -p $dir && mount -t tmpfs none $dir"; fi
	done
	bed run h1 mkdir -p /etc/systemd/system
	# The build that the other suites run, so that little is left to compile; what changes is kept apart.
	bed run h1 mount -t overlay -o "lowerdir=$(dirname "$SKEIN_BIN"),upperdir=$SKEIN_TESTBED/h1/upper,workdir=$SKEIN_TESTBED/h1/work" \
		none "$(dirname "$SKEIN_BIN")"
	traces >"$SKEIN_TESTBED/before"
}

refute() { if "$@"; then return 1; fi; }
# As an operator would, not with the programs of the build.
host() {
	bed run h1 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TMPDIR="$SKEIN_TESTBED/h1/tmp" \
		SKEIN_ADVERTISE=10.77.0.1 SKEIN_BUILD="$SKEIN_BIN" CCACHE_DIR="$SKEIN_TESTBED/ccache" "$@"
}
own_cgroups() { find /sys/fs/cgroup -maxdepth 2 -name skein -type d; }
# All that a run could leave: processes, files, mounts, links, cgroups.
traces() {
	bed run h1 sh -c 'for p in /proc/[0-9]*; do cat $p/comm; done 2>/dev/null' | grep -vxE 'sh|cat|sort' | sort
	bed run h1 find /usr/local/bin /etc/bash_completion.d /var/log /etc/systemd /etc/skein /var/lib/skein /run/skein "$SKEIN_TESTBED/h1/tmp"
	bed run h1 cut -d' ' -f2,3 /proc/mounts
	bed run h1 sh -c 'cd /sys/class/net && echo *; ls /run/netns 2>/dev/null; ip rule; nft list ruleset; :'
	own_cgroups
}

@test "on a fresh host it ends with three running tasks, reached from outside and from inside" {
	run host "$ROOT/deploy/quickstart"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"5/5  clusterctl service create --name web --replicas 3"* ]]
	[[ $output == *"clusterctl join --token SKEIN-1-"*"10.77.0.1:2377"* ]]
	[ "$(grep -cE '^[a-z0-9]{12} +web\.[123] .*h1 +Running +Running ' <<<"$output")" = 3 ]
	[[ $output == *"| web: hello from"* ]]
	[ "$(grep -c '^hello from' <<<"$output")" = 2 ] # by the published port, and by the virtual address
	[[ $output == *"visitor.1"*"| web is 10."* ]]
	[[ $output == *"deploy/quickstart --down"* ]]
	[ "$(host clusterctl service ls --format '{{.Name}} {{.Replicas}}')" = "web 3/3" ]
}

@test "what it installed is of this build and completes commands" {
	local p
	for p in cluster-agent cluster-manager clusterctl; do
		host cmp "/usr/local/bin/$p" "$SKEIN_BIN/$p"
	done
	[ "$(host bash -c '. /etc/bash_completion.d/clusterctl; COMP_WORDS=(clusterctl service sca) COMP_CWORD=2; _clusterctl; echo "${COMPREPLY[*]}"')" = scale ]
	[ "$(host stat -c %a /var/lib/skein/identity/node.key)" = 600 ]
}

@test "running it again is harmless" {
	local tasks containers
	tasks=$(host clusterctl service ps web --no-trunc -q | sort)
	containers=$(host pgrep -x -f 'httpd -f -p 80 -h /tmp/www' | sort)
	[ "$(wc -l <<<"$containers")" = 3 ]
	run host "$ROOT/deploy/quickstart"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"This host is in a cluster already."* ]]
	[[ $output == *"The service web is there already."* ]]
	[ "$(host clusterctl service ps web --no-trunc -q | sort)" = "$tasks" ]
	[ "$(host pgrep -x -f 'httpd -f -p 80 -h /tmp/www' | sort)" = "$containers" ]
}

@test "--down leaves no trace, and is harmless when nothing is left" {
	run host "$ROOT/deploy/quickstart" --down
	echo "$output"
	[ "$status" -eq 0 ]
	same() { diff "$SKEIN_TESTBED/before" <(traces); }
	wait_for 10 same || same
	refute host test -e "$SKEIN_BIN"
	run host "$ROOT/deploy/quickstart" --down
	[ "$status" -eq 0 ]
	same
}

@test "what it does not know it does not do" {
	run host "$ROOT/deploy/quickstart" --dwon
	[ "$status" -eq 2 ]
	[[ $output == *--down* ]]
	run host "$ROOT/deploy/quickstart" --help
	[ "$status" -eq 0 ]
	[[ $output == *--down* ]]
}
