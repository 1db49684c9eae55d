#!/bin/sh
# Two mail hosts and their daemons under random faults and edits, for an hour, see test/soak; then the long form of
# test/faults. Needs root: namespaces.
#   SOAK=5m      another length of the first
#   SEED=1234    the same troubles again; the seed is printed
#   ONLY='renew' only troubles whose name matches
#   FAULTS=3     how many operations of each scenario and fault are tried; 0: none; every: all, which takes many hours
set -eu
cd "$(dirname "$0")/.."
(cd test && go test -c -o ../bin/soak ./soak && go test -c -o ../bin/faults ./faults)
export MAILCERTD_NOSKIP=1 # whoever asks for it is told why it cannot be
inside() {
	if [ "$(id -u)" = 0 ] && unshare -m --propagation private true 2>/dev/null; then
		unshare -m --propagation private "$@" # what is mounted goes with it, however it ends
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
