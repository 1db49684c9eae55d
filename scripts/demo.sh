#!/bin/sh
# Shows mailcertd at work below ./demo, with the real sendmail that parts.sh found or unpacked.
# No root needed, nothing outside ./demo is touched.
#   DEMO_PORT=2525  sendmail's port on 127.0.0.1
#   DEMO_ONCE=1     end after the demonstration
set -eu
cd "$(dirname "$0")/.."
top=$(pwd -P)
demo=${DEMO_DIR:-$top/demo}
port=${DEMO_PORT:-2525}
bin=$top/bin/mailcertd
name=mail.demo.example
say() { printf '\n== %s\n' "$*"; }

# first prints the first argument that is a program, with its links followed.
first() { for f; do if [ -x "$f" ]; then readlink -f "$f"; return; fi; done; }

daemon='' mta=''
stop() {
	trap - EXIT INT TERM
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || :
	if [ -n "$mta" ]; then
		kill "$(head -n 1 "$demo/run/sendmail.pid" 2>/dev/null)" 2>/dev/null || :
	fi
	wait
}
trap 'stop; exit 130' INT TERM
trap stop EXIT

case $demo in */demo) ;; *) echo "DEMO_DIR must end in /demo" >&2; exit 2 ;; esac
mkdir -p "$demo"
find "$demo" -mindepth 1 -delete
# Root's sendmail trusts no file below a directory that others may write.
if [ "$(id -u)" = 0 ]; then
	d=$demo
	while [ "$d" != / ]; do
		d=$(dirname "$d")
		# shellcheck disable=SC2012
		case $(ls -ld "$d" | cut -c1-10) in
		?????w* | ????????w*)
			command -v setpriv >/dev/null || break
			echo "$d may be written by others, where root's sendmail trusts nothing: this runs as nobody"
			chown 65534:65534 "$demo"
			exec setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$demo" DEMO_DIR="$demo" DEMO_PORT="$port" sh "$top/scripts/demo.sh"
			;;
		esac
	done
fi
mkdir -p "$demo/usr/local/etc" "$demo/etc/mail" "$demo/run" "$demo/spool" "$demo/libexec"
chmod 700 "$demo/spool"
sendmail=$(first /usr/libexec/sendmail/sendmail "${MAILCERTD_PARTS:-}/usr/libexec/sendmail/sendmail")
program=$demo/libexec/sendmail
cat >"$demo/usr/local/etc/mailcertd.yaml" <<END
# made by make run
host: {name: $name}
sendmail:
  program: $program
  start_command: [$program, -C, $demo/etc/mail/sendmail.cf, -bd]
log: {target: stderr}
END
if [ -n "$sendmail" ]; then
	cp "$sendmail" "$program" # without the set-group-ID bit: it is ours to watch
	chmod 755 "$program"
	cat >"$demo/etc/mail/sendmail.cf" <<END
# made by make run: just enough to answer EHLO and STARTTLS
V10/Berkeley
Dj$name
Cw$name
O PidFile=$demo/run/sendmail.pid
O QueueDirectory=$demo/spool
O DaemonPortOptions=Name=demo, Family=inet, Addr=127.0.0.1, Port=$port
O TrustedUser=$(id -un)
O ServerCertFile=$demo/etc/mail/certs/host.cert
O ServerKeyFile=$demo/etc/mail/certs/host.key
O ClientCertFile=$demo/etc/mail/certs/host.cert
O ClientKeyFile=$demo/etc/mail/certs/host.key
O CACertFile=$demo/etc/mail/certs/cacert.pem
O CACertPath=$demo/etc/mail/certs
O DHParameters=$demo/etc/mail/certs/dh.param
O RefuseLA=999
O QueueLA=999
O DeliveryMode=queueonly
O Timeout.ident=0
O DontProbeInterfaces=True
O SmtpGreetingMessage=\$j demo
Troot
S0
R\$*		\$#error \$@ 5.0.0 \$: "550 this is a demonstration"
S3
Mlocal,		P=/bin/false, F=lsDFMAw, A=false
Mprog,		P=/bin/false, F=lsDFM, A=false
END
fi

serves() { "$bin" --root "$demo" status --probe | sed -n 's/^serves  *//p'; }
until_ok() { # seconds command...
	n=$(($1 * 10)); shift
	while ! "$@" >/dev/null 2>&1; do
		n=$((n - 1))
		[ "$n" -gt 0 ] || return 1
		sleep 0.1
	done
}

say "mailcertd --root ./demo ensure: what rc.d does before sendmail starts"
"$bin" --root "$demo" ensure || :
ls -l "$demo/etc/mail/certs"

if [ -n "$sendmail" ]; then
	say "a real sendmail starts, with these files"
	case $(hostname) in
	*.*) "$program" -C "$demo/etc/mail/sendmail.cf" -bd ;;
	*) # sendmail sleeps a minute when its host has no domain: lend it one
		if [ "$(id -u)" = 0 ]; then own='' back=''; else
			own=--map-root-user back="unshare --map-user=$(id -u) --map-group=$(id -g)"
		fi
		# shellcheck disable=SC2086,SC2016
		unshare $own --uts sh -c 'hostname "$1" && shift && exec "$@"' - "$name" $back "$program" -C "$demo/etc/mail/sendmail.cf" -bd 2>/dev/null ||
			{ echo "this host's name has no domain: sendmail waits a minute"; "$program" -C "$demo/etc/mail/sendmail.cf" -bd; } ;;
	esac && mta=yes
	until_ok 90 test -s "$demo/run/sendmail.pid" || { echo "sendmail did not start" >&2; exit 1; }
	until_ok 10 sh -c "'$bin' --root '$demo' status --probe | grep -q 'as on disk'" || { "$bin" --root "$demo" status --probe; exit 1; }
	serves
else
	say "skipped: the real sendmail (there is none, and none could be unpacked; Debian has it in sendmail-bin)"
fi

say "mailcertd --root ./demo run: the daemon stays"
"$bin" --root "$demo" run &
daemon=$!
until_ok 10 test -s "$demo/var/db/mailcertd/state.json"
sleep 1

say "rm ./demo/etc/mail/certs/host.cert: it comes back"
rm "$demo/etc/mail/certs/host.cert"
until_ok 15 test -s "$demo/etc/mail/certs/host.cert" || { echo "it did not come back" >&2; exit 1; }
ls -l "$demo/etc/mail/certs/host.cert"

say "mailcertd --root ./demo renew: a new certificate, and sendmail serves it"
"$bin" --root "$demo" renew
[ -z "$mta" ] || serves

say "mailcertd --root ./demo status"
"$bin" --root "$demo" status || :

[ -z "${DEMO_ONCE:-}" ] || exit 0
say "It stays. In another terminal, try: rm -rf demo/etc/mail/certs; chmod 644 demo/etc/mail/certs/host.key
   or: ./bin/mailcertd --root demo check. Ctrl-C ends everything."
wait "$daemon"
