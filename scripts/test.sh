#!/bin/sh
# Runs everything that can be tested on this machine: formatting, vet, staticcheck,
# scripts, makefiles, all tests, cross-builds. parts.sh starts it. Tests that cannot
# run are skipped, each with its reason, and counted; with CI=true a skip is a failure.
#   test.sh lint   without the tests
# Many tests wait, for sendmail and for time to pass, so all parts run beside each other. Only the quick steps come
# first: they compile what the others need, which would be compiled several times otherwise.
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
	for os in linux freebsd; do GOOS=$os go fix -diff ./... || return 1; done
	go fix -tags crashpoints -diff ./cmd/... && intest go fix -tags step -diff ./... # no other package has the tag
}
vulnerable() { bin/govulncheck ./... && intest ../bin/govulncheck ./...; }
cross() { GOOS=freebsd GOARCH=$1 go build -tags nethttpomithttp2 -o /dev/null ./cmd/mailcertd; }
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

# The program is built without cgo, and so are the tests: each package is compiled once. -race needs cgo. With -trimpath
# go finds in its cache what was compiled in another directory.
GOFLAGS="$(go env GOFLAGS) -trimpath"
export CGO_ENABLED=0 GOFLAGS

first() {
	step gofmt unformatted
	step "go vet" go vet ./...
	step "go vet, test module" intest go vet -tags step ./...
}
rest() {
	step "go vet for FreeBSD" env GOOS=freebsd GOARCH=amd64 go vet ./...
	for arch in amd64 arm64 386 arm; do step "build freebsd/$arch" cross $arch; done
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
}

# tests runs tally with its arguments and counts what it counts.
tests() {
	bin/tally -numbers "$log.tally" -- "$@" || :
	read -r p f s <"$log.tally" || { p=0 f=1 s=0; }
	count "$p" "$f" "$s"
}
count() { passed=$((passed + $1)); failed=$((failed + $2)); skipped=$((skipped + $3)); }

# beside starts a part of this script, see below. joined waits for it, prints what it said, and counts. A part that only
# computes is nice: it gets the processors while the tests wait.
beside() { # part [nice]
	part=$1; shift
	"$@" sh scripts/test.sh "$part" "$log.$part" >"$log.$part.said" 2>&1 &
}
joined() { # part process
	wait "$2"
	cat "$log.$1.said"
	read -r p f s <"$log.$1" || { p=0 f=1 s=0; echo "FAIL  $1 has ended early"; }
	count "$p" "$f" "$s"
}

# stepca builds step-ca, which takes minutes the first time, and tests with it. What a build that is cut off has
# compiled, the next one finds in the cache of go.
stepca() {
	within=${STEP_WITHIN:-420}
	if timeout "$within" sh scripts/step.sh >/dev/null 2>&1; then
		tests -C test -vet=off -count=1 -tags step ./step
	else
		echo "      step-ca: not built within $within seconds, so test/step does not run; see \`make step\`"
	fi
}

# The race detector makes a program several times slower, so it is used only for packages that start goroutines and
# for those tests of keeper that run several at once. The programs that test/ starts are built without it.
concurrent="./cmd/mailcertd ./internal/command ./internal/dns ./internal/issuer/... ./internal/mta ./internal/pickup ./internal/rcd ./internal/survey ./internal/watch"
several='Notify|Working|NewKey|Member|CAAway|Daemon|Person|Delivery|Crowded|WindowAlwaysOver|TLSA|WhileAsking|AskAfter'
years='^(TestMembersThroughGenerations|TestMemberCRL|TestPublicCAAway)$' # what others do once, again for years
raced() {
	step "go test -race, what keeper does beside the loop" env CGO_ENABLED=1 go test -race -vet=off -count=1 -run "$several" -skip "$years" ./internal/keeper
	step "go test -race, a large index.txt" env CGO_ENABLED=1 go test -race -vet=off -count=1 -run '^(TestBlocks|TestComparison)' ./internal/durable ./internal/ca
}

[ "${CI:-}" = true ] && export MAILCERTD_NOSKIP=1
[ -n "${1:-}" ] || memory
log=$(mktemp) && trap 'rm -f "$log" "$log".*' EXIT
case ${1:-} in
lint) first; rest ;;
rest | stepca | raced) # a part, which writes its counts into a file
	"$1"
	echo "$passed $failed $skipped" >"$2"
	exit ;;
*)
	first
	(cd test && go build -o ../bin/tally ./tally) || exit 1
	beside rest nice -n 5; rest=$!
	beside stepca; stepca=$!
	race='' detector='' raced=''
	if have gcc || have cc; then
		race='CGO_ENABLED=1' detector=-race
		beside raced nice -n 5; raced=$!
	else
		skip "-race" "no C compiler"
	fi
	# The tests of the test module go by time and wait a lot: more of them run at a time than there are processors, and
	# the other packages, which compute, leave the processors to them.
	# shellcheck disable=SC2046,SC2086
	tests $race nice $detector -vet=off -count=1 $(go list $concurrent) + \
		nice -vet=off -count=1 $(go list ./... | grep -vxF "$(go list $concurrent)") + \
		-C test -vet=off -count=1 -p 3 -parallel 4 ./...
	joined rest "$rest"
	[ -z "$raced" ] || joined raced "$raced"
	joined stepca "$stepca"
	;;
esac

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] || exit 1
if [ "${CI:-}" = true ] && [ "$skipped" != 0 ]; then
	echo "with CI=true no test may be skipped: install what is missing"
	exit 1
fi
