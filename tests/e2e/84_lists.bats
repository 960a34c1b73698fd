#!/usr/bin/env bats
# Every list and inspect: table, json, template, filter, -q, --no-trunc; names and id prefixes wherever an object is meant.
load common

setup_file() {
	cluster_up 1 1
	load_image h1 demo:1 --cmd 'echo "up"; trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'
	ctl h1 service create --name web --replicas 2 --label tier=front demo:1
	ctl h1 service create --name each --mode global demo:1
	printed() { [ "$(ctl h1 service logs web | grep -c up)" = 2 ]; } # a program runs before it has said anything
	wait_for 10 printed
	ctl h1 join-token create --role worker --ttl 30m --uses 2 --label rack=a
	export WEB EACH NODE
	WEB=$(ctl h1 service ls --no-trunc -q --filter name=web)
	NODE=$(ctl h1 node ls --no-trunc -q --filter name=h2)
}

lists=("node ls" "node ps h2" "service ls" "service ps web" "task ls" "image ls" "join-token ls")
count() { ctl h1 "$@" | wc -l; }

@test "every list: a table with aligned columns, json, a template, only ids" {
	local list words rows
	for list in "${lists[@]}"; do
		read -ra words <<<"$list"
		run ctl h1 "${words[@]}"
		[ "$status" -eq 0 ]
		rows=$((${#lines[@]} - 1))
		[ "$rows" -ge 1 ]
		[[ ${lines[0]} =~ ^[A-Z\ ]+$ ]]
		# Below the second heading stands the second column.
		local at=${lines[0]%%[A-Z]*} second
		second=$(awk '{ match($0, /^[A-Z]+( [A-Z]+)*  +/); print RLENGTH }' <<<"${lines[0]}")
		[ -z "$at" ]
		for ((i = 1; i <= rows; i++)); do [ "${lines[i]:second-1:1}" = " " ]; done
		# json: one object in a line.
		[ "$(ctl h1 "${words[@]}" --format json | jq -s length)" = "$rows" ]
		[ "$(ctl h1 "${words[@]}" --format json | jq -s 'all(.[]; type == "object" and (.ID | length) > 0)')" = true ]
		[ "$(count "${words[@]}" -q)" = "$rows" ]
		[ "$(ctl h1 "${words[@]}" -q)" = "$(ctl h1 "${words[@]}" --format '{{.ID}}')" ]
		# Short ids begin the long ones.
		paste <(ctl h1 "${words[@]}" -q) <(ctl h1 "${words[@]}" -q --no-trunc) | awk '{ sub(/^sha256:/, "", $2); sub(/^sha256:/, "", $1); if (index($2, $1) != 1) exit 1 }'
	done
}

@test "every list: filters, and the accepted ones are named when one is wrong" {
	local list words
	for list in "${lists[@]}"; do
		read -ra words <<<"$list"
		run ctl h1 "${words[@]}" --filter nonsense=1
		[ "$status" -ne 0 ]
		[[ $output == *nonsense* ]]
		run ctl h1 "${words[@]}" --filter nonsense
		[ "$status" -eq 2 ]
		run ctl h1 "${words[@]}" --format '{{.NoSuchField}}'
		[ "$status" -eq 2 ]
		[[ $output == *NoSuchField*ID* ]]
	done
	[ "$(ctl h1 node ls --filter role=manager --format '{{.Hostname}}')" = h1 ]
	[ "$(ctl h1 node ls --filter name=h2 --format '{{.Hostname}}')" = h2 ]
	[ "$(ctl h1 node ls --filter id="${NODE:0:8}" --format '{{.Hostname}}')" = h2 ]
	[ "$(count node ls -q --filter availability=active)" = 2 ]
	[ "$(ctl h1 service ls --filter mode=global --format '{{.Name}}')" = each ]
	[ "$(ctl h1 service ls --filter label=tier=front --format '{{.Name}}')" = web ]
	[ "$(ctl h1 service ls --filter label=tier --format '{{.Name}}')" = web ]
	[ "$(count service ls -q --filter label=tier=back)" = 0 ]
	[ "$(count service ps web -q --filter node=h2)" = 1 ]
	[ "$(count service ps web -q --filter name=web.1)" = 1 ]
	[ "$(count service ps web -q --filter desired-state=running)" = 2 ]
	[ "$(count service ps web -q --filter desired-state=shutdown)" = 0 ]
	[ "$(count task ls -q --filter service=each)" = 2 ]
}

@test "services by name, by id and by the beginning of an id" {
	local ref
	for ref in web "$WEB" "${WEB:0:7}"; do
		[ "$(ctl h1 service inspect "$ref" | jq -r '.[0].id')" = "$WEB" ]
		[ "$(ctl h1 service inspect --format '{{.spec.name}}' "$ref")" = web ]
		[[ $(ctl h1 service inspect --pretty "$ref") == *web* ]]
		[ "$(count service ps "$ref" -q)" = 2 ]
		[ "$(ctl h1 service logs "$ref" | grep -c up)" = 2 ]
		[[ $(ctl h1 service explain "$ref") == *web* ]]
		ctl h1 service update --detach --label-add seen="$ref" "$ref"
		ctl h1 service scale "$ref=2"
	done
}

@test "nodes by name, by id and by the beginning of an id" {
	local ref
	for ref in h2 "$NODE" "${NODE:0:7}"; do
		[ "$(ctl h1 node inspect "$ref" | jq -r '.[0].id')" = "$NODE" ]
		[[ $(ctl h1 node inspect --pretty "$ref") == *h2* ]]
		[ "$(count node ps "$ref" -q)" = 2 ]
		ctl h1 node update --label-add seen=yes "$ref"
	done
	[ "$(ctl h1 node inspect self | jq -r '.[0].description.hostname')" = h1 ]
}

@test "tasks by name, by id and by the beginning of an id" {
	local task ref
	task=$(task_of h1 web 1)
	for ref in web.1 "$task" "${task:0:7}"; do
		[ "$(ctl h1 task inspect "$ref" | jq -r '.[0].id')" = "$task" ]
		[[ $(ctl h1 task logs "$ref") == *up* ]]
	done
}

@test "an id that fits several says so; what is not there is named" {
	local verb
	for verb in "service inspect" "service ps" "service rm" "service logs" "service explain" "node inspect" "node ps" "node rm" "task inspect" "join-token rm"; do
		# shellcheck disable=SC2086
		run ctl h1 $verb no-such-thing
		[ "$status" -eq 1 ]
		[[ $output == *no-such-thing* ]]
	done
	# 36 letters begin ids: of 40 services two begin alike.
	local i first
	for ((i = 0; i < 40; i++)); do ctl h1 service create --detach --quiet --name "many$i" --replicas 0 demo:1; done
	first=$(ctl h1 service ls -q | cut -c1 | sort | uniq -d | head -1)
	run ctl h1 service inspect "$first"
	[ "$status" -eq 1 ]
	[[ $output == *"$first"* ]]
	[[ $output == *ambiguous* || $output == *several* || $output == *more\ than\ one* ]]
	ctl h1 service rm $(ctl h1 service ls -q --filter name=many)
	[ "$(count service ls -q)" = 2 ]
}

@test "images by name, by digest and by the beginning of a digest" {
	local id
	id=$(ctl h2 image ls -q --no-trunc | head -1)
	ctl h1 service rm web each
	no_tasks() { [ -z "$(ctl h1 task ls -q)" ] && [ -z "$(bed run h2 ls /var/lib/skein/tasks)" ]; }
	wait_for 30 no_tasks
	ctl h2 image rm "${id:0:19}"
	[ -z "$(ctl h2 image ls -q)" ]
	ctl h1 image rm demo:1
	[ -z "$(ctl h1 image ls -q)" ]
}
