#!/bin/sh
# compare-example.sh [REPORT]: puts a report's table into README.md, between its two marks, and a picture of its page
# beside runner/compare/README.md. Without REPORT it measures one first, ten minutes on an idle machine; COMPARE are further options.
set -eu
report=${1:-build/example.json}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What the example shows of the suite.
workloads='start-first getppid open-close fork-exec page-fault disk-random-write tcp'
if [ $# = 0 ]; then
  only=
  for workload in $workloads; do only="$only --only $workload"; done
  # shellcheck disable=SC2086 # the options are words
  bin/hutch compare --suite --peers ${COMPARE:-} $only --json "$report" host >/dev/null
fi
# Of a report of the whole suite, these.
python3 -c '
import json, sys
report = json.load(open(sys.argv[1]))
wanted = sys.argv[3].split() + ["start-exit"]
report["rows"] = [row for row in report["rows"] if row["name"] in wanted]
json.dump(report, open(sys.argv[2], "w"))' "$report" "$work/$(basename "$report")" "$workloads"
report=$work/$(basename "$report")
COLUMNS=80 NO_COLOR=1 bin/hutch compare --from "$report" --html "$work/page.html" </dev/null >"$work/text"
sed -i "s/$(basename "$report" .json): //g" "$work/text"
{
  sed -n '1,/<!-- compare example -->/p' README.md
  echo '```'
  cat "$work/text"
  echo '```'
  sed -n '/<!-- end of the example -->/,$p' README.md
} >"$work/readme"
cat "$work/readme" >README.md
chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1080,1400 --user-data-dir="$work/profile" \
  --disable-background-networking --no-first-run --screenshot="$work/page.png" "file://$work/page.html" 2>/dev/null
cp "$work/page.png" runner/compare/example.png
