#!/bin/sh
# Measures the figures of bench/README.md on this machine. They are written to bin/bench.txt, and benchstat prints their
# summary, beside those of an earlier file where one is named.
#   bench.sh [runs [earlier file]]
set -eu
runs=${1:-41} earlier=''
if [ -n "${2:-}" ]; then earlier=$(realpath "$2"); fi
cd "$(dirname "$0")/../test"
mkdir -p ../bin
out=$(cd ../bin && pwd)/bench.txt new=$out.new
: >"$new"
bench() { go test -run '^$' "$@" >"$new.part" || { cat "$new.part"; exit 1; }; cat "$new.part"; cat "$new.part" >>"$new"; }
go build -o ../bin/benchstat golang.org/x/perf/cmd/benchstat
bench -bench 'FirstBoot|Complete|Start|Return|Renew' -benchtime "${runs}x" .
bench -bench SignProcess -benchtime "${runs}x" .
bench -bench Million -benchtime 5x -timeout 20m .
bench -bench 'Daemon$' -benchtime 1x -timeout 30m .
bench -bench 'Public$' -benchtime "${runs}x" -timeout 1h .
cd ..
bench -bench . -count 6 ./internal/ca
bench -bench PublicCAs -count 6 ./internal/keeper
rm "$new.part"
bin/benchstat ${earlier:+"$earlier"} "$new" # before the mv, since the earlier file may be $out
mv "$new" "$out"
