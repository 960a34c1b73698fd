#!/usr/bin/env bash
# Who may include whom (ARCHITECTURE.md). Prints each include that breaks a rule.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bad=0

# folder-regex : regex of our own includes that it must not have
rules=(
	'common/:^(proto|rpc|netoverlay|manager|agent|clusterctl)/'
	'proto/:^(rpc|netoverlay|manager|agent|clusterctl)/'
	'rpc/:^(proto|netoverlay|manager|agent|clusterctl)/'
	'netoverlay/:^(proto|rpc|manager|agent|clusterctl)/'
	'manager/store/:^(rpc|netoverlay|agent|clusterctl)/|^manager/[^s]'
	'manager/orchestrator/:^(rpc|agent|clusterctl|netoverlay)/|^manager/(scheduler|allocator|control|dispatcher|ca)/|^manager/store/etcd'
	'manager/migrator/:^(rpc|agent|clusterctl|netoverlay)/|^manager/(orchestrator|scheduler|allocator|control|dispatcher|ca)/|^manager/store/etcd'
	'manager/scheduler/:^(rpc|agent|clusterctl|netoverlay)/|^manager/(orchestrator|allocator|control|dispatcher|ca)/|^manager/store/etcd'
	'manager/allocator/:^(rpc|agent|clusterctl|netoverlay)/|^manager/(orchestrator|scheduler|control|dispatcher|ca)/|^manager/store/etcd'
	'manager/control/:^(agent|clusterctl|netoverlay)/|^manager/(orchestrator|scheduler|allocator|dispatcher|ca)/'
	'manager/history/:^(rpc|agent|clusterctl|netoverlay)/|^manager/(orchestrator|scheduler|allocator|control|dispatcher|ca|usage|metrics|web)/'
	'manager/metrics/:^(agent|clusterctl|netoverlay)/|^manager/(orchestrator|scheduler|allocator|control|dispatcher|ca|history|usage|web)/'
	'manager/usage/:^(agent|clusterctl|netoverlay)/|^manager/(orchestrator|scheduler|allocator|control|dispatcher|ca|history|metrics|web)/'
	'manager/dispatcher/:^(agent|clusterctl|netoverlay)/|^manager/(orchestrator|scheduler|allocator|control|ca)/'
	'manager/ca/:^(agent|clusterctl|netoverlay)/|^manager/(orchestrator|scheduler|allocator|control|dispatcher)/'
	'manager/web/:^(agent|clusterctl|netoverlay)/|^manager/(orchestrator|scheduler|allocator|control|dispatcher|ca|history|metrics)/'
	'agent/:^(manager|clusterctl)/'
	'agent/migrate/:^netoverlay/|^agent/([^/]*\.h|metrics/)'
	'clusterctl/:^(manager|agent|netoverlay)/'
)
# library header : the only folder that may include it
owners=('grpc/:rpc/' 'netlink/:netoverlay/' 'linux/(rtnetlink|netlink|netfilter|genetlink|xfrm|ip_vs)\b:netoverlay/' 'nftables/:netoverlay/' 'curl/:(common|manager/store)/' 'archive(_entry)?\.h:agent/image/' 'ldns/:agent/net/' 'microhttpd\.h:common/http/' 'zlib\.h:(common/http|agent/image)/' 'zstd\.h:agent/migrate/')

sources=$(git ls-files '*.c' '*.h' | grep -v '^tests/' || :)
[ -n "$sources" ] || { echo "no sources found"; exit 1; }
while IFS=: read -r file include; do
	for rule in "${rules[@]}"; do
		dir=${rule%%:*} deny=${rule#*:}
		if [[ $file == "$dir"* && $include =~ $deny ]]; then
			echo "$file includes $include: not allowed in $dir"
			bad=1
		fi
	done
	for rule in "${owners[@]}"; do
		lib=${rule%%:*} owner=${rule#*:}
		if [[ $include =~ ^$lib && ! $file =~ ^$owner ]]; then
			echo "$file includes <$include>: only $owner wraps it"
			bad=1
		fi
	done
done < <(grep -HoP '^\s*#\s*include\s*[<"]\K[^>"]+' $sources)
exit $bad
