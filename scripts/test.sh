#!/bin/sh
# Everything that can be tested here: formatting, vet, staticcheck, scripts,
# makefiles, all tests with -race, cross-builds. parts.sh runs it. What cannot run is skipped by
# name, with its reason, and counted; with CI=true nothing may be skipped.
#   test.sh lint   without the tests
set -u
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0 skipped=0
log=$(mktemp) && trap 'rm -f "$log" "$log.tally"' EXIT

step() { # name command...
	name=$1; shift
	if "$@" >"$log" 2>&1; then
		passed=$((passed + 1)); echo "ok    $name"
	else
		failed=$((failed + 1)); echo "FAIL  $name"; cat "$log"
	fi
}
skip() { skipped=$((skipped + 1)); echo "skip  $1: $2"; }
have() { command -v "$1" >/dev/null 2>&1; }
unformatted() { ! gofmt -l cmd internal scripts test | grep .; }
intest() { (cd test && "$@"); }
static() {
	intest go build -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck && bin/staticcheck ./... && intest ../bin/staticcheck ./...
}
cross() { GOOS=freebsd GOARCH=$1 CGO_ENABLED=0 go build -o /dev/null ./cmd/mailcertd; }
dry() { "$1" -n test && "$1" -n run && "$1" -n install && "$1" -n deinstall && "$1" -n port; }

[ "${CI:-}" = true ] && export MAILCERTD_NOSKIP=1

step gofmt unformatted
step "go vet" go vet ./...
step "go vet, test module" intest go vet ./...
step "go vet for FreeBSD" env GOOS=freebsd GOARCH=amd64 CGO_ENABLED=0 go vet ./...
step "go mod verify" go mod verify
step staticcheck static
if have shellcheck; then step shellcheck shellcheck -s sh scripts/*.sh .ci/run; else skip shellcheck "not installed"; fi
step "make -n" dry make
if have bmake; then step "bmake -n" dry bmake; else skip "bmake -n" "not installed"; fi
for arch in amd64 arm64 386 arm; do step "build freebsd/$arch" cross $arch; done

if [ "${1:-}" != lint ]; then
	race=-race p=0 f=0 s=0
	if ! have gcc && ! have cc; then race=''; skip "-race" "no C compiler"; fi
	(cd test && go build -o ../bin/tally ./tally) || exit 1
	for dir in . test; do
		# shellcheck disable=SC2086
		bin/tally -C $dir -numbers "$log.tally" -- $race -count=1 ./... || :
		read -r p f s <"$log.tally" || f=1
		rm -f "$log.tally"
		passed=$((passed + p)); failed=$((failed + f)); skipped=$((skipped + s))
	done
fi

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] || exit 1
if [ "${CI:-}" = true ] && [ "$skipped" != 0 ]; then
	echo "in CI nothing may be skipped"
	exit 1
fi
