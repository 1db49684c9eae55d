package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// The owner's command for the challenge hangs, and service(8) stops the daemon: it ends within seconds. The next daemon
// continues the same order, and what the first one has published is removed.
func TestStopWhileCommandHangs(t *testing.T) {
	t.Parallel()
	h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1")
	m, p := bed.Binary(t, ""), bed.NewPebble(t, bed.PebbleOptions{Host: h})
	conf := func(challenge string) {
		write(t, h.Path("/etc/mail/mailcertd.yaml"), strings.Replace(publicYAML(p), "    agree_tos", "    "+challenge+
			"\n    agree_tos", 1), 0o644)
	}
	write(t, h.Path("/etc/mail/hangs"), "#!/bin/sh\necho \"$@\" >> /var/tmp/said\nsleep 100\n", 0o755)
	write(t, h.Path("/etc/mail/works"), "#!/bin/sh\necho \"$@\" >> /var/tmp/said\n", 0o755)
	conf("challenge: command\n    command: [/etc/mail/hangs]")
	h.Run(m, publicConf, "ensure")
	h.Start(t)
	interim := h.OnDisk(t)
	log := h.Daemon(t, m, publicConf, "run")
	bed.Wait(t, "the command to be run", func() error {
		if out, _ := h.Run("cat", "/var/tmp/said"); !strings.HasPrefix(out, "add _acme-challenge") {
			return fmt.Errorf("%s\n%s", out, log())
		}
		return nil
	})
	begun := time.Now()
	h.Must(t, "pkill", "-TERM", "-x", "mailcertd")
	bed.Wait(t, "the daemon to end", func() error {
		if out, code := h.Run("pgrep", "-x", "mailcertd"); code == 0 {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	if took := time.Since(begun); took > 12*time.Second {
		t.Errorf("the daemon ended after %s\n%s", took, log())
	}
	if out, code := h.Run("pgrep", "-f", "/etc/mail/hangs"); code == 0 {
		t.Errorf("%s after the stop the command still runs: %s\n%s", time.Since(begun), out, log())
	}
	h.Must(t, "rm", "/var/tmp/said")
	conf("challenge: command\n    command: [/etc/mail/works]")
	out, code := h.Run(m, publicConf, "renew") // the CA finds no record
	if said := h.Must(t, "cat", "/var/tmp/said"); code != 1 || p.Orders() != 1 ||
		strings.Count(said, "add ") != strings.Count(said, "remove ") || !strings.Contains(said, "remove ") {
		t.Errorf("renew: %d, %d orders, and the command was run with\n%s\n%s", code, p.Orders(), said, out)
	}
	if h.OnDisk(t) != interim {
		t.Error("the CA has accepted a record that does not exist")
	}
}
