#!/usr/bin/env bash
# docs/metrics.md says what the programs of this build serve.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bin=${SKEIN_BIN:-$(dirname "${PB_DIR:-build/dev/pb}")}
[ -x "$bin/cluster-agent" ] || { echo "no programs in $bin: build first"; exit 1; }
diff -u docs/metrics.md <(docs/generate-metrics "$bin") || { echo "docs/metrics.md is old: docs/generate-metrics $bin >docs/metrics.md"; exit 1; }
