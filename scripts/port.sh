#!/bin/sh
# Updates ports/security/mailcertd for this release, as `make makesum` would on
# FreeBSD: the version and the addresses from release.mk, the scripts of rc.d/ and
# etc/periodic/, and the tarball's checksum. `make port` runs it after `make dist`.
# Commit its result, which can be copied into a ports tree.
#   port.sh [TARBALL]	without TARBALL it does not write distinfo
set -eu
cd "$(dirname "$0")/.."
port=ports/security/mailcertd
tarball=${1:-}

release() { sed -n "s/^$1 = *//p" release.mk; }
fill() { # variable value
	sed "s|^\($1=[	]*\).*|\1$2|" "$port/Makefile" >"$port/Makefile.new"
	mv "$port/Makefile.new" "$port/Makefile"
}

fill DISTVERSION "$(release VERSION)"
fill MASTER_SITES "$(release SITE)"
fill WWW "$(release SITE)"
fill MAINTAINER "$(release MAINTAINER)"
fill RELEASED "$(release RELEASED)"

mkdir -p "$port/files"
cp rc.d/mailcertd "$port/files/mailcertd.in"
cp etc/periodic/security/480.mailcertd "$port/files/480.mailcertd.in"

[ -n "$tarball" ] || exit 0
# The same tool has different names on Linux and BSD.
if command -v sha256sum >/dev/null 2>&1; then
	sum=$(sha256sum <"$tarball" | cut -d ' ' -f 1)
else
	sum=$(sha256 -q "$tarball")
fi
when=$(release RELEASED)
seconds=$(date -u -d "$when" +%s 2>/dev/null || date -j -u -f %Y-%m-%dT%H:%M:%SZ "$when" +%s)
name=${tarball##*/}
cat >"$port/distinfo" <<END
TIMESTAMP = $seconds
SHA256 ($name) = $sum
SIZE ($name) = $(wc -c <"$tarball" | tr -d ' ')
END
