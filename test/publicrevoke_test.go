package test

import (
	"regexp"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// A person revokes the certificate of this host by its serial number: the ACME CA alone can do that, and the command
// that revoke names does it. By the name it is first a certificate of the CA on this host, if that has issued one.
func TestRevokeOfPublic(t *testing.T) {
	t.Parallel()
	bed.Need(t, false, "certbot")
	h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1")
	m, p := bed.Binary(t, ""), bed.NewPebble(t, bed.PebbleOptions{Host: h})
	write(t, h.Path("/etc/mail/mailcertd.yaml"), publicYAML(p), 0o644)
	h.Run(m, publicConf, "ensure")
	h.Start(t)
	interim := h.OnDisk(t)
	h.Must(t, m, publicConf, "renew")
	serial := serves(t, h, interim)
	out, code := h.Run(m, publicConf, "revoke", strings.ToLower(serial))
	says := regexp.MustCompile("`(certbot revoke [^`]*)`, and then `mailcertd renew --rekey`").FindStringSubmatch(out)
	if code != 1 || says == nil || !strings.Contains(out, "only that CA can revoke it") {
		t.Fatalf("revoke of %s: %d\n%s", serial, code, out)
	}
	status := func() string { return string(p.Managed(t, "/cert-status-by-serial/"+serial, nil)) }
	if is := status(); !strings.Contains(is, "Valid") {
		t.Errorf("before it is revoked: %s", is)
	}
	h.Must(t, append([]string{"env", "REQUESTS_CA_BUNDLE=" + p.CAFile, "HOME=/tmp"}, append(strings.Fields(says[1]),
		"--no-delete-after-revoke", "--non-interactive", "--config-dir", "/var/tmp/certbot", "--work-dir",
		"/var/tmp/certbot", "--logs-dir", "/var/tmp/certbot")...)...)
	if is := status(); !strings.Contains(is, "Revoked") {
		t.Errorf("after it was revoked: %s", is)
	}
	// The CA on this host has certificates for that name.
	if out, code := h.Run(m, publicConf, "revoke", "mail-a.example.test"); strings.Contains(out, "certbot") ||
		code != 0 && !strings.Contains(out, "several valid certificates match") {
		t.Errorf("revoke by the name: %d\n%s", code, out)
	}
	write(t, h.Path("/etc/mail/mailcertd.yaml"), strings.Replace(publicYAML(p), "{issuer: local}", "none", 1), 0o644)
	h.Must(t, "rm", "-r", "/etc/mail/CA")
	if out, code := h.Run(m, publicConf, "revoke", "mail-a.example.test"); code != 1 ||
		!strings.Contains(out, "only that CA can revoke it") {
		t.Errorf("revoke by the name, without a CA on this host: %d\n%s", code, out)
	}
}
