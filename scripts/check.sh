#!/bin/sh
# What to run between two edits: a minute at most, no root, nothing unpacked or downloaded but Go modules. It says nothing
# of sendmail and openssl: `make test` does.
set -eu
cd "$(dirname "$0")/.."
bad=$(gofmt -l cmd internal scripts test)
if [ -n "$bad" ]; then
	echo "gofmt -w $bad" >&2
	exit 1
fi
go vet ./...
(cd test && go vet ./...)
GOOS=freebsd GOARCH=amd64 CGO_ENABLED=0 go build -o /dev/null ./cmd/mailcertd
go test ./cmd/... ./internal/command ./internal/config ./internal/dh ./internal/page ./internal/parcel ./internal/pickup \
	./internal/plan ./internal/rcd ./internal/report ./internal/state ./internal/text ./man
(cd test && go test -run '^(TestImports|TestReadsHaveOneSeam)$' .)
