#!/usr/bin/env bats
# A cluster whose etcd is somebody else's: TLS with a CA and a client certificate of its own.
load common

setup_file() {
	bed down
	bed up 3
	make_pki
	start_etcd
}

# A CA that has nothing to do with the cluster's.
make_pki() {
	export PKI=$SKEIN_TESTBED/etcd-pki
	mkdir -p "$PKI"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=other-ca \
		-keyout "$PKI/ca.key" -out "$PKI/ca.crt" 2>/dev/null
	certificate server 'subjectAltName=IP:10.77.0.3'
	certificate client 'extendedKeyUsage=clientAuth'
}

certificate() {
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$PKI/$1.key" -out "$PKI/$1.csr" 2>/dev/null
	printf '%s\n' "$2" >"$PKI/$1.ext"
	openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -CAcreateserial -days 2 -extfile "$PKI/$1.ext" \
		-out "$PKI/$1.crt" 2>/dev/null
}

start_etcd() {
	bed run h3 sh -c "setsid -f etcd --name other --data-dir /var/lib/skein/other-etcd \
		--listen-client-urls https://10.77.0.3:2479 --advertise-client-urls https://10.77.0.3:2479 \
		--listen-peer-urls http://127.0.0.1:2480 --initial-advertise-peer-urls http://127.0.0.1:2480 \
		--initial-cluster other=http://127.0.0.1:2480 --trusted-ca-file $PKI/ca.crt --client-cert-auth \
		--cert-file $PKI/server.crt --key-file $PKI/server.key >/var/lib/skein/other-etcd.log 2>&1 </dev/null"
	wait_for 20 etcd_answers
}

etcd_answers() {
	bed run h3 env ETCDCTL_API=3 etcdctl --endpoints https://10.77.0.3:2479 --cacert "$PKI/ca.crt" --cert "$PKI/client.crt" \
		--key "$PKI/client.key" endpoint health
}

init_with() { ctl h1 init --advertise-addr 10.77.0.1 --etcd-endpoints "$1" --etcd-ca "$2" --etcd-cert "$PKI/client.crt" --etcd-key "$PKI/client.key"; }

@test "init with an etcd that nobody serves, or of another CA, fails and leaves nothing behind" {
	run init_with https://10.77.0.3:2499 "$PKI/ca.crt"
	[ "$status" -eq 1 ]
	[[ $output == *"https://10.77.0.3:2499"* ]]
	run init_with https://10.77.0.3:2479 /etc/ssl/certs/ca-certificates.crt
	[ "$status" -eq 1 ]
	[[ $output == *certificate* ]]
	run init_with https://10.77.0.3:2479 "$PKI/no-such-file"
	[ "$status" -ne 0 ]
	[[ $output == *no-such-file* ]]
	[ "$(ctl h1 info --format '{{.State}}')" = inactive ]
	[ -z "$(bed run h1 sh -c 'ls /var/lib/skein/identity /var/lib/skein/manager 2>/dev/null')" ]
}

@test "init with an external etcd" {
	init_with https://10.77.0.3:2479 "$PKI/ca.crt"
	wait_for 20 nodes_ready h1 1
	[[ $(ctl h1 info) == *"etcd: external: https://10.77.0.3:2479"* ]]
	[ -z "$(bed run h1 pgrep -x etcd)" ]
}

@test "a second manager is told where it is, and keeps the files for itself" {
	ctl h2 join --token "$(ctl h1 join-token -q manager)" 10.77.0.1:2377
	wait_for 20 nodes_ready h2 2
	wait_for 20 managers_are h2 2
	[ -z "$(bed run h2 pgrep -x etcd)" ]
	[ "$(bed run h2 sh -c 'stat -c %a /var/lib/skein/manager/etcd-client.key /var/lib/skein/manager/etcd.conf' | uniq)" = 600 ]
	run bed run h2 cat /var/lib/skein/manager/etcd-client.key
	[ "$output" = "$(cat "$PKI/client.key")" ]
}

@test "a service runs, whoever leads" {
	load_image h1 demo:1 --cmd 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'
	ctl h1 service create --name web --replicas 2 demo:1
	bed kill h1 agent
	bed kill h1 manager
	h2_leads() { ctl h2 node ls --format '{{.Hostname}} {{.ManagerStatus}}' | grep -q 'h2 Leader'; }
	wait_for 20 h2_leads
	ctl h2 service scale web=3
	[ "$(running h2 web)" = 3 ]
	bed start h1
	wait_for 20 nodes_ready h1 2
}

@test "a manager that joined starts by itself when no other one runs" {
	bed kill h1 agent
	bed kill h1 manager
	bed kill h2 agent
	bed kill h2 manager
	bed start h2
	wait_for 20 ctl h2 service ls
	bed start h1
	wait_for 20 nodes_ready h2 2
	wait_for 20 running_is h2 web 3
}

@test "a new cluster is not forced out of an etcd that is not ours" {
	run ctl h2 init --force-new-cluster
	[ "$status" -eq 1 ]
	[[ $output == *external* ]]
	ctl h2 service ls
}

@test "another cluster does not take the same etcd" {
	run ctl h3 init --advertise-addr 10.77.0.3 --etcd-endpoints https://10.77.0.3:2479 --etcd-ca "$PKI/ca.crt" \
		--etcd-cert "$PKI/client.crt" --etcd-key "$PKI/client.key"
	[ "$status" -eq 1 ]
	[[ $output == *"another cluster"* ]]
	[ "$(ctl h3 info --format '{{.State}}')" = inactive ]
}

@test "etcd away: containers go on, writes are refused with the reason, then all is well again" {
	bed run h3 sh -c 'kill -STOP $(pgrep -x etcd)'
	refused() { run timeout 30 "$ROOT/tests/e2e/testbed" ctl h1 service scale --detach web=2; [ "$status" -ne 0 ] && [[ $output == *etcd* ]]; }
	refused
	three() { [ "$(( $(processes h1 '^sleep 3600') + $(processes h2 '^sleep 3600') ))" = 3 ]; }
	wait_for 10 three
	bed run h3 sh -c 'kill -CONT $(pgrep -x etcd)'
	wait_for 30 ctl h1 service scale --detach web=2
	wait_for 30 running_is h1 web 2
}

@test "the last manager is not demoted, a demoted one forgets the certificate" {
	demote h1 h2
	forgotten() { [ -z "$(bed run h2 sh -c 'ls /var/lib/skein/manager 2>/dev/null')" ]; }
	wait_for 30 forgotten
	run ctl h1 node demote h1
	[ "$status" -eq 1 ]
	[[ $output == *last* ]]
}
