package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// A public certificate has no subject, which is no error anywhere, and a root that check says how to trust. With a
// volatile /var the state is lost at each boot, and the account and the last answer with it: the certificate stays ours
// and in use, costs no order, and is renewed as before.
func TestPublicWithoutState(t *testing.T) {
	t.Parallel()
	h := bed.NewDiskHost(t, "mail-a.example.test", "10.99.0.1")
	m, p := bed.Binary(t, ""), bed.NewPebble(t, bed.PebbleOptions{Host: h})
	write(t, h.Path("/etc/mail/mailcertd.yaml"), publicYAML(p), 0o644)
	h.Run(m, publicConf, "ensure")
	h.Start(t)
	interim := h.OnDisk(t)
	h.Must(t, m, publicConf, "renew")
	first := serves(t, h, interim)
	h.Must(t, "openssl", "verify", "-partial_chain", "-CApath", "/etc/mail/certs", "/etc/mail/certs/host.cert")
	// Its subject is empty, as that of all modern ones: every page and report has its name nevertheless.
	if out := h.Must(t, "openssl", "x509", "-noout", "-subject", "-in", "/etc/mail/certs/host.cert"); strings.TrimSpace(
		out) != "subject=" {
		t.Errorf("openssl: %q", out)
	}
	for verb, names := range map[string]bool{"status": true, "status --json": true, "status --format prometheus": false,
		"status --due 60": false, "check": false, "check --json": false, "list": false, "list --json": false} {
		out, code := h.Run(append([]string{m, publicConf}, strings.Fields(verb)...)...)
		if code != 0 || names && !strings.Contains(out, "mail-a.example.test") {
			t.Errorf("%s: %d\n%s", verb, code, out)
		}
	}
	if out := h.Must(t, m, publicConf, "check"); !strings.Contains(out, "[root-untrusted]") ||
		!strings.Contains(out, "`trust: [/etc/mail/pebble.pem]`") {
		t.Errorf("the root is not trusted, and check says:\n%s", out)
	}
	write(t, h.Path("/etc/mail/root.pem"), string(p.Managed(t, "/roots/0", nil)), 0o644)
	write(t, h.Path("/etc/mail/mailcertd.yaml"), publicYAML(p)+"trust: [/etc/mail/root.pem]\n", 0o644)
	h.Must(t, m, publicConf, "ensure")
	if out := h.Must(t, m, publicConf, "check"); strings.Contains(out, "root-untrusted") {
		t.Errorf("the root is trusted, and check says:\n%s", out)
	}
	h.Must(t, "openssl", "verify", "-CApath", "/etc/mail/certs", "/etc/mail/certs/host.cert")
	if out := h.Must(t, m, publicConf, "check"); strings.Contains(out, "state-volatile") {
		t.Errorf("the state directory is on a disk, and check says:\n%s", out)
	}
	h.Must(t, "mount", "-t", "tmpfs", "tmpfs", "/var/db/mailcertd")
	if out, _ := h.Run(m, publicConf, "check"); !strings.Contains(out, "[state-volatile]") {
		t.Errorf("the state directory is in memory, and check says:\n%s", out)
	}
	h.Must(t, "umount", "/var/db/mailcertd")
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
	if out := h.Must(t, m, publicConf, "status"); !strings.Contains(out, "issued by an ACME CA") ||
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
