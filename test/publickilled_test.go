package test

import (
	"errors"
	"fmt"
	"regexp"
	"testing"

	"mailcertd/test/bed"
)

// While sendmail runs, the daemon is killed during a first order and during renewals: before it has kept the answer,
// before it commits, between the commit and the HUP, and after the HUP. Each time the next daemon makes sendmail serve
// the new certificate. Pebble counts one order for each, and no instance of sendmail gets two HUPs.
func TestPublicKilled(t *testing.T) {
	t.Parallel()
	h, armed, m := bed.NewHost(t, "mail-a.example.test", "10.99.0.1"), bed.Binary(t, "crashpoints"), bed.Binary(t, "")
	p := bed.NewPebble(t, bed.PebbleOptions{Host: h})
	write(t, h.Path("/etc/mail/mailcertd.yaml"), publicYAML(p), 0o644)
	h.Run(m, publicConf, "ensure")
	h.Start(t)
	old := h.OnDisk(t)
	log := func() string { return "" }
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("mailcertd:\n%s", log())
		}
	})
	for i, n := range []int{20, 45, 60, 64, 68} { // of MaxOrders orders in a day
		if i > 0 {
			inState(t, h, "renew", "2020-01-01T00:00:00Z")
		}
		out, code := h.Run("timeout", "60", "env", fmt.Sprintf("MAILCERTD_CRASH_AT=%d", n),
			"MAILCERTD_POINTS=/var/db/points", armed, publicConf, "run")
		if code != 137 && code != -1 && code != 9 {
			t.Fatalf("operation %d: the daemon was not killed: %d\n%s", n, code, out)
		}
		points, _ := h.Run("tail", "-1", "/var/db/points")
		t.Logf("killed before %s", points)
		log = h.Daemon(t, m, publicConf, "run")
		old = serves(t, h, old)
		bed.Wait(t, "check to find everything in order", func() error {
			if out, code := h.Run(m, publicConf, "check"); code != 0 {
				return errors.New(out)
			}
			return nil
		})
		if p.Orders() != i+1 || p.Accounts() != 1 {
			t.Errorf("killed before %s: %d orders, want %d; %d accounts", points, p.Orders(), i+1, p.Accounts())
		}
		h.Must(t, "pkill", "-x", "mailcertd")
		bed.Wait(t, "the daemon to end", func() error {
			if out, code := h.Run("pgrep", "-x", "mailcertd"); code == 0 {
				return errors.New(out)
			}
			return nil
		})
	}
	seen := map[string]bool{}
	for _, hit := range regexp.MustCompile(`sm-mta\[(\d+)\]: restarting`).FindAllStringSubmatch(h.Log(), -1) {
		if seen[hit[1]] {
			t.Errorf("process %s got two HUPs", hit[1])
		}
		seen[hit[1]] = true
	}
}
