#!/usr/bin/env bash
# deploy/monitoring: rules that promtool takes and whose tests pass, and no metric that does not exist (docs/metrics.md).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bad=0
dir=deploy/monitoring
promtool check rules "$dir/rules.yml" "$dir/alerts.yml" >/dev/null
(cd "$dir" && promtool test rules rules_test.yml)
promtool check config --syntax-only "$dir/prometheus.yml" >/dev/null

# What Grafana (9 and newer) takes as a dashboard: each line is a rule, and says what breaks it.
jq -r '
	def panels: [.panels[] | ., (.panels[]? // empty)];
	def graphs: [panels[] | select(.type != "row" and .type != "text")];
	def exprs: [panels[].targets[]?.expr];
	def used: [(exprs[], (panels[].title // "")) | scan("[$][{]?([a-zA-Z_]+)")[0]] | unique;
	def variables: [.templating.list[].name];
	def overlap($a; $b): $a.x < $b.x + $b.w and $b.x < $a.x + $a.w and $a.y < $b.y + $b.h and $b.y < $a.y + $a.h;
	def told($bad; $what): if $bad then "dashboard.json: " + $what else empty end;
	told((.title | length) == 0 or (.uid | test("^[a-zA-Z0-9_-]{1,40}$") | not); "title or uid"),
	told((.schemaVersion | type) != "number" or .schemaVersion < 36; "schemaVersion is older than data sources as objects"),
	told(has("id") and .id != null; "id is the importing Grafana'"'"'s to give"),
	told((graphs | length) <= 10; "panels are missing"),
	told(([panels[].id] | unique | length) != (panels | length); "ids of panels are not different"),
	(panels[] | select(IN(.type; "row", "stat", "timeseries", "gauge", "bargauge", "barchart", "table", "text", "piechart", "heatmap",
		"histogram", "state-timeline", "status-history") | not) | "dashboard.json: \(.title): no panel type of Grafana: \(.type)"),
	(panels[] | .gridPos as $g | select($g.x < 0 or $g.w < 1 or $g.h < 1 or $g.x + $g.w > 24) | "dashboard.json: \(.title): outside of 24 columns"),
	(.panels as $p | range(0; $p | length) as $i | range(0; $i) as $j | select(overlap($p[$i].gridPos; $p[$j].gridPos)) |
		"dashboard.json: \($p[$i].title) lies upon \($p[$j].title)"),
	(graphs[] | select(.datasource != {"type": "prometheus", "uid": "${datasource}"}) | "dashboard.json: \(.title): data source"),
	(graphs[] | select((.targets | length) == 0 or ([.targets[].refId] | unique | length) != (.targets | length) or
		any(.targets[]; (.expr // "") == "")) | "dashboard.json: \(.title): targets"),
	(graphs[] | .fieldConfig.defaults.unit // "short" | select(IN("short", "none", "s", "bytes", "Bps", "percentunit", "ops", "reqps") | not) |
		"dashboard.json: unit \(.)"),
	told(any(.templating.list[]; .name == "datasource" and .type == "datasource" and .query == "prometheus") | not; "no variable datasource"),
	(used - variables - ["__rate_interval", "__interval", "__range"] | .[] | "dashboard.json: $\(.) is no variable"),
	(.templating.list[] | select(.type == "query" and .datasource != {"type": "prometheus", "uid": "${datasource}"}) |
		"dashboard.json: variable \(.name): data source")
' "$dir/dashboard.json" | grep . && bad=1

# Every expression parses. Grafana puts values in the place of its variables.
rules=$(mktemp)
trap 'rm -f "$rules"' EXIT
jq '{groups: [{name: "dashboard", rules: [[.. | objects | .expr? | strings] | to_entries[] |
	{record: "panel:\(.key)", expr: (.value | gsub("[$]__[a-z_]+"; "1m") | gsub("[$][a-z]+"; ".*"))}]}]}' "$dir/dashboard.json" >"$rules"
promtool check rules "$rules" >/dev/null

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
