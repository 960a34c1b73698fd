#!/usr/bin/env bash
# Every header compiles alone: it declares or includes all that it uses.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
pb=${PB_DIR:-build/dev/pb}
[ -f "$pb/objects.pb-c.h" ] || { echo "no generated messages in $pb: build first"; exit 1; }
flags="-std=gnu17 -D_GNU_SOURCE -I. -isystem $pb $(pkg-config --cflags libnl-3.0 libnl-route-3.0 libuv)"
bad=0
while read -r header; do
	# shellcheck disable=SC2086
	echo "#include \"$header\"" | ${CC:-cc} $flags -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -fsyntax-only -x c - || bad=1
done < <(git ls-files '*.h' | grep -v '^tests/')
exit $bad
