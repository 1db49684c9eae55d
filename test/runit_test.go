package test

import (
	"fmt"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// sendmail runs in the ways that people run it: with options on its command line, upgraded while the old process runs,
// with a pid file that other users may write.
func TestSendmailAsPeopleRunIt(t *testing.T) {
	const own = "/etc/mail/bin/sendmail"
	for _, c := range []struct {
		name   string
		start  []string
		addr   string
		change []string // a command that runs before the renewal
		code   int      // exit status of renew
		says   string
		mend   []string // after this command renew must prove the pickup; nil: the first renew proved it
	}{
		{name: "a listener on the command line",
			start: []string{bed.Sendmail, "-L", "sm-mta", "-bd", "-q30m", "-ODaemonPortOptions=Name=X,Port=2525"},
			addr:  "127.0.0.1:2525", says: "serves serial "},
		{name: "an upgraded program", start: []string{own, "-L", "sm-mta", "-bd", "-q30m"}, addr: "127.0.0.1:25",
			change: []string{"sh", "-c", "cp " + own + " " + own + ".new && mv " + own + ".new " + own},
			says:   "serves serial "},
		{name: "a pid file that others may write", start: []string{bed.Sendmail, "-L", "sm-mta", "-bd", "-q30m"},
			addr:   "127.0.0.1:25",
			change: []string{"chmod", "0666", "/run/sendmail.pid"}, code: 1,
			says: "can be written by users other than root", mend: []string{"chmod", "0600", "/run/sendmail.pid"}},
		{name: "a program of somebody else", start: []string{own, "-L", "sm-mta", "-bd", "-q30m"}, addr: "127.0.0.1:25",
			change: []string{"chown", "1001", own}, code: 1, says: "belongs to user 1001",
			mend: []string{"chown", "0", own}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, m := host(t)
			h.Must(t, "sh", "-c", "mkdir -p /etc/mail/bin && cp /usr/libexec/sendmail/sendmail "+own)
			write(t, h.Path("/etc/mail/mailcertd.yaml"), "sendmail: {program: "+c.start[0]+"}\n", 0o644)
			h.Must(t, c.start...)
			bed.Wait(t, "sendmail to listen", func() error {
				if s := h.Serial(c.addr); s == "" {
					return fmt.Errorf("nothing is served at %s", c.addr)
				}
				return nil
			})
			old := h.OnDisk(t)
			if c.change != nil {
				h.Must(t, c.change...)
			}
			out, code := h.Run(m, "--config=/etc/mail/mailcertd.yaml", "renew")
			if code != c.code || !strings.Contains(out, c.says) || h.OnDisk(t) == old {
				t.Errorf("renew: status %d, want %d and %q:\n%s", code, c.code, c.says, out)
			}
			if c.mend != nil {
				if s := h.Serial(c.addr); s != old {
					t.Errorf("serves %q after no HUP, want %q", s, old)
				}
				h.Must(t, c.mend...)
				if out, code := h.Run(m, "--config=/etc/mail/mailcertd.yaml", "renew"); code != 0 {
					t.Errorf("renew, after the repair: status %d\n%s", code, out)
				}
			}
			if s := h.Serial(c.addr); s != h.OnDisk(t) {
				t.Errorf("serves %q, want %q\n%s", s, h.OnDisk(t), h.Log())
			}
		})
	}
}
