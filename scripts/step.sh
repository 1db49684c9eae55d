#!/bin/sh
# Builds step-ca into bin, for test/step. The first time this takes some minutes: step-ca needs several hundred modules.
# Later go's build cache has them.
#   step.sh        builds it, if bin does not have it already
#   step.sh test   also runs the test
set -eu
cd "$(dirname "$0")/.."
module=github.com/smallstep/certificates version=v0.30.2
sum=h1:1G3xBi8sJ740iA1mMPW2Svv7EIZKJ4Zf/iQtA5QlN0Y= # as `go version -m` prints it
built() { go version -m bin/step-ca 2>/dev/null | grep -q "$module	$version	$sum"; }
if ! built; then
	GOBIN=$PWD/bin GOFLAGS=-buildvcs=false CGO_ENABLED=0 go install "$module/cmd/step-ca@$version"
	built || { echo "bin/step-ca is not $module $version with the checksum $sum" >&2; exit 1; }
fi
[ "${1:-}" != test ] || (cd test && MAILCERTD_NOSKIP=1 go test -count=1 -tags step ./step)
