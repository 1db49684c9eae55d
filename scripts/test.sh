#!/bin/sh
# Runs everything that can be tested on this machine: formatting, vet, staticcheck,
# scripts, makefiles, all tests, cross-builds. parts.sh starts it. Tests that cannot
# run are skipped, each with its reason, and counted; with CI=true a skip is a failure.
#   test.sh lint   without the tests
set -u
cd "$(dirname "$0")/.." || exit 1
if [ "${MAILCERTD_APART:-}" != yes ] && [ "$(id -u)" = 0 ] && unshare -m --propagation private true 2>/dev/null; then
	export MAILCERTD_APART=yes # the mounts end with this process
	exec unshare -m --propagation private sh scripts/test.sh "$@"
fi
passed=0 failed=0 skipped=0

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
	intest go build -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck && bin/staticcheck ./... && intest ../bin/staticcheck -tags step ./...
}
# outdated fails where go fix would change something, in the program for each system or in the tests.
outdated() {
	for os in linux freebsd; do GOOS=$os CGO_ENABLED=0 go fix -diff ./... || return 1; done
	go fix -tags crashpoints -diff ./... && intest go fix -tags step -diff ./...
}
vulnerable() { bin/govulncheck ./... && intest ../bin/govulncheck ./...; }
cross() { GOOS=freebsd GOARCH=$1 CGO_ENABLED=0 go build -o /dev/null ./cmd/mailcertd; }
dry() { "$1" -n check && "$1" -n test && "$1" -n run && "$1" -n soak && "$1" -n step && "$1" -n install && "$1" -n deinstall && "$1" -n port; }

# memory mounts a tmpfs on /tmp, only for this process and its children, so that the tests do not wait for the disk at
# every fsync. The tests of durable use a real disk, in MAILCERTD_DISK.
memory() {
	[ "${MAILCERTD_APART:-}" = yes ] && [ -z "${TMPDIR:-}" ] && [ -d /var/tmp ] || return 0
	case "$(pwd -P)/ $(go env GOCACHE GOMODCACHE GOROOT | tr '\n' ' ')" in
	/tmp/* | *" /tmp/"*) ;; # our own files are in /tmp
	*) mount -t tmpfs -o mode=1777 tmpfs /tmp && export MAILCERTD_DISK=/var/tmp ;;
	esac
}
concurrent="./cmd/mailcertd ./internal/command ./internal/dns ./internal/issuer/... ./internal/mta ./internal/pickup ./internal/rcd ./internal/survey ./internal/watch"
beside='Notify|Working|NewKey|Member|CAAway|Daemon|Person|Delivery|Crowded'

[ "${1:-}" = lint ] || memory
log=$(mktemp) && trap 'rm -f "$log" "$log.tally"' EXIT
[ "${CI:-}" = true ] && export MAILCERTD_NOSKIP=1
# step-ca takes minutes to build, so this begins early. What a build that is cut off has compiled, the next one finds in
# the cache of go.
if [ "${1:-}" != lint ]; then
	within=${STEP_WITHIN:-300}
	timeout "$within" sh scripts/step.sh >/dev/null 2>&1 &
	building=$!
fi

step gofmt unformatted
step "go vet" go vet ./...
step "go vet, test module" intest go vet -tags step ./...
step "go vet for FreeBSD" env GOOS=freebsd GOARCH=amd64 CGO_ENABLED=0 go vet ./...
step "go mod verify" go mod verify
step staticcheck static
step "go fix" outdated
# govulncheck, whose version go.sum pins, needs the Go team's database of vulnerabilities from the network.
intest go build -o ../bin/govulncheck golang.org/x/vuln/cmd/govulncheck || exit 1
if bin/govulncheck ./internal/dh >"$log" 2>&1 || ! grep -q '^govulncheck: fetching' "$log"; then
	step govulncheck vulnerable
else
	echo "      govulncheck: its database cannot be reached, so nothing was checked"
fi
if have shellcheck; then step shellcheck shellcheck -s sh scripts/*.sh bench/*.sh .ci/run; else skip shellcheck "not installed"; fi
step "make -n" dry make
if have bmake; then step "bmake -n" dry bmake; else skip "bmake -n" "not installed"; fi
for arch in amd64 arm64 386 arm; do step "build freebsd/$arch" cross $arch; done

if [ "${1:-}" != lint ]; then
	(cd test && go build -o ../bin/tally ./tally) || exit 1
	stepca=''
	if wait "$building"; then
		stepca='-tags step'
	else
		echo "      step-ca: not built within $within seconds, so test/step does not run; see \`make step\`"
	fi
	race=-race
	if ! have gcc && ! have cc; then race=''; skip "-race" "no C compiler"; fi
	# The race detector makes a program several times slower, so it is used only for packages that start goroutines and
	# for those tests of keeper that run several at once. The programs that test/ starts are built without it.
	# shellcheck disable=SC2046,SC2086
	set -- $race -count=1 $(go list $concurrent) + \
		-count=1 $(go list ./... | grep -vxF "$(go list $concurrent)") + \
		-C test -count=1 -parallel 4 $stepca ./...
	bin/tally -numbers "$log.tally" -- "$@" || :
	read -r p f s <"$log.tally" || { p=0 f=1 s=0; }
	rm -f "$log.tally"
	passed=$((passed + p)); failed=$((failed + f)); skipped=$((skipped + s))
	[ -z "$race" ] || step "go test -race, what keeper does beside the loop" go test -race -count=1 -run "$beside" ./internal/keeper
fi

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] || exit 1
if [ "${CI:-}" = true ] && [ "$skipped" != 0 ]; then
	echo "with CI=true no test may be skipped: install what is missing"
	exit 1
fi
