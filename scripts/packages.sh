#!/bin/sh
# Installs the real parts that the tests need, where it may: as root with
# apt-get. Elsewhere the tests that lack something say so and are skipped.
set -u
missing=''
need() { # package, a program or file of it
	for p in $(echo "$2" | tr : ' '); do
		case $p in
		/*) [ -e "$p" ] && return ;;
		*) command -v "$p" >/dev/null 2>&1 && return ;;
		esac
	done
	missing="$missing $1"
}
need sendmail-bin /usr/libexec/sendmail/sendmail
need sendmail-cf /usr/share/sendmail/cf/m4/cf.m4
need m4 m4
need openssl openssl
need iproute2 ip
need util-linux unshare
need strace strace
need shellcheck shellcheck
need busybox busybox
need bmake bmake
need mandoc mandoc
need openssh-server /usr/sbin/sshd
need ca-certificates /etc/ssl/certs/ca-certificates.crt
need git git
need perl-base perl
need gcc gcc:cc
need libc6-dev /usr/include/stdlib.h
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "installing$missing"
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086
	apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends $missing >/dev/null && exit 0
	echo "could not install$missing" >&2
else
	echo "not installed, and not to be installed here (no root or no apt-get):$missing"
fi
exit 0
