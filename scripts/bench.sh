#!/bin/sh
# The figures of bench/README.md, on this machine.
#   bench.sh [runs]
set -eu
cd "$(dirname "$0")/../test"
go test -run '^$' -bench 'FirstBoot|Complete|Start|Return|Renew' -benchtime "${1:-41}x" .
go test -run '^$' -bench SignProcess -benchtime "${1:-41}x" .
go test -run '^$' -bench Daemon -benchtime 1x -timeout 10m .
cd ..
go test -run '^$' -bench . ./internal/ca
go test -run '^$' -bench PublicCAs ./internal/keeper
