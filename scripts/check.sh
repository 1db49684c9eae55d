#!/bin/sh
# Quick checks to run between two edits: at most a minute, without root, and nothing but Go modules is downloaded. They
# do not run sendmail or openssl; `make test` does.
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
