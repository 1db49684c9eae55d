#!/bin/sh
# Compares mailcertd with certbot and lego: one Pebble, one sendmail, from "the certificate is due" until sendmail serves
# the new one, with CPU time and peak memory; and measures the memory of a daemon with an ACME CA. It needs root, Go, and
# a Debian archive, from which scripts/parts.sh unpacks certbot, lego and sendmail. Programs that come first in PATH are
# used instead of these.
#   acme.sh [runs]
set -eu
cd "$(dirname "$0")/.."
# shellcheck disable=SC2016 # $1 is that of the inner shell
exec sh scripts/parts.sh -with bench sh -c 'cd test
	go test -run "^$" -bench "Public$" -benchtime "$1x" -timeout 1h . &&
	go test -run "^$" -bench "PublicDaemon$" -benchtime 1x -timeout 20m .' sh "${1:-11}"
