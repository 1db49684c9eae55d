package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mailcertd/test/bed"
)

// wrapper takes the place of FreeBSD's mailwrapper(8). A switch makes it fail.
const wrapper = `#!/usr/bin/perl
exit 1 if -e "/etc/mail/die";
open(my $f, "<", "/etc/mail/mailer.conf") or die;
while (<$f>) { my @w = split; if (@w >= 2 && $w[0] eq "sendmail") { my $p = $w[1]; exec { $p } $0, @ARGV; die } }
die "no sendmail in mailer.conf\n";
`

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	syscall.ForkLock.RLock() // a program that a child of another test still has open for writing cannot be executed
	err := os.WriteFile(path, []byte(text), mode)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// wrapped makes the host's sendmail run through a mailwrapper at /etc/mail/bin/sendmail.
func wrapped(t *testing.T, h *bed.Host) {
	write(t, h.Path("/etc/mail/bin/mailwrapper"), wrapper, 0o755)
	write(t, h.Path("/etc/mail/mailer.conf"), "sendmail /usr/libexec/sendmail/sendmail\n", 0o644)
	if err := os.Symlink("mailwrapper", h.Path("/etc/mail/bin/sendmail")); err != nil {
		t.Fatal(err)
	}
	write(t, h.Path("/etc/mail/mailcertd.yaml"),
		"sendmail:\n  program: /etc/mail/bin/sendmail\n  start_command: [sh, -c, 'rm -f /etc/mail/die; exec "+
			"/etc/mail/bin/sendmail -L sm-mta -bd -q30m']\n", 0o644)
}

// own is wrapped, with a copy of sendmail that belongs to this host and may be replaced.
func own(t *testing.T, h *bed.Host) {
	wrapped(t, h)
	h.Must(t, "sh", "-ec", "mkdir /etc/mail/own; cp /usr/libexec/sendmail/sendmail /etc/mail/own/")
	write(t, h.Path("/etc/mail/mailer.conf"), "sendmail /etc/mail/own/sendmail\n", 0o644)
}

// Each case must end with a clear report, and a sendmail that runs must go on running.
func TestDelivery(t *testing.T) {
	t.Parallel()
	const conf = "--config=/etc/mail/mailcertd.yaml"
	for _, c := range []struct {
		name   string
		start  []string // the command that starts sendmail; nil: the one of rc.d
		before func(*testing.T, *bed.Host)
		damage func(*testing.T, *bed.Host)
		args   []string
		code   int    // exit status of renew
		says   string // what renew must print
		serial string // which serial is served afterwards: "old" or "new"; "" when no sendmail listens
		pid    bool   // the pid file must still name the same process
	}{
		{name: "relative argv0", start: []string{"sh", "-c", "cd /usr/sbin && exec ./sendmail -L sm-mta -bd -q30m"},
			code: 1, says: "a relative path, so a HUP would stop it", serial: "old", pid: true},
		{name: "unknown option in sendmail.cf", damage: func(t *testing.T, h *bed.Host) {
			appendFile(t, h.Path("/etc/mail/sendmail.cf"), "O NoSuchOption=1\n")
		}, code: 1, says: "no HUP was sent", serial: "old", pid: true},
		{name: "sendmail.cf changed and sane", damage: func(t *testing.T, h *bed.Host) {
			appendFile(t, h.Path("/etc/mail/sendmail.cf"), "# a comment\n")
		}, code: 0, says: "serves serial ", serial: "new"},
		{name: "pid file of another process", damage: func(t *testing.T, h *bed.Host) {
			other := strings.TrimSpace(h.Must(t, "sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!"))
			write(t, h.Path("/run/sendmail.pid"), other+"\n/usr/sbin/sendmail -L sm-mta -bd -q30m\n", 0o600)
		}, code: 1, says: "which is not sendmail", serial: "old", pid: true},
		{name: "garbage in the pid file", damage: func(t *testing.T, h *bed.Host) {
			write(t, h.Path("/run/sendmail.pid"), "hello\n", 0o600)
		}, code: 1, says: "not a process ID", serial: "old", pid: true},
		{name: "behind mailwrapper", start: []string{"/etc/mail/bin/sendmail", "-L", "sm-mta", "-bd", "-q30m"},
			before: wrapped,
			args:   []string{conf}, code: 0, says: "serves serial ", serial: "new"},
		{name: "mailer.conf names another program",
			start: []string{"/etc/mail/bin/sendmail", "-L", "sm-mta", "-bd", "-q30m"}, before: wrapped,
			damage: func(t *testing.T, h *bed.Host) {
				write(t, h.Path("/etc/mail/mailer.conf"), "sendmail /bin/true\n", 0o644)
			},
			args: []string{conf}, code: 1, says: "a HUP would start /", serial: "old", pid: true},
		{name: "gone after the HUP", start: []string{"/etc/mail/bin/sendmail", "-L", "sm-mta", "-bd", "-q30m"},
			before: wrapped,
			damage: func(t *testing.T, h *bed.Host) { write(t, h.Path("/etc/mail/die"), "", 0o644) },
			args:   []string{conf}, code: 0, says: "was not running after its HUP and was started again",
			serial: "new"},
		{name: "a start_command without an end",
			start: []string{"/etc/mail/bin/sendmail", "-L", "sm-mta", "-bd", "-q30m"}, before: wrapped,
			damage: func(t *testing.T, h *bed.Host) {
				write(t, h.Path("/etc/mail/die"), "", 0o644)
				write(t, h.Path("/etc/mail/start.sh"),
					"flock -w 5 /etc/mail/certs true || touch /etc/mail/locked\nrm -f "+
						"/etc/mail/die\n/etc/mail/bin/sendmail -L sm-mta -bd -q30m\nexec sleep 1003\n", 0o644)
				write(t, h.Path("/etc/mail/mailcertd.yaml"),
					"sendmail: {program: /etc/mail/bin/sendmail, start_command: [sh, /etc/mail/start.sh]}\n", 0o644)
			},
			args: []string{conf}, code: 0, says: "was not running after its HUP and was started again", serial: "new"},
		{name: "sendmail.cf changed, and tried for long",
			start: []string{"/etc/mail/bin/sendmail", "-L", "sm-mta", "-bd", "-q30m"}, before: wrapped,
			damage: func(t *testing.T, h *bed.Host) {
				write(t, h.Path("/etc/mail/bin/mailwrapper"), strings.Replace(wrapper, "exit 1 if", `if ("@ARGV" =~ /-bt/) { sleep 6; system("flock -w 5 /etc/mail/certs true || touch /etc/mail/locked") }
exit 1 if`, 1), 0o755)
				appendFile(t, h.Path("/etc/mail/sendmail.cf"), "# a comment\n")
			},
			args: []string{conf}, code: 0, says: "serves serial ", serial: "new"},
		{name: "the program replaced by one that works",
			start: []string{"/etc/mail/bin/sendmail", "-L", "sm-mta", "-bd", "-q30m"}, before: own,
			damage: func(t *testing.T, h *bed.Host) {
				h.Must(t, "sh", "-ec", "cd /etc/mail/own; cp sendmail new; mv new sendmail")
			}, args: []string{conf}, code: 0, says: "serves serial ", serial: "new"},
		{name: "the program put away, and another in its place",
			start: []string{"/etc/mail/bin/sendmail", "-L", "sm-mta", "-bd", "-q30m"}, before: own,
			damage: func(t *testing.T, h *bed.Host) {
				h.Must(t, "sh", "-ec", "cd /etc/mail/own; mv sendmail sendmail.old; cp sendmail.old sendmail")
			}, args: []string{conf}, code: 0, says: "serves serial ", serial: "new"},
		{name: "the program replaced by one that does not work",
			start: []string{"/etc/mail/bin/sendmail", "-L", "sm-mta", "-bd", "-q30m"}, before: own,
			damage: func(t *testing.T, h *bed.Host) {
				h.Must(t, "sh", "-ec", "cd /etc/mail/own; mv sendmail sendmail.old; cp /bin/false sendmail")
			}, args: []string{conf}, code: 1, says: "no HUP was sent, because it would stop sendmail",
			serial: "old", pid: true},
		{name: "a pid file behind a link", damage: func(t *testing.T, h *bed.Host) { // sendmail will not write there
			h.Must(t, "sh", "-ec", "cd /run; mv sendmail.pid real.pid; ln -s /run/real.pid sendmail.pid")
		}, code: 0, says: "serves serial ", serial: "new", pid: true}, // the link's target does not exist at this path
		{name: "queue runner alone", start: []string{bed.Sendmail, "-L", "sm-queue", "-q30m"}, code: 0, pid: true},
		{name: "not running", start: []string{"true"}, code: 0},
		{name: "foreground daemon",
			start: []string{"sh", "-c", bed.Sendmail + " -L sm-mta -bD -q30m </dev/null >/dev/null 2>&1 &"}, code: 0,
			says: "serves serial ", serial: "new", pid: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, m := host(t)
			if c.before != nil {
				c.before(t, h)
			}
			if c.serial == "" {
				if c.start != nil {
					h.Must(t, c.start...)
				}
				if c.pid {
					bed.Wait(t, "the pid file",
						func() error { _, err := os.Stat(h.Path("/run/sendmail.pid")); return err })
				}
			} else {
				h.Start(t, c.start...)
			}
			if c.damage != nil {
				c.damage(t, h)
			}
			pid, old := h.PID(), h.OnDisk(t)
			out, code := h.Run(append([]string{m}, append(c.args, "renew")...)...)
			want := map[string]string{"": "", "old": old, "new": h.OnDisk(t)}[c.serial]
			if code != c.code || !strings.Contains(out, c.says) {
				t.Errorf("renew: status %d, want %d and %q:\n%s", code, c.code, c.says, out)
			}
			if got := h.Serial("127.0.0.1:25"); got != want || h.OnDisk(t) == old {
				t.Errorf("serves %q, want %q\n%s", got, want, h.Log())
			}
			if same := h.PID() == pid; same != c.pid && c.serial != "" {
				t.Errorf("pid %d became %d", pid, h.PID())
			}
			if _, err := os.Stat(h.Path("/etc/mail/locked")); err == nil {
				t.Error("the lock was held while a command ran")
			}
			if c.pid && pid > 1 && !h.Alive(pid) {
				t.Errorf("process %d is gone", pid)
			}
			status, _ := h.Run(append([]string{m}, append(c.args, "status", "--json")...)...)
			var rep struct {
				Sendmail struct {
					PickupPending bool `json:"pickup_pending"`
				} `json:"sendmail"`
			}
			if err := json.Unmarshal([]byte(status), &rep); err != nil {
				t.Fatalf("%v:\n%s", err, status)
			}
			if rep.Sendmail.PickupPending != (c.code == 1) {
				t.Errorf("pickup pending: %v\n%s", rep.Sendmail.PickupPending, status)
			}
		})
	}
}

func appendFile(t *testing.T, path, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(b)+text, 0o644)
}

// A pickup that failed is tried again: when the cause is gone the next ensure proves it.
func TestPickupIsProvenLater(t *testing.T) {
	t.Parallel()
	h, m := host(t)
	h.Start(t)
	appendFile(t, h.Path("/etc/mail/sendmail.cf"), "O NoSuchOption=1\n")
	if out, code := h.Run(m, "renew"); code != 1 {
		t.Fatalf("status %d\n%s", code, out)
	}
	b, _ := os.ReadFile(h.Path("/etc/mail/sendmail.cf"))
	write(t, h.Path("/etc/mail/sendmail.cf"), strings.Replace(string(b), "O NoSuchOption=1\n", "", 1), 0o644)
	h.EnsureServes(t, m)
}

// A sendmail that was restarted has read the files, so mailcertd sends no HUP and does not probe.
func TestRestartedByHand(t *testing.T) {
	t.Parallel()
	h, m := host(t)
	h.Start(t, "sh", "-c", "cd /usr/sbin && exec ./sendmail -L sm-mta -bd -q30m")
	if _, code := h.Run(m, "renew"); code != 1 {
		t.Fatal("a relative argv[0] was no problem")
	}
	h.Stop()
	// No pickup is pending for a sendmail that was stopped, and check must see that.
	if out, code := h.Run(m, "check"); code != 0 || strings.Contains(out, "pickup-pending") {
		t.Errorf("check, while none runs: %d\n%s", code, out)
	}
	h.Start(t)
	bed.Wait(t, "what asked whether it listens to be in the log", func() error {
		if asked, told := strings.Count(h.Log(), "NOQUEUE: connect from"),
			strings.Count(h.Log(), "did not issue MAIL"); asked != told {
			return fmt.Errorf("%d connections, %d lines", asked, told)
		}
		return nil
	})
	probes := strings.Count(h.Log(), "did not issue MAIL")
	// The process's start time proves the pickup already, without another look.
	if out, _ := h.Run(m, "check"); strings.Contains(out, "pickup-pending") {
		t.Errorf("check, after the restart and before any look:\n%s", out)
	}
	if out, code := h.Run(m, "ensure"); code != 0 || strings.Contains(h.Log(), "restarting") {
		t.Errorf("status %d\n%s\n%s", code, out, h.Log())
	}
	if n := strings.Count(h.Log(), "did not issue MAIL"); n != probes {
		t.Errorf("%d probes without a reason", n-probes)
	}
}

// The probe finds the addresses in sendmail.cf: IPv6, other ports, and ports on which TLS begins at once or is not
// offered.
func TestListeners(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, options, addr string }{
		{"IPv6", "Name=v6, Family=inet6", "[::1]:25"},
		{"another port", "Name=v4, Family=inet, Port=2525", "127.0.0.1:2525"},
		{"a service by its name", "Name=v4, Family=inet, Port=imap2", "127.0.0.1:143"},
		{"one address", "Name=v4, Family=inet, Addr=127.0.0.7, Port=587, M=Ea", "127.0.0.7:587"},
		{"smtps alone", "Name=TLS, Family=inet, Port=smtps, M=s", "127.0.0.1:465"},
		{"no STARTTLS offered", "Name=v4, Family=inet, M=S", ""},
		{"a local socket alone", "Name=l, Family=local, Addr=/var/run/sm.sock", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, m := host(t, "DaemonPortOptions=Name=IPv4, Family=inet=>DaemonPortOptions="+c.options)
			h.Must(t, bed.Sendmail, "-L", "sm-mta", "-bd", "-q30m")
			bed.Wait(t, "sendmail to run", func() error {
				if h.PID() == 0 {
					return errors.New("it has no pid file")
				}
				if strings.HasSuffix(c.addr, ":465") {
					if _, code := h.Run("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/465"); code != 0 {
						return errors.New("nobody listens")
					}
					return nil
				}
				if s := h.Serial(c.addr); c.addr != "" && s != h.OnDisk(t) {
					return fmt.Errorf("serves %q", s)
				}
				return nil
			})
			pid := h.PID()
			out, code := h.Run(m, "renew")
			says := "serves serial " + h.OnDisk(t) + " at " + c.addr
			if c.addr == "" {
				says = "no listener that can be asked"
			}
			if code != 0 || !strings.Contains(out, says) || h.PID() == pid {
				t.Errorf("status %d, want %q\n%s", code, says, out)
			}
			if out, code := h.Run(m, "check"); code != 0 || strings.Contains(out, "pickup-pending") {
				t.Errorf("check: status %d\n%s", code, out)
			}
			h.Stop()
		})
	}
}

// What mailcertd cannot see is reported as a warning, once, with the reason.
func TestUnseen(t *testing.T) {
	t.Parallel()
	h, m := host(t, "+O InputMailFilters=f", "+Xf, S=inet:9999@127.0.0.1, F=R") // the milter is away: 554
	h.Must(t, bed.Sendmail, "-L", "sm-mta", "-bd", "-q30m")
	bed.Wait(t, "the pid file", func() error { _, err := os.Stat(h.Path("/run/sendmail.pid")); return err })
	out, code := h.Run(m, "renew")
	for line := range strings.SplitSeq(out, "\n") {
		if strings.Count(line, "cannot see which certificate") > 1 {
			t.Errorf("said twice: %s", line)
		}
	}
	if code != 0 || !strings.Contains(out, "not accepting messages") || !strings.Contains(out, "warning: ") {
		t.Errorf("status %d\n%s", code, out)
	}
}

// Two hosts whose certificates come from one CA trust each other.
func TestTwoHosts(t *testing.T) {
	t.Parallel()
	a, m := host(t)
	b := bed.NewHost(t, "mail-b.example.test", "10.99.0.2")
	bed.Connect(t, a, b)
	// This is what an owner does without enrolment: the CA issues for b, and the owner copies the files.
	ca, certs := a.Path("/etc/mail/CA"), b.Path("/etc/mail/certs")
	if err := os.MkdirAll(certs, 0o755); err != nil {
		t.Fatal(err)
	}
	a.Must(t, "sh", "-ec", `cd /etc/mail/CA; openssl req -config openssl.cnf -newkey rsa:2048 -nodes -keyout b.key -out b.csr -subj /CN=mail-b.example.test -addext subjectAltName=DNS:mail-b.example.test
		openssl ca -config openssl.cnf -batch -notext -in b.csr -out b.cert`)
	for from, to := range map[string]string{"b.key": "host.key", "b.cert": "host.cert", "cacert.pem": "cacert.pem"} {
		data, err := os.ReadFile(filepath.Join(ca, from))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(certs, to), string(data), 0o600)
	}
	write(t, b.Path("/etc/mail/mailcertd.yaml"), "issuer: none\n", 0o644)
	b.Must(t, m, "--config=/etc/mail/mailcertd.yaml", "ensure") // makes the hash link, the modes and dh.param
	a.Start(t)
	b.Start(t)
	cmd := a.Command(bed.Sendmail, "-Am", "-oi", "-f", "root@mail-a.example.test", "alice@mail-b.example.test")
	cmd.Stdin = strings.NewReader("Subject: hello\n\nhello\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for h, side := range map[*bed.Host]string{a: "STARTTLS=client", b: "STARTTLS=server"} {
		bed.Wait(t, side+" in the log of "+h.Name, func() error {
			for line := range strings.SplitSeq(h.Log(), "\n") {
				if strings.Contains(line, side+", relay=") && strings.Contains(line, "verify=") {
					if !strings.Contains(line, "verify=OK") {
						t.Fatalf("%s: %s", h.Name, line)
					}
					return nil
				}
			}
			return fmt.Errorf("not yet:\n%s", h.Log())
		})
	}
}
