#!/bin/sh
# Runs two mail hosts and their daemons under random faults and edits for an hour (test/soak), then the long form of
# test/faults. It needs root for namespaces.
#   SOAK=5m      how long the first part takes; default: 1h
#   SEED=1234    the same troubles again; the seed is printed
#   ONLY='renew' only troubles whose name matches
#   FAULTS=3     how many operations of each scenario are made to fail; 0: none; every: all, which takes many hours
set -eu
cd "$(dirname "$0")/.."
(cd test && go test -c -o ../bin/soak ./soak && go test -c -o ../bin/faults ./faults)
export MAILCERTD_NOSKIP=1 # fail with the reason where a test cannot run
inside() {
	if [ "$(id -u)" = 0 ] && unshare -m --propagation private true 2>/dev/null; then
		unshare -m --propagation private "$@" # its mounts end with it
	else
		"$@"
	fi
}
cd test/soak
inside ../../bin/soak -test.run '^TestSoak$' -soak "${SOAK:-1h}" -seed "${SEED:-0}" -only "${ONLY:-}"
cd ../faults
case ${FAULTS:=3} in
0) ;;
every) ../../bin/faults -test.v -test.timeout 0 -every -losses 0 ;;
*) ../../bin/faults -test.v -test.timeout 0 -most "$FAULTS" -losses 40 ;;
esac
