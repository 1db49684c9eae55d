#!/bin/sh
# Makes dist/mailcertd-VERSION.tar.gz from the last commit. The Go modules that
# the program needs are in its vendor/, so it can be built without a network.
# VERSION and the time of every file come from release.mk, so that one commit
# gives the same file, byte for byte, on every machine with the same release of Go.
#
# A release:
#   1. VERSION and RELEASED in release.mk, CHANGELOG.md; commit
#   2. make port: makes the tarball, and writes its checksum into the port
#   3. commit ports/, tag, publish dist/mailcertd-VERSION.tar.gz below SITE
# ports/ is not in the tarball, so step 3 does not change the tarball.
set -eu
cd "$(dirname "$0")/.."

release() { sed -n "s/^$1 = *//p" release.mk; }
die() { echo "dist: $*" >&2; exit 1; }

version=$(release VERSION) released=$(release RELEASED)
case $version in
'' | *[!0-9.]*) die "release.mk: VERSION is \"$version\"; it must be digits and dots" ;;
esac
case $released in
[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z) ;;
*) die "release.mk: RELEASED is \"$released\"; it must be a time such as 2026-01-31T12:00:00Z" ;;
esac
# mailcertd considers a clock wrong that is before its own release.
now=$(date -u +%Y%m%d%H%M%S)
[ "$(echo "$released" | tr -cd 0-9)" -le "$now" ] || die "release.mk: RELEASED is $released, which is in the future; set a time that has passed"

top=$(git rev-parse --show-toplevel 2>/dev/null) || top=''
[ "$top" = "$(pwd -P)" ] || die "this directory is not a git checkout; run it in one, because a release is made from a commit"
dirty=$(git status --porcelain -- . ':!ports')
[ -z "$dirty" ] || die "these changes are not committed, so they would not be in the release:
$dirty
commit them, or move them away"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tree"
git archive --format=tar HEAD -- . ':!ports' ':!.ci' ':!.gitignore' >"$work/tree.tar"
tar -xf "$work/tree.tar" -C "$work/tree"
(cd "$work/tree" && GOFLAGS='' GOWORK=off go mod vendor)

mkdir -p dist
out=dist/mailcertd-$version.tar.gz
go run ./scripts/tarball -prefix "mailcertd-$version" -time "$released" "$work/tree" "$work/tarball"
mv "$work/tarball" "$out"
echo "$out"
