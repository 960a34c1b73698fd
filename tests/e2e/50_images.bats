#!/usr/bin/env bats
# Images: a registry with TLS and a password, peers, archives, what is corrupt, full, missing or down.
load common

REGISTRY=10.77.0.1:5000
DEMO='echo "up $HOSTNAME"; trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'

refute() { if "$@"; then return 1; fi; }

# A docker-registry inside h1; every host knows its root certificate, none its password.
registry_up() {
	bed run h1 setsid -f docker-registry serve /run/skein/registry/config.yml </dev/null >>"$SKEIN_TESTBED/registry.log" 2>&1
	wait_for 20 registry_answers
}
registry_answers() { bed run h1 bash -c "exec 3<>/dev/tcp/10.77.0.1/5000"; }
registry_down() {
	bed run h1 sh -c 'for p in /proc/[0-9]*; do
		[ "$(cat $p/comm 2>/dev/null)" != docker-registry ] || kill -9 ${p#/proc/}
	done'
	silent() { refute registry_answers; }
	wait_for 10 silent
}

make_registry() {
	local dir=$SKEIN_TESTBED/h1/run/registry h
	mkdir -p "$dir"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=test root" \
		-keyout "$dir/ca.key" -out "$dir/ca.crt" 2>/dev/null
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=registry" \
		-keyout "$dir/key" -out "$dir/csr" 2>/dev/null
	openssl x509 -req -in "$dir/csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 2 \
		-extfile <(echo "subjectAltName=IP:10.77.0.1") -out "$dir/crt" 2>/dev/null
	htpasswd -Bbn puller right >"$dir/htpasswd" 2>/dev/null
	cat >"$dir/config.yml" <<-EOT
		version: 0.1
		log: {level: error}
		storage: {filesystem: {rootdirectory: /run/skein/registry/storage}, delete: {enabled: true}}
		http: {addr: '$REGISTRY', tls: {certificate: /run/skein/registry/crt, key: /run/skein/registry/key}}
		auth: {htpasswd: {realm: test, path: /run/skein/registry/htpasswd}}
	EOT
	for h in h1 h2 h3 h4; do
		mkdir -p "$SKEIN_TESTBED/$h/etc/certs.d/$REGISTRY"
		cp "$dir/ca.crt" "$SKEIN_TESTBED/$h/etc/certs.d/$REGISTRY/"
	done
	login right >"$dir/right.json"
	login wrong >"$dir/wrong.json"
}
login() { printf '{"auths":{"%s":{"auth":"%s"}}}\n' "$REGISTRY" "$(printf 'puller:%s' "$1" | base64)"; }
# ctl as a user who has logged in with the right or a wrong password: as LOGIN HOST ARG...
as() {
	local file=$1 host=$2
	shift 2
	mkdir -p "$SKEIN_TESTBED/$host/run/logins"
	cp "$SKEIN_TESTBED/h1/run/registry/$file.json" "$SKEIN_TESTBED/$host/run/logins/"
	bed run "$host" REGISTRY_AUTH_FILE=/run/skein/logins/"$file".json clusterctl "$@"
}

# Make an image and push it: push NAME MARK [make-image argument...]; prints its digest.
push() {
	local name=$1 mark=$2
	shift 2
	"$ROOT/deploy/dev/make-image" "$name" "$SKEIN_TESTBED/h1/run/push.tar" --cmd "$DEMO" --env MARK="$mark" "$@"
	bed run h1 skopeo copy -q --authfile /run/skein/registry/right.json --dest-cert-dir /etc/skein/certs.d/$REGISTRY \
		--digestfile /run/skein/push.digest docker-archive:/run/skein/push.tar "docker://$REGISTRY/$name" >&2
	cat "$SKEIN_TESTBED/h1/run/push.digest"
	rm "$SKEIN_TESTBED/h1/run/push.tar"
}
# Nothing of work under way is left on a host, and no layer that no image has.
assert_tidy() {
	clean() { [ -z "$(bed run "$1" ls -A /var/lib/skein/tmp)" ]; }
	wait_for 10 clean "$1"
}
layers() { bed run "$1" sh -c 'ls /var/lib/skein/images/layers 2>/dev/null | wc -l'; }
has_image() { [ -n "$(ctl "$1" image ls -q --filter reference="$2")" ]; }
# The message of a task in a state: task_error SERVICE STATE
task_error() { ctl h1 service ps "$1" --no-trunc --format '{{.CurrentState}} {{.Error}}' | grep "^$2" | head -1; }
rejected() { [ -n "$(task_error "$1" Rejected)" ]; }
# The marks (environment) of the containers of a service's running tasks on a host.
marks() { bed run "$1" sh -c 'for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" != sh ] || tr "\0" "\n" <$p/environ | grep ^MARK=; done' 2>/dev/null | sort -u | tr '\n' ' '; }

setup_file() {
	local token h
	export BATS_TEST_TIMEOUT=$((90 * ${SKEIN_SLOW:-1}))
	export SKEIN_AGENT_ARGS="--certs-dir /etc/skein/certs.d"
	bed down
	bed up 3
	make_registry
	registry_up
	ctl h1 init --advertise-addr 10.77.0.1
	token=$(ctl h1 join-token -q worker)
	for h in h2 h3; do ctl "$h" join --token "$token" 10.77.0.1:2377; done
	wait_for 30 nodes_ready h1 3
	push web:1 one >"$SKEIN_TESTBED/digest.one"
}

setup() { export SKEIN_AGENT_ARGS="--certs-dir /etc/skein/certs.d"; }

@test "a pull needs the right login, and says so without repeating it" {
	run ctl h1 image pull $REGISTRY/web:1
	[ "$status" -eq 1 ]
	[[ $output == *"$REGISTRY/web:1"* ]]
	[[ $output == *[Aa]uth* ]]
	run as wrong h1 image pull --with-registry-auth $REGISTRY/web:1
	[ "$status" -eq 1 ]
	[[ $output == *"$REGISTRY/web:1"* ]]
	[[ $output != *wrong* ]]
	run ctl h1 image pull --with-registry-auth $REGISTRY/web:1
	[ "$status" -eq 2 ]
	[[ $output == *"no login for $REGISTRY"* ]]
	[ -z "$(ctl h1 image ls -q)" ]
	assert_tidy h1
}

@test "pull with this user's login; the image is there with name, tag and digest" {
	run as right h1 image pull --with-registry-auth $REGISTRY/web:1
	[ "$status" -eq 0 ]
	[[ $output == *"Pulled: $REGISTRY/web:1"* ]]
	run ctl h1 image ls --no-trunc --format '{{.Repository}} {{.Tag}} {{.Digest}} {{.Loaded}}'
	[ "$output" = "$REGISTRY/web 1 $(cat "$SKEIN_TESTBED/digest.one") no" ]
	refute grep -r right "$SKEIN_TESTBED/h1/agent.log"
	assert_tidy h1
}

@test "pull with the node's own login file" {
	refute has_image h2 $REGISTRY/web:1
	cp "$SKEIN_TESTBED/h1/run/registry/right.json" "$SKEIN_TESTBED/h2/etc/auth.json"
	ctl h2 image pull -q $REGISTRY/web:1
	has_image h2 $REGISTRY/web:1
	rm "$SKEIN_TESTBED/h2/etc/auth.json"
	ctl h2 image rm $REGISTRY/web:1
	refute has_image h2 $REGISTRY/web:1
}

@test "unknown names, bad names and a registry that nobody runs" {
	run as right h1 image pull --with-registry-auth $REGISTRY/nothing:1
	[ "$status" -eq 1 ]
	[[ $output == *"$REGISTRY/nothing:1"* ]]
	run as right h1 image pull --with-registry-auth $REGISTRY/web:9
	[ "$status" -eq 1 ]
	[[ $output == *"$REGISTRY/web:9"* ]]
	run ctl h1 image pull "Not A Name"
	[ "$status" -eq 2 ]
	[[ $output == *"Not A Name"* ]]
	run ctl h1 image pull 10.77.0.2:5000/web:1
	[ "$status" -eq 1 ]
	[[ $output == *"10.77.0.2:5000"*refused* ]]
}

@test "--with-registry-auth sends the login with the service to nodes that have none" {
	run as right h1 service create --name sent --with-registry-auth --constraint node.hostname==h3 $REGISTRY/web:1
	[ "$status" -eq 0 ]
	[[ $output != *WARNING* ]]
	[ "$(marks h3)" = "MARK=one " ]
	run ctl h1 service inspect sent
	[[ $output == *"$(cat "$SKEIN_TESTBED/digest.one")"* ]]
	[[ $output != *"$(printf 'puller:right' | base64)"* ]]
	refute grep -F "$(printf 'puller:right' | base64)" "$SKEIN_TESTBED"/h?/agent.log
	[ -z "$(bed run h3 grep -rlF "$(printf 'puller:right' | base64)" /run/skein /var/lib/skein/taskdb 2>/dev/null | xargs -r -I{} bed run h3 find {} -perm /077)" ]
	ctl h1 service rm sent
}

@test "a node without a login gets the image from a peer that has it" {
	gone() { ctl h3 image rm $REGISTRY/web:1 || refute has_image h3 $REGISTRY/web:1; }
	wait_for 20 gone
	refute has_image h3 $REGISTRY/web:1
	ctl h1 service create --name peers --constraint node.hostname==h3 $REGISTRY/web:1
	has_image h3 $REGISTRY/web:1
	[ "$(ctl h3 image ls -q --no-trunc)" = "$(cat "$SKEIN_TESTBED/digest.one")" ]
	ctl h1 service rm peers
}

@test "the digest is fixed when the service is made; --image takes what the name means now" {
	as right h1 service create --name pinned --with-registry-auth --constraint node.hostname!=h1 $REGISTRY/web:1
	push web:1 two >"$SKEIN_TESTBED/digest.two"
	[ "$(cat "$SKEIN_TESTBED/digest.one")" != "$(cat "$SKEIN_TESTBED/digest.two")" ]
	ctl h1 service scale pinned=4
	[ "$(running h1 pinned)" = 4 ]
	[ "$(marks h2)$(marks h3)" = "MARK=one MARK=one " ]
	ctl h1 service update --force --update-parallelism 0 --update-monitor 0s pinned
	[ "$(marks h2)$(marks h3)" = "MARK=one MARK=one " ]
	as right h1 service update --with-registry-auth --image $REGISTRY/web:1 --update-parallelism 0 --update-monitor 0s pinned
	[ "$(running h1 pinned)" = 4 ]
	two_only() { [ "$(marks h2)$(marks h3)" = "MARK=two MARK=two " ]; }
	wait_for 20 two_only
	[[ $(ctl h1 service inspect pinned) == *"$(cat "$SKEIN_TESTBED/digest.two")"* ]]
	ctl h1 service rm pinned
}

@test "a service of an image that nobody has: a warning, then rejected tasks with the reason" {
	run ctl h1 service create --name ghost --detach --restart-delay 1s --restart-max-attempts 1 $REGISTRY/nothing:1
	[ "$status" -eq 0 ]
	[[ $output == *WARNING*"$REGISTRY/nothing:1"*digest* ]]
	wait_for 20 rejected ghost
	[[ $(task_error ghost Rejected) == *nothing* ]]
	ctl h1 service rm ghost
}

@test "a corrupt layer is refused by name, and nothing of it stays" {
	local digest layer before file
	digest=$(push bad:1 bad --file "$ROOT/tests/e2e/testbed:/bin/testbed")
	layer=$(bed run h1 sh -c "skopeo inspect --raw --authfile /run/skein/registry/right.json --cert-dir /etc/skein/certs.d/$REGISTRY docker://$REGISTRY/bad:1" | jq -r '.layers[0].digest')
	file=$SKEIN_TESTBED/h1/run/registry/storage/docker/registry/v2/blobs/sha256/${layer:7:2}/${layer:7}/data
	printf 'XXXX' | dd of="$file" bs=1 seek=5000 conv=notrunc status=none
	before=$(layers h2)
	run as right h2 image pull --with-registry-auth $REGISTRY/bad:1
	[ "$status" -eq 1 ]
	[[ $output == *"${layer:7}"* ]]
	refute has_image h2 $REGISTRY/bad:1
	[ "$(layers h2)" = "$before" ]
	assert_tidy h2
	as right h1 service create --name bad --with-registry-auth --detach --restart-max-attempts 1 --constraint node.hostname==h2 $REGISTRY/bad:1
	wait_for 20 rejected bad
	[[ $(task_error bad Rejected) == *"${layer:7:12}"* ]]
	ctl h1 service rm bad
}

@test "with the registry down, what is in the cluster still starts and the rest says why not" {
	local digest
	registry_down
	run as right h1 image pull --with-registry-auth $REGISTRY/web:1
	[ "$status" -eq 1 ]
	[[ $output == *"$REGISTRY/web:1"*refused* ]]
	# web:1 is known by its digest on several nodes, and h1 takes it from one of them
	digest=$(cat "$SKEIN_TESTBED/digest.two")
	run ctl h1 service create --name island --constraint node.hostname==h1 "$REGISTRY/web@$digest"
	[ "$status" -eq 0 ]
	two_here() { [ "$(marks h1)" = "MARK=two " ]; }
	wait_for 20 two_here
	ctl h1 service rm island
	run ctl h1 service create --name later --detach --restart-delay 500ms $REGISTRY/later:1
	wait_for 20 rejected later
	[[ $(task_error later Rejected) == *refused* ]]
	# and it heals by itself
	registry_up
	push later:1 later
	cp "$SKEIN_TESTBED/h1/run/registry/right.json" "$SKEIN_TESTBED/h1/etc/auth.json"
	for h in h2 h3; do cp "$SKEIN_TESTBED/h1/etc/auth.json" "$SKEIN_TESTBED/$h/etc/auth.json"; done
	wait_for 20 running_is h1 later 1
	ctl h1 service rm later
	rm "$SKEIN_TESTBED"/h?/etc/auth.json
}

@test "image rm: names first, then what nobody uses; in use only by force" {
	local host digest
	load_image h1 own:1 --cmd "$DEMO"
	"$ROOT/deploy/dev/make-image" own:2 "$SKEIN_TESTBED/image.tar" --cmd "$DEMO"
	ctl h1 image load -i "$SKEIN_TESTBED/image.tar"
	digest=$(ctl h1 image ls -q --no-trunc --filter reference=own:1)
	[ "$(ctl h1 image ls -q --no-trunc --filter reference=own:2)" = "$digest" ]
	[ "$(ctl h1 image ls -q --no-trunc --filter digest="$digest")" = "$digest" ]
	[ "$(ctl h1 image ls --filter reference=own:2 --format '{{.Loaded}}' | head -1)" = yes ]
	run ctl h1 image rm "${digest:7:12}"
	[ "$status" -eq 1 ]
	[[ $output == *"2 names"* ]]
	run ctl h1 image rm own:2
	[ "$status" -eq 0 ]
	[[ $output == *"Untagged: "*own:2* ]]
	[[ $output != *Deleted* ]]
	ctl h1 service create --name own --constraint node.hostname==h1 own:1
	run ctl h1 image rm own:1
	[ "$status" -eq 1 ]
	[[ $output == *own:1*force* ]]
	ctl h1 service rm own
	removed() { ctl h1 image rm own:1; }
	wait_for 20 removed
	refute has_image h1 own:1
	run ctl h1 image rm own:1
	[ "$status" -eq 1 ]
	[[ $output == *own:1* ]]
}

@test "an OCI archive is loaded as well, compressed or piped; garbage is refused" {
	local mark
	"$ROOT/deploy/dev/make-image" oci:1 "$SKEIN_TESTBED/h1/run/docker.tar" --cmd "$DEMO" --env MARK=oci
	bed run h1 skopeo copy -q docker-archive:/run/skein/docker.tar oci-archive:/run/skein/oci.tar:oci:1
	gzip -k "$SKEIN_TESTBED/h1/run/oci.tar"
	run ctl h1 image load -i /run/skein/oci.tar
	[ "$status" -eq 0 ]
	[[ $output == *"Loaded: "*oci:1* ]]
	ctl h1 service create --name oci --constraint node.hostname==h1 oci:1
	oci_only() { [ "$(marks h1)" = "MARK=oci " ]; } # what ran here before may still be ending
	wait_for 20 oci_only
	ctl h1 service rm oci
	run bed run h1 sh -c 'clusterctl image load <$0' /run/skein/oci.tar.gz
	[ "$status" -eq 0 ]
	for mark in "head -c 100000 /dev/urandom" "printf ''" "head -c 100000 /run/skein/docker.tar" "tar -C /etc -c hostname"; do
		run bed run h1 sh -c "$mark >/run/skein/garbage.tar; clusterctl image load -i /run/skein/garbage.tar"
		[ "$status" -eq 1 ]
		[[ $output == *"clusterctl: "*archive* ]]
	done
	run ctl h1 image load -i /nonexistent
	[ "$status" -eq 2 ]
	[[ $output == *--input*/nonexistent* ]]
	assert_tidy h1
}

@test "a full disk: rejected with the reason, nothing half-unpacked, and it recovers" {
	bed boot h4
	bed kill h4 agent
	bed run h4 mount -t tmpfs -o size=24m,mode=700 none /var/lib/skein
	bed start h4
	ctl h4 join --token "$(ctl h1 join-token -q worker)" 10.77.0.1:2377
	head -c 20000000 /dev/urandom >"$SKEIN_TESTBED/noise"
	push big:1 big --file "$SKEIN_TESTBED/noise:/noise"
	run as right h1 service create --name big --detach --with-registry-auth --restart-delay 500ms --constraint node.hostname==h4 $REGISTRY/big:1
	[ "$status" -eq 0 ]
	wait_for 30 rejected big
	# asked for beforehand, or found while unpacking: how much a compressed layer needs is known only then
	[[ $(task_error big Rejected) == *"disk full"* || $(task_error big Rejected) == *"No space left on device"* ]]
	[ "$(layers h4)" = 0 ]
	run as right h4 image pull --with-registry-auth $REGISTRY/big:1
	[ "$status" -eq 1 ]
	[[ $output == *"disk full"*free* || $output == *"No space left on device"* ]]
	node_is h1 h4 Ready
	bed run h4 mount -o remount,size=400m /var/lib/skein
	wait_for 30 running_is h1 big 1
	ctl h1 service rm big
	assert_tidy h4
}

@test "a node without a working runtime says so, and its tasks are rejected with the reason" {
	export SKEIN_AGENT_ARGS="--certs-dir /etc/skein/certs.d --runtime /nonexistent"
	load_image h1 demo:1 --cmd "$DEMO"
	bed kill h3 agent
	bed start h3
	reported() { ctl h3 info | grep -q 'Error: .*runtime.*/nonexistent'; }
	wait_for 20 reported
	inspected() { ctl h1 node inspect h3 | grep -q '/nonexistent'; }
	wait_for 20 inspected
	ctl h1 service create --name stuck --detach --restart-delay 500ms --constraint node.hostname==h3 demo:1
	wait_for 20 rejected stuck
	[[ $(task_error stuck Rejected) == *runtime*/nonexistent* ]]
	# with a runtime again, the next attempt runs
	export SKEIN_AGENT_ARGS="--certs-dir /etc/skein/certs.d"
	bed kill h3 agent
	bed start h3
	wait_for 30 running_is h1 stuck 1
	ctl h1 service rm stuck
}
