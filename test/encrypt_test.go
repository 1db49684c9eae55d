package test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// What differs between docs/lets-encrypt.md and its run, all of it: names, the CA, and directories that this system
// does not have.
var encryptNames = strings.NewReplacer("mail.example.org", "mail-a.example.test",
	"mx.example.net", "mail-b.example.test",
	"/usr/share/certs/trusted", "/usr/local/share/certs", "/usr/local/www/data", "/usr/local/share/www",
	"acme: {", "acme: {directory: 'https://127.0.0.1:14000/dir', ca_file: /etc/mail/pebble.pem, ",
	"acme:\n", "acme:\n    directory: https://127.0.0.1:14000/dir\n    ca_file: /etc/mail/pebble.pem\n")

// encryptSetup is added to postSetup: pkg(8), which gives this host Debian's certbot with the directories that it has
// on FreeBSD, and a Makefile in /etc/mail for sendmail.cf as well. $1 is the root of the CA, $2 sendmail.cf's source.
const encryptSetup = `set -e
cat > /usr/local/sbin/pkg <<'END'
#!/bin/sh
[ "$*" = "install security/py-certbot" ] || { echo "pkg: $*?" >&2; exit 1; }
printf '%s\n' '#!/bin/sh' 'REQUESTS_CA_BUNDLE=/etc/mail/pebble.pem; export REQUESTS_CA_BUNDLE' \
	'exec /usr/bin/certbot --server https://127.0.0.1:14000/dir --config-dir /usr/local/etc/letsencrypt \' \
	'	--work-dir /var/db/letsencrypt --logs-dir /var/log/letsencrypt "$@"' > /usr/local/sbin/certbot
chmod 755 /usr/local/sbin/certbot
END
chmod 755 /usr/local/sbin/pkg
printf '%s' "$1" > /usr/local/share/certs/ISRG_Root_X1.pem
printf '%s' "$2" > /etc/mail/freebsd.mc
printf '%s\n\t%s\n' all: 'test -e $$(hostname).mc || cp freebsd.mc $$(hostname).mc' install: \
	'm4 -D_CF_DIR_=/usr/share/sendmail/cf/ /usr/share/sendmail/cf/m4/cf.m4 $$(hostname).mc > sendmail.cf' > /etc/mail/Makefile
`

// encryption is one run of docs/lets-encrypt.md.
type encryption struct {
	*post
	pebble *bed.Pebble
	orders int    // after the last section
	serial string // that sendmail served after it
}

func newEncryption(t *testing.T) *encryption {
	t.Helper()
	e := &encryption{post: newPost(t)}
	a := e.hosts["a"]
	e.pebble = bed.NewPebble(t, bed.PebbleOptions{Host: a, Env: []string{"PEBBLE_WFE_NONCEREJECT=0"}})
	root := string(e.pebble.Managed(t, "/roots/0", nil))
	for _, h := range e.hosts {
		h.Must(t, "bash", "-c", encryptSetup, "setup", root, bed.MC(h.Name))
	}
	e.as, e.between = encryptNames.Replace, e.after
	return e
}

// Every command of docs/lets-encrypt.md must work on two real hosts: what the owner does by hand with certbot, what
// mailcertd does instead, and the way from one to the other.
func TestEncrypt(t *testing.T) {
	t.Parallel()
	bed.Need(t, true, "openssl", "make", "m4", "script", "/usr/sbin/sshd", "ssh", "sftp", "bash", "certbot", "busybox")
	blocks := readPage(t, encryptPage)
	r := &ran{lines: map[int]bool{}}
	tracks := map[string]func(*testing.T, *encryption){
		"by-hand": func(t *testing.T, e *encryption) { e.track(t, r, "by-hand", blocks) },
		"mailcertd": func(t *testing.T, e *encryption) {
			e.track(t, r, "mailcertd", blocks)
			if _, err := os.Stat(e.hosts["a"].Path("/var/db/mailcertd/state.json")); err == nil {
				t.Error("state is left after purge")
			}
		},
		"moving": func(t *testing.T, e *encryption) {
			var before []block
			for _, b := range blocks {
				if b.kind == "by-hand" && !strings.HasPrefix(b.section, "13.") {
					before = append(before, b)
				}
			}
			e.track(t, r, "by-hand", before)
			a := e.hosts["a"]
			key, cas := a.Must(t, "cat", "/etc/mail/certs/host.key"), a.Must(t, "cat", "/etc/mail/CA/cacert.pem")
			e.track(t, r, "moving", blocks)
			if a.Must(t, "cat", "/etc/mail/certs/host.key") != key {
				t.Error("the key is another one")
			}
			if a.Must(t, "cat", "/etc/mail/CA/cacert.pem") != cas {
				t.Error("the private CA is another one")
			}
			e.verified(t)
		},
	}
	runTracks(t, blocks, r, tracks, newEncryption)
}

// after checks what the page says of the hosts after a section, and gives them what the next one needs.
func (e *encryption) after(t *testing.T, done, next string) {
	t.Helper()
	a := e.hosts["a"]
	managed := a.Must(t, "sh", "-c", "pgrep -x mailcertd || :") != ""
	number, _, _ := strings.Cut(done, ".")
	switch number {
	case "1":
		e.serial = a.Serial("127.0.0.1:25")
	case "2":
		if managed {
			e.public(t, done, 1)
		}
	case "5":
		e.public(t, done, 1)
	case "7":
		if v := verdict(t, e.hosts["a"], e.hosts["b"], 7); !managed && v != "FAIL" {
			t.Errorf("before there is a client certificate, mail is %s", v)
		}
	case "10":
		e.verified(t)
	case "11", "12", "Moving from certbot":
		e.public(t, done, 1)
		e.verified(t)
	case "13":
		if !managed && !a.Offers(t) {
			t.Error("no STARTTLS at the end")
		}
	}
	if strings.HasPrefix(next, "11.") {
		a.Must(t, "sh", "-c", "mkdir /usr/local/share/www && busybox httpd -p 80 -h /usr/local/share/www")
	}
}

// public waits until the host serves a new certificate of the CA with its whole chain, for which so many orders were
// placed since the last time.
func (e *encryption) public(t *testing.T, when string, orders int) {
	t.Helper()
	a := e.hosts["a"]
	bed.Wait(t, when+": a new public certificate at port 25", func() error {
		out, _ := a.Run("bash", "-c", "openssl s_client -starttls smtp -connect 127.0.0.1:25 "+
			"-CAfile /usr/local/share/certs/ISRG_Root_X1.pem </dev/null 2>&1")
		serial := a.Serial("127.0.0.1:25")
		if !strings.Contains(out, "Verify return code: 0 (ok)") || serial == e.serial {
			return fmt.Errorf("serial %s, before %s\n%s", serial, e.serial, out)
		}
		e.serial = serial
		return nil
	})
	if is := e.pebble.Orders(); is != e.orders+orders {
		t.Errorf("%s: %d orders, want %d more than %d", when, is, orders, e.orders)
	}
	e.orders = e.pebble.Orders()
	for _, line := range a.Complaints() {
		// The base system makes no dh.param, and this version of sendmail reads it at its start.
		if strings.Contains(line, "STARTTLS=server") && !strings.Contains(line, "dh.param") {
			t.Errorf("%s: sendmail complains: %s", when, line)
		}
	}
}

// verified sends mail both ways; the other host logs verify=OK about this one in both directions.
func (e *encryption) verified(t *testing.T) {
	t.Helper()
	a, b := e.hosts["a"], e.hosts["b"]
	if v := verdict(t, a, b, 100+e.orders); v != "OK" {
		t.Errorf("as a client this host is %s", v)
	}
	before := verdicts(b)
	if err := mail(b, a, 200+e.orders); err != nil {
		t.Fatal(err)
	}
	bed.Wait(t, "verify=OK about the server in the other host's log", func() error {
		if is := verdicts(b); is["client verify=OK"] <= before["client verify=OK"] {
			retry(b)
			return fmt.Errorf("%v, and before %v", is, before)
		}
		return nil
	})
}
