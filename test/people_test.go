package test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// portWrapper takes the place of FreeBSD's mailwrapper(8). It reads the port's mailer.conf before the base system's;
// both may have comments and continued lines.
const portWrapper = `#!/usr/bin/perl
for my $conf ("/usr/local/etc/mail/mailer.conf", "/etc/mail/mailer.conf") {
	open(my $f, "<", $conf) or next;
	local $/; my $text = <$f>;
	$text =~ s/(?<!\\)#.*//mg; $text =~ s/\\\n//g;
	for (split /\n/, $text) { my @w = split; if (@w >= 2 && $w[0] eq "sendmail") { my $p = $w[1]; exec { $p } $0, @ARGV; die } }
	die "no mapping in $conf\n";
}
`

// The port's sendmail is named by a mailer.conf below LOCALBASE, while the base system's mailer.conf names another
// program.
func TestPortsSendmail(t *testing.T) {
	t.Parallel()
	h, m := host(t)
	h.Must(t, "sh", "-c",
		"mkdir -p /usr/local/etc && mount -t tmpfs tmpfs /usr/local/etc && mkdir -p /usr/local/etc/mail "+
			"/etc/mail/bin /etc/mail/sbin && cp /usr/libexec/sendmail/sendmail /etc/mail/sbin/sendmail")
	h.Must(t, "sh", "-c",
		`printf '# of the port\n#\nmailq\t/bin/false # not this\nsendmail \\\n\t/etc/mail/sbin/sendmail\t# this one\n' > /usr/local/etc/mail/mailer.conf`)
	write(t, h.Path("/etc/mail/mailer.conf"), "sendmail /bin/false\n", 0o644)
	write(t, h.Path("/etc/mail/bin/mailwrapper"), portWrapper, 0o755)
	if err := os.Symlink("mailwrapper", h.Path("/etc/mail/bin/sendmail")); err != nil {
		t.Fatal(err)
	}
	write(t, h.Path("/etc/mail/mailcertd.yaml"), "sendmail: {program: /etc/mail/bin/sendmail}\n", 0o644)
	h.Start(t, "/etc/mail/bin/sendmail", "-L", "sm-mta", "-bd", "-q30m")
	old := h.OnDisk(t)
	out, code := h.Run(m, "--config=/etc/mail/mailcertd.yaml", "renew")
	if code != 0 || !strings.Contains(out, "serves serial ") || h.OnDisk(t) == old ||
		h.Serial("127.0.0.1:25") != h.OnDisk(t) {
		t.Errorf("status %d, serves %q, on disk %q\n%s", code, h.Serial("127.0.0.1:25"), h.OnDisk(t), out)
	}
	// When the port's mailer.conf names a program that is not sendmail, a HUP would end sendmail, so none is sent.
	h.Must(t, "sh", "-c", "echo 'sendmail /bin/false' > /usr/local/etc/mail/mailer.conf")
	pid := h.PID()
	if out, code := h.Run(m, "--config=/etc/mail/mailcertd.yaml", "renew"); code != 1 ||
		!strings.Contains(out, "/usr/local/etc/mail/mailer.conf") || h.PID() != pid || !h.Alive(pid) {
		t.Errorf("status %d, pid %d, before %d\n%s", code, h.PID(), pid, out)
	}
}

// The probe must prove the pickup wherever OpenSSL's client could connect, with few connections, and it must wait for a
// sendmail that greets late.
func TestProofOfOddSendmails(t *testing.T) {
	for _, c := range []struct {
		name string
		cf   []string
		says string
	}{
		{"DHE alone", []string{"+O CipherList=DHE-RSA-AES256-GCM-SHA384", "+O ServerSSLOptions=+SSL_OP_NO_TLSv1_3"},
			"serves serial "},
		{"RSA key exchange alone", []string{"+O CipherList=AES256-GCM-SHA384",
			"+O ServerSSLOptions=+SSL_OP_NO_TLSv1_3"}, "serves serial "},
		{"a late greeting", []string{"+Sgreet_pause\nR$*\t\t$# 6000"}, "serves serial "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, m := host(t, c.cf...)
			h.Must(t, bed.Sendmail, "-L", "sm-mta", "-bd", "-q30m")
			bed.Wait(t, "sendmail to serve", func() error {
				if s := h.Serial("127.0.0.1:25"); s != h.OnDisk(t) {
					return fmt.Errorf("serves %q", s)
				}
				return nil
			})
			before := strings.Count(h.Log(), "NOQUEUE: connect from")
			out, code := h.Run(m, "renew")
			if code != 0 || !strings.Contains(out, c.says+h.OnDisk(t)) {
				t.Errorf("status %d\n%s\n%s", code, out, h.Log())
			}
			if n := strings.Count(h.Log(), "NOQUEUE: connect from") - before; n > 12 {
				t.Errorf("%d connections\n%s", n, h.Log())
			}
			if s := h.Serial("127.0.0.1:25"); s != h.OnDisk(t) {
				t.Errorf("serves %q, on disk %q", s, h.OnDisk(t))
			}
		})
	}
}

// hideSTARTTLS has the effect of Srv_Features:127.0.0.1 with the value S in an access map.
const hideSTARTTLS = "+Ssrv_features\nR$*\t\t$: $&{client_addr}\nR127.0.0.1\t\t$# S"

// An access map may hide STARTTLS from 127.0.0.1. Another address of the host shows what is served; where there is
// none, the reports name the cause.
func TestSTARTTLSHiddenFromLoopback(t *testing.T) {
	t.Parallel()
	h, m := host(t, hideSTARTTLS)
	h.Start(t)
	if h.Offers(t) {
		t.Fatal("STARTTLS is not hidden")
	}
	for _, verb := range [][]string{{"status", "--due", "30", "--probe"}, {"renew"}} {
		out, code := h.Run(append([]string{m}, verb...)...)
		if text := strings.Join(strings.Fields(out), " "); code != 1 ||
			!strings.Contains(text, "Srv_Features:127.0.0.1") {
			t.Errorf("%v: status %d:\n%s", verb, code, out)
		}
	}
	h.Must(t, "ip", "addr", "add", "10.99.0.1/32", "dev", "lo")
	if out, code := h.Run(m, "renew"); code != 0 ||
		!strings.Contains(out, "serves serial "+h.OnDisk(t)+" at 10.99.0.1:25") {
		t.Errorf("renew, with another address: %d\n%s", code, out)
	}
	if out, code := h.Run(m, "status", "--due", "30", "--probe"); code != 0 {
		t.Errorf("status --due: %d\n%s", code, out)
	}
}

// A sendmail that its administrator stopped stays stopped, also when it had survived a HUP before, and whatever changes
// afterwards.
func TestStoppedStaysStopped(t *testing.T) {
	t.Parallel()
	h, m := host(t)
	write(t, h.Path("/etc/mail/mailcertd.yaml"),
		"sendmail: {start_command: [touch, /etc/mail/started]}\nlog: {target: stderr}\n", 0o644)
	h.Start(t)
	log := h.Path("/var/tmp/daemon.log")
	said := func() string { b, _ := os.ReadFile(log); return string(b) }
	pid := strings.TrimSpace(h.Must(t, "sh", "-c",
		m+" --config=/etc/mail/mailcertd.yaml --log-level=debug run >/var/tmp/daemon.log 2>&1 & echo $!"))
	t.Cleanup(func() { h.Run("kill", pid) })
	looked := func(what string) {
		t.Helper()
		n := strings.Count(said(), "looked")
		bed.Wait(t, what, func() error {
			if strings.Count(said(), "looked") <= n {
				return errors.New(said())
			}
			return nil
		})
	}
	looked("the daemon's first look")
	if out, code := h.Run(m, "--config=/etc/mail/mailcertd.yaml", "renew"); code != 0 {
		t.Fatalf("renew: %d\n%s", code, out)
	}
	h.Stop()
	for range 2 { // whatever changes from now on
		if err := os.Remove(h.Path("/etc/mail/certs/host.cert")); err != nil {
			t.Fatal(err)
		}
		looked("a look after host.cert was removed")
		bed.Wait(t, "host.cert to be back", func() error {
			_, err := os.Stat(h.Path("/etc/mail/certs/host.cert"))
			return err
		})
	}
	if out, code := h.Run(m, "--config=/etc/mail/mailcertd.yaml", "renew"); code != 0 ||
		!strings.Contains(out, "no sendmail") {
		t.Errorf("renew: %d\n%s", code, out)
	}
	if h.PID() != 0 && h.Alive(h.PID()) {
		t.Error("sendmail runs")
	}
	if _, err := os.Stat(h.Path("/etc/mail/started")); err == nil {
		t.Errorf("it was started again:\n%s", said())
	}
}

// ensure runs before sendmail at every boot. It never starts sendmail and never waits for it, even where its own HUP
// has ended it. The next renew or the daemon starts it.
func TestEnsureStartsNoSendmail(t *testing.T) {
	t.Parallel()
	h, m := host(t)
	wrapped(t, h)
	write(t, h.Path("/etc/mail/mailcertd.yaml"), "sendmail:\n  program: /etc/mail/bin/sendmail\n"+
		"  start_command: [sh, -c, 'touch /etc/mail/started; rm -f /etc/mail/die; exec /etc/mail/bin/sendmail -L "+
		"sm-mta -bd -q30m']\n", 0o644)
	h.Start(t, "/etc/mail/bin/sendmail", "-L", "sm-mta", "-bd", "-q30m")
	write(t, h.Path("/etc/mail/die"), "", 0o644)
	old := h.OnDisk(t)
	if err := os.Remove(h.Path("/etc/mail/certs/host.key")); err != nil { // so that ensure makes another set
		t.Fatal(err)
	}
	begun := time.Now()
	out, _ := h.Run(m, "--config=/etc/mail/mailcertd.yaml", "ensure")
	if took := time.Since(begun); took > 15*time.Second || h.OnDisk(t) == old {
		t.Errorf("ensure took %s; a new set: %v\n%s", took, h.OnDisk(t) != old, out)
	}
	bed.Wait(t, "sendmail to be gone", func() error {
		if h.PID() > 1 && h.Alive(h.PID()) {
			return errors.New("it runs")
		}
		return nil
	})
	if out, _ := h.Run(m, "--config=/etc/mail/mailcertd.yaml", "ensure"); fileExists(h.Path("/etc/mail/started")) {
		t.Fatalf("ensure has started it:\n%s", out)
	}
	if out, code := h.Run(m, "--config=/etc/mail/mailcertd.yaml", "renew"); code != 0 ||
		!fileExists(h.Path("/etc/mail/started")) || h.Serial("127.0.0.1:25") != h.OnDisk(t) {
		t.Errorf("renew: %d, serves %q, on disk %q\n%s", code, h.Serial("127.0.0.1:25"), h.OnDisk(t), out)
	}
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
