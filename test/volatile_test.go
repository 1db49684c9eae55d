package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// With a volatile /var the state is lost at each boot, and the account and the last answer with it. The public
// certificate stays ours and in use, costs no order, and is renewed as before.
func TestPublicWithoutState(t *testing.T) {
	t.Parallel()
	h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1")
	m, p := bed.Binary(t, ""), bed.NewPebble(t, bed.PebbleOptions{Host: h})
	write(t, h.Path("/etc/mail/mailcertd.yaml"), publicYAML(p), 0o644)
	h.Run(m, publicConf, "ensure")
	h.Start(t)
	interim := h.OnDisk(t)
	h.Must(t, m, publicConf, "renew")
	first := serves(t, h, interim)
	if out := h.Must(t, "openssl", "verify", "-partial_chain", "-CApath", "/etc/mail/certs",
		"/etc/mail/certs/host.cert"); !strings.Contains(out, "OK") {
		t.Errorf("openssl: %s", out)
	}
	left, err := filepath.Glob(h.Path("/var/db/mailcertd/*"))
	if err != nil || len(left) == 0 {
		t.Fatal(left, err)
	}
	for _, path := range left {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	h.Must(t, m, publicConf, "ensure")
	if out := h.Must(t, m, publicConf, "status"); !strings.Contains(out, "issued by a public CA (ACME)") ||
		strings.Contains(out, "does not renew it") {
		t.Errorf("status:\n%s", out)
	}
	if got := h.Serial("127.0.0.1:25"); got != first || p.Orders() != 1 {
		t.Errorf("serves %s, want %s; %d orders", got, first, p.Orders())
	}
	h.Must(t, m, publicConf, "renew")
	serves(t, h, first)
	if p.Orders() != 2 {
		t.Errorf("%d orders", p.Orders())
	}
}
