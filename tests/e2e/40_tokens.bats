#!/usr/bin/env bats
# Who gets in and who may ask: join tokens, provisioning by a token file, roles of certificates, secrets that stay secret.
load common

ADDR=10.77.0.1:2377
HOSTS="h1 h2 h3 h4 h5"

setup_file() {
	bed down
	bed up 4
	ctl h1 init --advertise-addr 10.77.0.1 --cert-expiry 1h
}

# bash does not end a test at "! command".
refute() { if "$@"; then return 1; fi; }
nodes() { ctl h1 node ls -q | wc -l; }
# A refused host is left as it was: outside of the cluster, and unknown to it.
assert_outside() {
	[ "$(ctl "$1" info --format '{{.State}}')" = inactive ]
	[ -z "$(bed run "$1" sh -c 'ls -A /var/lib/skein/identity 2>/dev/null')" ]
	[ "$(nodes)" = "$2" ]
}
# Make a host forget its cluster, and the cluster the host.
expel() {
	ctl "$1" leave
	wait_for 20 node_is h1 "$1" Down
	ctl h1 node rm "$1"
}
# The id of the token in a line such as "SKEIN-1-<50 characters>-<10 of the id><25 of the secret>".
token_id() { local last=${1##*-}; echo "${last:0:10}"; }
# clusterctl on a host over TLS, with the certificate of that host's node.
remote_ctl() {
	local host=$1 identity=/var/lib/skein/identity
	shift
	ctl "$host" -H "$ADDR" --tls-ca $identity/root.crt --tls-cert $identity/node.crt --tls-key $identity/node.key "$@"
}
# Command lines and environments of a host's own processes (not those inside containers), and its log.
exposed() {
	bed run "$1" sh -c 'own=$(readlink /proc/self/ns/pid)
		for p in /proc/[0-9]*; do
			[ "$(readlink $p/ns/pid)" != "$own" ] || cat $p/cmdline $p/environ
		done 2>/dev/null; :' | tr '\0' '\n'
	cat "$SKEIN_TESTBED/$1/agent.log"
}

@test "what is no token is refused before anybody is asked, and not repeated" {
	run ctl h2 join --token SKEIN-1-hello "$ADDR"
	[ "$status" -eq 2 ]
	[[ $output == *--token*"SKEIN-1-<50 characters>"* ]]
	[[ $output != *hello* ]]
	run ctl h2 join --token-file /nonexistent "$ADDR"
	[ "$status" -eq 2 ]
	[[ $output == *--token-file*/nonexistent* ]]
	run ctl h2 join "$ADDR"
	[ "$status" -eq 2 ]
	[[ $output == *--token*missing* ]]
}

@test "a wrong secret is refused" {
	local token
	token=$(ctl h1 join-token -q worker)
	run ctl h2 join --token "${token%??????}aaaaaa" "$ADDR"
	[ "$status" -eq 1 ]
	[[ $output == *"join token is not valid"* ]]
	assert_outside h2 1
}

@test "a token of another cluster is refused by the joining host itself" {
	ctl h4 init --advertise-addr 10.77.0.4
	run ctl h2 join --token "$(ctl h4 join-token -q worker)" "$ADDR"
	[ "$status" -eq 1 ]
	[[ $output == *"$ADDR is not of the cluster that the join token is for"* ]]
	# the token was not even sent
	refute grep -q 'certificate_refused.*another cluster' "$SKEIN_TESTBED/h1/agent.log"
	assert_outside h2 1
	ctl h4 leave --force
}

@test "an expired token is refused" {
	local token
	token=$(ctl h1 join-token create -q --ttl 1s)
	expired() { [ "$(ctl h1 join-token ls --filter id="$(token_id "$token")" --format '{{.Expires}}')" = expired ]; }
	wait_for 10 expired
	run ctl h2 join --token "$token" "$ADDR"
	[ "$status" -eq 1 ]
	[[ $output == *"has expired"* ]]
	assert_outside h2 1
}

@test "a token with labels gives them to the node, and the role is its own" {
	ctl h2 join --token "$(ctl h1 join-token create -q --role worker --ttl 30m --label rack=a --label zone=1)" "$ADDR"
	wait_for 20 nodes_ready h1 2
	[ "$(ctl h1 node inspect h2 | jq -cS '.[0].spec.labels')" = '{"rack":"a","zone":"1"}' ]
	[ "$(ctl h1 node ls --filter node.label=rack=a --format '{{.Hostname}}')" = h2 ]
	[ "$(ctl h1 node ls --filter name=h2 --format '{{.Role}}')" = worker ]
	expel h2
}

@test "of several hosts that race for a token of two uses, two get in" {
	local token h pids=() joined=0 refused=0
	token=$(ctl h1 join-token create -q --uses 2)
	bed boot h5
	for h in h2 h3 h4 h5; do
		ctl "$h" join --token "$token" "$ADDR" >"$BATS_TEST_TMPDIR/$h" 2>&1 &
		pids+=($!)
	done
	for h in "${pids[@]}"; do if wait "$h"; then joined=$((joined + 1)); fi; done
	refused=$(grep -l "has been used 2 of 2 times" "$BATS_TEST_TMPDIR"/h? | wc -l)
	[ "$joined" = 2 ]
	[ "$refused" = 2 ]
	[ "$(nodes)" = 3 ]
	[ "$(ctl h1 join-token ls --filter id="$(token_id "$token")" --format '{{.Uses}}')" = 2/2 ]
	wait_for 20 nodes_ready h1 3
	for h in h2 h3 h4 h5; do
		if [ "$(ctl "$h" info --format '{{.State}}')" = active ]; then expel "$h"; else assert_outside "$h" "$(nodes)"; fi
	done
}

@test "a rotated token lets nobody in, the new one does, and members stay" {
	local old
	old=$(ctl h1 join-token -q worker)
	ctl h2 join --token "$old" "$ADDR"
	[ "$(ctl h1 join-token -q worker)" = "$old" ]
	run ctl h1 join-token --rotate worker
	[ "$status" -eq 0 ]
	[[ $output == *"join --token SKEIN-1-"*"$ADDR"* && $output != *"$old"* ]]
	run ctl h3 join --token "$old" "$ADDR"
	[ "$status" -eq 1 ]
	[[ $output == *"join token is not valid"* ]]
	assert_outside h3 2
	ctl h3 join --token "$(ctl h1 join-token -q worker)" "$ADDR"
	wait_for 20 nodes_ready h1 3
}

@test "a revoked token lets nobody in; the standing ones cannot be revoked" {
	local token id
	token=$(ctl h1 join-token create -q --label rack=b)
	id=$(token_id "$token")
	[ "$(ctl h1 join-token ls --filter label=rack=b -q)" = "$id" ]
	ctl h1 join-token rm "$id"
	run ctl h4 join --token "$token" "$ADDR"
	[ "$status" -eq 1 ]
	[[ $output == *"join token is not valid"* ]]
	assert_outside h4 3
	run ctl h1 join-token rm "$id"
	[ "$status" -eq 1 ]
	[[ $output == *"$id"* ]]
	run ctl h1 join-token rm worker
	[ "$status" -eq 1 ]
	[[ $output == *rotate* ]]
}

@test "the list of tokens shows no secrets" {
	local token
	token=$(ctl h1 join-token -q worker)
	run ctl h1 join-token ls --format json
	[ "$status" -eq 0 ]
	[[ $output == *worker* ]]
	[[ $output != *"${token##*-}"* ]]
}

@test "a host provisioned with a token file joins at its first boot, and later boots are harmless" {
	local id
	bed crash h5
	mkdir -p "$SKEIN_TESTBED/h5/etc"
	ctl h1 join-token create -q --uses 1 --label from=cloud >"$SKEIN_TESTBED/h5/etc/join-token"
	chmod 600 "$SKEIN_TESTBED/h5/etc/join-token"
	export SKEIN_AGENT_ARGS="--join $ADDR --token-file /etc/skein/join-token"
	bed boot h5
	wait_for 20 node_is h1 h5 Ready
	id=$(ctl h1 node ls --filter node.label=from=cloud -q)
	[ -n "$id" ]
	in_touch() { [ "$(ctl h5 info --format '{{.Session}}')" = "$ADDR" ]; }
	bed crash h5
	bed boot h5
	wait_for 20 in_touch
	[ "$(ctl h1 node ls --filter name=h5 -q)" = "$id" ]
	# the token is used up, and may be gone: nobody reads it any more
	rm "$SKEIN_TESTBED/h5/etc/join-token"
	bed kill h5 agent
	bed start h5
	wait_for 20 in_touch
	[ "$(nodes)" = 4 ]
}

@test "an agent that cannot join at boot goes on trying until the token is good" {
	local token
	bed crash h4
	echo "SKEIN-1-nonsense" >"$SKEIN_TESTBED/h4/etc/join-token"
	export SKEIN_AGENT_ARGS="--join $ADDR --token-file /etc/skein/join-token"
	bed boot h4
	tried() { grep -q 'not a join token' "$SKEIN_TESTBED/h4/agent.log"; }
	wait_for 10 tried
	token=$(ctl h1 join-token -q worker)
	echo "$token" >"$SKEIN_TESTBED/h4/etc/join-token"
	wait_for 20 node_is h1 h4 Ready
}

@test "the control API refuses a worker's certificate and takes a manager's" {
	local verb
	for verb in "node ls" "service ls" "join-token -q manager" "join-token create" "node rm h3" "node promote h2" "service create x"; do
		# shellcheck disable=SC2086
		run remote_ctl h2 $verb
		[ "$status" -eq 1 ]
		[[ $output == *"may not be called by a worker"* ]]
		[[ $output != *SKEIN-1* ]]
	done
	run remote_ctl h1 node ls --format '{{.Hostname}}'
	[ "$status" -eq 0 ]
	[[ $output == *h2* ]]
	[ "$(ctl h1 node ls --filter name=h2 --format '{{.Role}}')" = worker ]
	[ -z "$(ctl h1 service ls -q)" ]
}

@test "a certificate of another root, and none at all, are refused" {
	bed run h2 sh -c 'mkdir -p /run/skein/forged && cd /run/skein/forged &&
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -keyout key -out crt \
			-subj "/O=skein/OU=manager/CN=forged" -addext subjectAltName=DNS:manager.skein.internal' 2>/dev/null
	run ctl h2 -H "$ADDR" --tls-ca /var/lib/skein/identity/root.crt --tls-cert /run/skein/forged/crt --tls-key /run/skein/forged/key node ls
	[ "$status" -eq 1 ]
	# our own root is not what the manager shows
	run ctl h2 -H "$ADDR" --tls-ca /run/skein/forged/crt --tls-cert /run/skein/forged/crt --tls-key /run/skein/forged/key node ls
	[ "$status" -eq 1 ]
	[[ $output != *h1* ]]
	run ctl h2 -H "$ADDR" node ls
	[ "$status" -eq 2 ]
	[[ $output == *--tls-ca*--tls-cert*--tls-key* ]]
}

@test "certificates live as long as asked, and a node is told when its role changes" {
	local end now
	run ctl h4 init --cert-expiry 10m
	[ "$status" -eq 2 ]
	[[ $output == *--cert-expiry*10m*1h* ]]
	for h in h1 h2; do
		end=$(date -d "$(ctl "$h" info --format '{{.CertExpiresAt}}')" +%s)
		now=$(date +%s)
		[ "$end" -gt $((now + 2400)) ]
		[ "$end" -le $((now + 3660)) ]
	done
	# a new role is a new certificate: the old one must not go on as a manager's, nor the connection break
	local before
	before=$(bed run h2 sha256sum /var/lib/skein/identity/node.crt)
	ctl h1 node promote h2
	wait_for 30 ctl h2 node ls
	[ "$(bed run h2 sha256sum /var/lib/skein/identity/node.crt)" != "$before" ]
	wait_for 10 nodes_ready h1 5
	demote h1 h2
	refused() { run remote_ctl h2 node ls; [ "$status" -eq 1 ] && [[ $output == *"may not be called by a worker"* ]]; }
	wait_for 30 refused
	wait_for 20 nodes_ready h1 5
}

@test "no secret stands in a command line, an environment or a log" {
	local h secret seen=$BATS_TEST_TMPDIR/exposed stop=$BATS_TEST_TMPDIR/stop
	load_image h1 demo:1 --cmd 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'
	secret=s3cret-$RANDOM-$RANDOM
	# looked at all the time while the service comes up, so that short-lived children are seen as well
	( until [ -e "$stop" ]; do for h in h1 h2; do exposed "$h"; done; done >"$seen" 2>/dev/null ) &
	local watcher=$!
	echo "DB_PASSWORD=$secret" >"$SKEIN_TESTBED/h1/run/env"
	ctl h1 service create --name vault --replicas 4 --env-file /run/skein/env --constraint node.hostname!=h5 demo:1
	rm "$SKEIN_TESTBED/h1/run/env"
	ctl h1 service update --env-add OTHER="$secret" --update-parallelism 0 --update-monitor 0s vault
	wait_for 20 running_is h1 vault 4
	touch "$stop"
	wait "$watcher"
	for h in $HOSTS; do exposed "$h" >>"$seen"; done
	grep -q cluster-agent "$seen"
	grep -q conmon "$seen"
	# clusterctl was given OTHER as an argument by us: that one does not count
	grep -v "^OTHER=" "$seen" >"$seen.ours"
	refute grep -F "$secret" "$seen.ours"
	local role token
	for role in worker manager; do
		token=$(ctl h1 join-token -q $role)
		for h in $HOSTS; do exposed "$h"; done >"$seen"
		refute grep -F "${token##*-}" "$seen"
	done
	refute grep -F "PRIVATE KEY" "$seen"
	# it did reach the containers
	[ "$(for h in h1 h2 h3 h4; do bed run "$h" sh -c 'cat /proc/[0-9]*/environ 2>/dev/null | tr "\0" "\n" | grep -c "^DB_PASSWORD='"$secret"'"' || :; done | awk '{ n += $1 } END { print n }')" -ge 4 ]
	ctl h1 service rm vault
}

@test "every port of ours speaks TLS 1.3 and nothing older" {
	local port
	handshake() { bed run h1 sh -c "echo | timeout 10 openssl s_client -connect 10.77.0.1:$1 -$2 -alpn h2 2>&1" | grep -a "^New, "; }
	for port in 2377 7946 2379; do
		[[ $(handshake $port tls1_3) == *TLSv1.3* ]]
		[[ $(handshake $port tls1_2) == *NONE* ]]
	done
}
