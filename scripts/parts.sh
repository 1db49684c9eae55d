#!/bin/sh
# Runs a command with the real programs ("parts") that the tests and the demonstration use: sendmail, sshd and others.
#   parts.sh COMMAND [ARG...]            all of them
#   parts.sh -only sendmail COMMAND...   sendmail alone
#   parts.sh -with bench COMMAND...      all of them, and the programs that mailcertd's speed is compared with
# Parts that the machine has are used as they are. Those that it lacks are downloaded from its own Debian archive and
# unpacked into .parts: nothing is installed, replaced, configured or started, and this does not need root.
# As root the command then runs in a mount namespace of its own, where .parts is an overlay over /usr. Otherwise it
# finds the parts by PATH and LD_LIBRARY_PATH. Where a part cannot be downloaded, the command runs without it.
set -u
top=$(cd "$(dirname "$0")/.." && pwd -P)
parts=$top/.parts # with a dot, so that the go command ignores it
only='' with=''
if [ "${1:-}" = -over ]; then # in a mount namespace of our own
	shift
	below=$(awk '$2 ~ "^/usr/" {print $2}' /proc/self/mounts)
	n=0
	for m in $below; do # keep what is mounted below /usr visible
		n=$((n + 1))
		mkdir -p "$parts/mnt/$n" && mount --rbind "$m" "$parts/mnt/$n" || exit 1
	done
	(cd "$parts/root" && mount -t overlay overlay -o lowerdir=usr:/usr /usr) || exit 1
	n=0
	for m in $below; do
		n=$((n + 1))
		mount --move "$parts/mnt/$n" "$m" || exit 1
	done
	exec "$@"
fi
if [ "${1:-}" = -only ]; then only=$2; shift 2; fi
if [ "${1:-}" = -with ]; then with=$2; shift 2; fi

missing=''
need() { # group, package, its programs or files: one of them is enough
	[ -z "$only" ] || [ "$only" = "$1" ] || return 0
	for p in $(echo "$3" | tr : ' '); do
		case $p in
		/*) [ -e "$p" ] && return ;;
		*) command -v "$p" >/dev/null 2>&1 && return ;;
		esac
	done
	missing="$missing $2"
}
need sendmail sendmail-bin /usr/libexec/sendmail/sendmail
need test sendmail-cf /usr/share/sendmail/cf/m4/cf.m4
need test m4 m4
need test openssl openssl
need test curl curl
need test iproute2 ip
need test strace strace
need test shellcheck shellcheck
need test busybox busybox
need test bmake bmake
need test mandoc mandoc
need test openssh-server /usr/sbin/sshd
need test openssh-client ssh
need test bind9 named
need test bind9-utils tsig-keygen
need test bind9-dnsutils nsupdate
need test ldnsutils drill
if [ "$(id -u)" = 0 ]; then # these find their own files only in /usr, which needs the overlay
	need test git git
	need test certbot certbot
	need test unbound unbound
	need test nsd nsd
	need test postfix posttls-finger
	need test gcc cc
	need test libc6-dev /usr/include/stdlib.h
fi
if [ "$with" = bench ]; then
	need bench lego lego
	need bench time /usr/bin/time
fi
[ -n "$missing" ] || exec "$@"

# apt-get, with package lists of our own where the machine's are missing or too old.
lists=''
apt() {
	if [ -n "$lists" ]; then
		LC_ALL=C apt-get -qq -o Dir::State::lists="$parts/lists" -o Dir::Cache="$parts/cache" -o Debug::NoLocking=1 "$@"
	else
		LC_ALL=C apt-get -qq -o Debug::NoLocking=1 "$@"
	fi
}

# installs lists what apt-get would install for these packages, in the versions of its lists.
installs() {
	apt -s --no-install-recommends install "$@" 2>"$parts/apt.err" |
		sed -n 's/^Inst \([^ ]*\) \(\[[^]]*\] \)\{0,1\}(\([^ ]*\) .*/\1=\3/p'
}

# download gets what apt-get would install for $missing. postfix is asked for by itself, because no machine has both it
# and sendmail, and only its libraries are needed with it.
download() {
	# shellcheck disable=SC2046
	wanted=$(installs $(echo "$missing " | sed 's/ postfix / /'))
	[ -n "$wanted" ] || [ "$missing" = ' postfix' ] || return 1
	case "$missing " in
	*' postfix '*) wanted="$wanted $(installs postfix | grep -e '^postfix=' -e '^lib')" ;;
	esac
	# shellcheck disable=SC2086
	(cd "$parts/deb" && apt download $wanted) >/dev/null 2>>"$parts/apt.err"
}

fetch() {
	if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
		echo "apt-get or dpkg-deb is missing, so the parts cannot be unpacked: install these yourself:$missing" >&2
		return 1
	fi
	echo "unpacking into .parts, only for this project:$missing" >&2
	rm -rf "$parts"
	mkdir -p "$parts/deb" "$parts/lists/partial" "$parts/cache/archives/partial" "$parts/new" "$parts/root/usr/sbin" || return 1
	if ! download; then
		lists=own
		apt update >/dev/null 2>"$parts/apt.err"
		if ! download; then cat "$parts/apt.err" >&2; return 1; fi
	fi
	for deb in "$parts"/deb/*.deb; do
		case $deb in
		*/postfix_*) # of this mail server one program alone, and not its sendmail
			dpkg-deb -x "$deb" "$parts/other" && mkdir -p "$parts/new/usr/sbin" "$parts/new/usr/lib/postfix" &&
				cp -a "$parts/other/usr/sbin/posttls-finger" "$parts/new/usr/sbin/" &&
				cp -a "$parts/other"/usr/lib/postfix/lib*.so* "$parts/new/usr/lib/postfix/" || return 1
			;;
		*) dpkg-deb -x "$deb" "$parts/new" || return 1 ;;
		esac
	done
	for d in bin sbin lib lib32 lib64 libx32; do # as on a system where these are links into /usr
		[ -d "$parts/new/$d" ] || continue
		mkdir -p "$parts/new/usr/$d" && cp -a "$parts/new/$d/." "$parts/new/usr/$d/" || return 1
	done
	cp -a "$parts/new/usr/." "$parts/root/usr/" || return 1
	find "$parts/root" -type f -perm /6000 -exec chmod ug-s {} + # these copies must not give anybody more rights
	rm -rf "$parts/deb" "$parts/new" "$parts/other" "$parts/lists" "$parts/cache" "$parts/apt.err"
	# These names are links that Debian's alternatives make when a package is installed.
	if [ -e "$parts/root/usr/libexec/sendmail/sendmail" ]; then
		ln -sf /usr/libexec/sendmail/sendmail "$parts/root/usr/sbin/sendmail"
	fi
	if [ -e "$parts/root/usr/bin/gcc" ]; then ln -sf gcc "$parts/root/usr/bin/cc"; fi
	# Python programs start faster with compiled modules, which the installation of a package makes as well.
	if [ -d "$parts/root/usr/lib/python3" ] && [ -x /usr/bin/python3 ]; then
		/usr/bin/python3 -m compileall -q -s "$parts/root" "$parts/root/usr/lib/python3" >/dev/null 2>&1
	fi
	echo "$missing" >"$parts/have"
}

if [ "$(cat "$parts/have" 2>/dev/null)" != "$missing" ]; then
	case "$(cat "$parts/have" 2>/dev/null) " in
	*"$missing "*) ;; # more was unpacked than is needed now
	*) fetch || { echo "could not unpack$missing: tests that need it are skipped" >&2; exec "$@"; } ;;
	esac
fi

export MAILCERTD_PARTS="$parts/root"
self=$top/scripts/parts.sh
if [ "$(id -u)" = 0 ] && unshare -m --propagation private sh "$self" -over true >/dev/null 2>&1; then
	exec unshare -m --propagation private sh "$self" -over "$@"
fi
for d in "$parts"/root/usr/lib "$parts"/root/usr/lib/*-linux-gnu*; do
	LD_LIBRARY_PATH=$d${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH MAKESYSPATH="$parts/root/usr/share/bmake/mk-bmake"
export PATH="$PATH:$parts/root/usr/sbin:$parts/root/usr/bin"
exec "$@"
