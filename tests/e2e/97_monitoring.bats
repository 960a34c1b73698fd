#!/usr/bin/env bats
# A real Prometheus finds a cluster of three by its managers, scrapes it, records, and alerts when the test breaks something.
load common

# Inside h1: Prometheus with the real rules, but with the patience of a test.
start_prometheus() {
	local dir=$SKEIN_TESTBED/prometheus
	mkdir -p "$dir"
	sed 's/for: [0-9]*[ms]$/for: 1s/' "$ROOT/deploy/monitoring/alerts.yml" >"$dir/alerts.yml"
	cp "$ROOT/deploy/monitoring/rules.yml" "$dir/"
	# The example, for this cluster: three managers, a root certificate, a quicker look.
	sed -e 's/10\.0\.0\./10.77.0./' -e "s|/etc/prometheus/skein-root.crt|/var/lib/skein/identity/root.crt|" \
		-e 's/_interval: 15s/_interval: 1s/' -e 's/^\( *\)\(http_sd_configs: &managers\)/\1\2/' \
		-e 's|^\( *\)\(- url: .*\)|\1\2\n\1  refresh_interval: 1s|' "$ROOT/deploy/monitoring/prometheus.yml" >"$dir/prometheus.yml"
	promtool check config "$dir/prometheus.yml" || promtool check config --syntax-only "$dir/prometheus.yml"
	bed run h1 setsid -f prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/data" \
		--web.listen-address=127.0.0.1:9090 --log.level=warn </dev/null >"$dir/log" 2>&1
	wait_for 30 bed run h1 curl -fsS http://127.0.0.1:9090/-/ready
}

setup_file() {
	cluster_up 3 0
	load_image h1 demo:1 --cmd 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'
	start_prometheus
}

# Value of an expression, by its only (or first) series; "" = none.
value() { bed run h1 curl -fsS --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query | jq -r '.data.result[0].value[1] // ""'; }
value_is() { [ "$(value "$1")" = "$2" ]; }
firing() { bed run h1 curl -fsS http://127.0.0.1:9090/api/v1/alerts | jq -e --arg n "$1" --arg k "$2" --arg v "$3" \
	'[.data.alerts[] | select(.state == "firing" and .labels.alertname == $n and .labels[$k] == $v)] | length > 0'; }
quiet() { ! firing "$@"; }
get() { bed run h1 curl -fsS --cacert /var/lib/skein/identity/root.crt --connect-to "manager.skein.internal:9641:$1:9641" "https://manager.skein.internal:9641$2"; }

@test "all agents and managers are found and scraped" {
	wait_for 60 value_is 'count(up{job="skein"} == 1)' 6
	value_is 'count(up{job="skein",role="agent"})' 3
	value_is 'count(up{job="skein",role="manager"})' 3
	wait_for 10 value_is 'up == 0' ''
	six() { [ "$(get 10.77.0.2 /sd/prometheus | jq length)" = 6 ]; }
	wait_for 10 six
}

@test "promtool finds nothing to complain of, in either format" {
	run promtool check metrics < <(get 10.77.0.1 /metrics)
	[ "$status" -eq 0 ]
	[ -z "$output" ]
	run promtool check metrics < <(bed run h1 curl -fsS http://10.77.0.1:9640/metrics)
	[ "$status" -eq 0 ]
	[ -z "$output" ]
}

@test "health and readiness tell the truth, with the reason" {
	[[ $(get 10.77.0.1 /readyz) == *"ok etcd"*"ok leader"* ]]
	[ "$(get 10.77.0.1 /healthz)" = "ok certificate" ]
	# Without a quorum nobody leads: not ready, but alive.
	bed kill h2 agent; bed kill h2 manager; bed kill h3 agent; bed kill h3 manager
	unready() { bed run h1 curl -sk https://127.0.0.1:9641/readyz | grep -q '^failed'; }
	wait_for 30 unready
	[ "$(get 10.77.0.1 /healthz)" = "ok certificate" ]
	bed start h2; bed start h3
	ready() { get 10.77.0.1 /readyz; }
	wait_for 60 ready
	wait_for 60 nodes_ready h1 3
}

@test "recording rules answer" {
	ctl h1 service create --name web --replicas 3 demo:1
	wait_for 30 value_is 'service:skein_running_tasks{service="web"}' 3
	value_is 'service:skein_desired_tasks{service="web"}' 3
	value_is 'service:skein_missing_tasks{service="web"}' 0
	wait_for 30 value_is 'count(node:skein_ready == 1)' 3
	wait_for 30 value_is 'sum(skein_manager_leader)' 1
	wait_for 30 value_is 'cluster:skein_tasks{state="running"}' 3
}

@test "every expression of the dashboard answers, and so do its variables" {
	local expr label balancer all=()
	balancer=$(ctl h1 node inspect h1 | jq -r '.[0].description.features | if type == "array" then (.[] | select(.key == "network.balancer") | .value) else .["network.balancer"] end')
	[ -n "$balancer" ]
	ctl h1 network create -d overlay front
	ctl h1 service create --name checked --network front --health-cmd true --health-interval 1s demo:1
	ctl h1 service create --name waiting --detach --constraint node.labels.none==x demo:1
	ask() { bed run h1 curl -fsS --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query | jq -e '.status == "success" and (.data.result | length) > 0'; }
	mapfile -t all < <(jq -r '.. | objects | .expr? | strings | gsub("[$]__[a-z_]+"; "1m") | gsub("[$][a-z]+"; ".*")' "$ROOT/deploy/monitoring/dashboard.json")
	[ "${#all[@]}" -gt 20 ]
	for expr in "${all[@]}"; do
		# Only IPVS has entries and connections; this kernel may balance by nftables.
		if [[ $expr == *skein_lb_* && $balancer != ipvs ]]; then continue; fi
		wait_for 60 ask "$expr"
	done
	for label in $(jq -r '.templating.list[] | select(.type == "query") | .query.query | capture("[(](?<m>[a-z_]+), (?<l>[a-z_]+)[)]") | "\(.m):\(.l)"' "$ROOT/deploy/monitoring/dashboard.json"); do
		[ "$(bed run h1 curl -fsSG --data-urlencode "match[]=${label%:*}" "http://127.0.0.1:9090/api/v1/label/${label#*:}/values" | jq '.data | length')" -ge 2 ]
	done
	ctl h1 service rm checked waiting
	wait_for 30 ctl h1 network rm front
}

@test "a task that asks for it becomes a target" {
	"$ROOT/deploy/dev/make-image" metrics:1 "$SKEIN_TESTBED/image.tar" \
		--cmd 'mkdir -p /www; echo "demo_up 1" >/www/own; exec busybox httpd -f -p 9999 -h /www'
	ctl h1 image load -i "$SKEIN_TESTBED/image.tar"
	ctl h1 service create --name probe --network host --label prometheus.port=9999 --label prometheus.path=/own metrics:1
	wait_for 30 value_is 'demo_up{service="probe",task="probe.1"}' 1
	ctl h1 service rm probe
	gone() { [ -z "$(value 'up{service="probe"}')" ]; }
	wait_for 60 gone
}

@test "a service below its desired number of tasks alerts, and is quiet again" {
	wait_for 30 quiet SkeinServiceBelowDesired service web
	# There is no room for them.
	ctl h1 service create --name big --replicas 2 --detach --reserve-memory 900g demo:1
	wait_for 30 firing SkeinServiceBelowDesired service big
	wait_for 30 firing SkeinServiceDown service big
	quiet SkeinServiceBelowDesired service web
	wait_for 30 value_is 'cluster:skein_pending_tasks{reason="memory"}' 2
	[[ $(ctl h1 info) == *"1 service is below the number of tasks wanted: big"*"to do: clusterctl service explain big"* ]]
	[ "$(ctl h1 info --format '{{.Health}}')" = "1 warning" ]
	ctl h1 service rm big
	wait_for 30 quiet SkeinServiceBelowDesired service big
	[ "$(ctl h1 info --format '{{.Health}}')" = ok ]
}

@test "a node that is down alerts, and is quiet again" {
	bed unplug h3
	wait_for 60 firing SkeinNodeDown node h3
	wait_for 30 firing SkeinTargetDown node h3
	quiet SkeinNodeDown node h1
	bed plug h3
	wait_for 60 quiet SkeinNodeDown node h3
	wait_for 60 value_is 'count(up{job="skein"} == 1)' 6
}

@test "a manager whose port is taken manages, and says so; off is off" {
	bed kill h3 agent; bed kill h3 manager
	released() { ! bed run h3 curl -sk --max-time 1 https://127.0.0.1:9641/healthz; }
	wait_for 10 released
	bed run h3 setsid -f python3 -m http.server 9641 </dev/null >/dev/null 2>&1
	wait_for 20 bed run h3 curl -fsS http://127.0.0.1:9641/
	bed start h3
	complains() { ctl h3 info | grep 'serves no metrics' | grep -q 'in use'; }
	wait_for 60 complains
	wait_for 30 nodes_ready h1 3
	bed run h3 pkill -f 'http[.]server'
	bed kill h3 agent; bed kill h3 manager
	SKEIN_AGENT_ARGS=--manager-http-listen=off bed start h3
	wait_for 60 nodes_ready h1 3
	wait_for 30 ctl h3 node ls
	# That a node is ready may be what was known of it before.
	two_serve() { [ "$(get 10.77.0.1 /sd/prometheus | jq '[.[] | select(.labels.__meta_skein_role == "manager")] | length')" = 2 ]; }
	wait_for 30 two_serve
	[[ $(ctl h3 info) != *"serves no metrics"* ]]
	released
}

@test "top: nodes, services and tasks, plain when piped" {
	wait_for 60 nodes_ready h1 3
	wait_for 30 running_is h1 web 3
	run ctl h1 top tasks
	[ "$status" -eq 0 ]
	[[ ${lines[0]} == TASK*NODE*"CPU %"*"MEM USAGE / LIMIT"*RESTARTS* ]]
	[ "${#lines[@]}" -eq 4 ]
	[[ ${lines[1]} =~ ^web\.[123]\ +h[123]\ +[0-9.]+%\ +[0-9.]+.iB ]]
	run ctl h1 top services --format '{{.Name}} {{.Tasks}} {{.PIDs}}'
	[[ $output =~ ^web\ 3/3\ [0-9]+$ ]]
	run ctl h1 top nodes --sort name --format '{{.Name}} {{.Status}} {{.CPUPerc}} {{.MemPerc}}'
	[ "${#lines[@]}" -eq 3 ]
	for ((i = 0; i < 3; i++)); do [[ ${lines[i]} =~ ^h$((i + 1))\ Ready\ [0-9.]+%\ [0-9.]+%$ ]]; done
	# A task that works is seen to.
	ctl h1 service create --name busy demo:1 sh -c 'while :; do :; done'
	busy() { [ "$(ctl h1 top tasks --sort cpu --format '{{.Name}}' | head -1)" = busy.1 ]; }
	wait_for 20 busy
	ctl h1 service rm busy
	run ctl h1 top tasks --sort nonsense
	[ "$status" -eq 2 ]
}

@test "top on a terminal is drawn anew, within its size, until it is interrupted" {
	local out=$SKEIN_TESTBED/top pid
	bed run h1 script -qefc "stty cols 60 rows 8; exec clusterctl top tasks --sort name" /dev/null </dev/null >"$out" 2>&1 &
	drawn() { [ "$(grep -o $'\e\[H' "$out" | wc -l)" -ge 3 ]; }
	wait_for 20 drawn
	pid=$(bed run h1 pgrep -f '^clusterctl top')
	bed run h1 kill -INT "$pid"
	wait
	grep -q 'web\.1' "$out"
	# Nothing is wider than the terminal.
	! tr -d '\r' <"$out" | sed 's/\x1b\[[0-9]*[A-Za-z]//g' | grep -qE '^.{61,}'
}
