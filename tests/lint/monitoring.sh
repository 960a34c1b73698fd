#!/usr/bin/env bash
# deploy/monitoring: rules that promtool takes and whose tests pass, and no metric that does not exist (docs/metrics.md).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bad=0
dir=deploy/monitoring
promtool check rules "$dir/rules.yml" "$dir/alerts.yml" >/dev/null
(cd "$dir" && promtool test rules rules_test.yml)
promtool check config --syntax-only "$dir/prometheus.yml" >/dev/null
jq -e '.panels | length > 10' "$dir/dashboard.json" >/dev/null

# Names as they are in a query: what we record ourselves has a colon.
names() {
	{
		grep -hE '^ *expr:' "$dir/rules.yml" "$dir/alerts.yml"
		jq -r '.. | objects | .expr?, (.query? | objects | .query?) | strings' "$dir/dashboard.json"
	} | grep -oE '[a-z_]+:[a-z0-9_:]+|\b(skein|process)_[a-z0-9_]+' | sort -u
}
recorded=$(grep -oE 'record: .*' "$dir/rules.yml" | sed 's/record: //')
documented=$(grep -oE '^\| `[a-z0-9_]+`' docs/metrics.md | tr -d '|` ')
for name in $(names); do
	case $name in
	*:*)
		grep -qxF "$name" <<<"$recorded" || { echo "$name is recorded by no rule"; bad=1; } ;;
	skein_[a-z]*)
		base=${name%_bucket}
		base=${base%_count}
		[ "$base" = "$name" ] && base=$name
		grep -qxF -e "$name" -e "$base" <<<"$documented" || { echo "$name is no metric of docs/metrics.md"; bad=1; } ;;
	esac
done
exit $bad
