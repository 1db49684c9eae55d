package test

import (
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// A person has the certificate of this host revoked. The ACME CA does it, and sendmail serves another certificate, for
// another key where the key is lost. By the name it is first a certificate of the CA on this host.
func TestRevokeOfPublic(t *testing.T) {
	t.Parallel()
	h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1")
	m, p := bed.Binary(t, ""), bed.NewPebble(t, bed.PebbleOptions{Host: h})
	write(t, h.Path("/etc/mail/mailcertd.yaml"), publicYAML(p), 0o644)
	h.Run(m, publicConf, "ensure")
	h.Start(t)
	interim := h.OnDisk(t)
	h.Must(t, m, publicConf, "renew")
	serial := serves(t, h, interim)
	status := func(serial string) string { return string(p.Managed(t, "/cert-status-by-serial/"+serial, nil)) }
	key := func() string { return h.Must(t, "openssl", "pkey", "-pubout", "-in", "/etc/mail/certs/host.key") }
	if is := status(serial); !strings.Contains(is, "Valid") {
		t.Errorf("before it is revoked: %s", is)
	}
	was := key()
	h.Must(t, m, publicConf, "revoke", strings.ToLower(serial))
	second := serves(t, h, serial)
	if is := status(serial); !strings.Contains(is, "Revoked") || key() != was || p.Orders() != 2 {
		t.Errorf("after it was revoked: %s, %d orders, another key: %v", is, p.Orders(), key() != was)
	}
	out := h.Must(t, m, publicConf, "revoke", "--reason", "keyCompromise", second)
	third := serves(t, h, second)
	if is := status(second); !strings.Contains(is, "Revoked") || key() == was || p.Orders() != 3 {
		t.Errorf("after its key was lost: %s, %d orders, the same key: %v\n%s", is, p.Orders(), key() == was, out)
	}
	// The CA on this host has certificates for that name.
	if out, code := h.Run(m, publicConf, "revoke", "mail-a.example.test"); code != 0 &&
		!strings.Contains(out, "several valid certificates match") || strings.Contains(out, "has revoked") {
		t.Errorf("revoke by the name: %d\n%s", code, out)
	}
	write(t, h.Path("/etc/mail/mailcertd.yaml"), strings.Replace(publicYAML(p), "{issuer: local}", "none", 1), 0o644)
	h.Must(t, "rm", "-r", "/etc/mail/CA")
	if out, code := h.Run(m, publicConf, "revoke", "mail-a.example.test"); code != 0 ||
		!strings.Contains(out, "has revoked "+third) {
		t.Errorf("revoke by the name, without a CA on this host: %d\n%s", code, out)
	}
	serves(t, h, third)
	if out := h.Must(t, m, publicConf, "check"); strings.Contains(out, "[revoked]") {
		t.Errorf("check:\n%s", out)
	}
}
