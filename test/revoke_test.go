package test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// carried makes a host with a certificate that a has issued and that was copied to the host by hand.
func carried(t *testing.T, a *bed.Host, m string) *bed.Host {
	t.Helper()
	b := bed.NewHost(t, memberName, "10.99.0.2")
	bed.Connect(t, a, b)
	a.Must(t, m, memberConf, "issue", memberName, "--yes", "-o", "/etc/mail/b.pem")
	data, err := os.ReadFile(a.Path("/etc/mail/b.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(a.Path("/etc/mail/b.pem")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file with the key: %v, %v", st.Mode(), err)
	}
	write(t, b.Path("/etc/mail/b.pem"), string(data), 0o600)
	write(t, b.Path("/etc/mail/mailcertd.yaml"), "issuer: none\n", 0o644)
	b.Must(t, m, memberConf, "install", "/etc/mail/b.pem")
	return b
}

// verdict sends one mail and returns what the receiver's log says about the sender's certificate.
func verdict(t *testing.T, from, to *bed.Host, n int) string {
	t.Helper()
	before := len(to.Log())
	if err := mail(from, to, n); err != nil {
		t.Fatal(err)
	}
	var v string
	bed.Wait(t, "a line about "+from.Name, func() error {
		for line := range strings.SplitSeq(to.Log()[before:], "\n") {
			if strings.Contains(line, "STARTTLS=server, relay="+from.Name) && strings.Contains(line, "verify=") {
				_, v, _ = strings.Cut(line, "verify=")
				v, _, _ = strings.Cut(v, ",")
				return nil
			}
		}
		retry(from)
		return fmt.Errorf("not yet:\n%s", to.Log()[before:])
	})
	return v
}

// With crl.install and a sendmail.cf that reads the CRL, sendmail logs FAIL for a revoked host as soon as revoke has
// returned, and OK for hosts of both generations. A CRL that cannot be renewed is removed before it expires, because
// sendmail would then refuse every certificate.
func TestRevoked(t *testing.T) {
	t.Parallel()
	a := bed.NewHost(t, "mail-a.example.test", "10.99.0.1", "+O CRLFile=/etc/mail/certs/crl.pem")
	m := bed.Binary(t, "")
	write(t, a.Path("/etc/mail/mailcertd.yaml"), "crl: {install: true}\n", 0o644)
	a.Must(t, m, memberConf, "ensure")
	b := carried(t, a, m)
	a.Start(t)
	b.Start(t)
	if c := a.Complaints(); len(c) > 0 {
		t.Errorf("sendmail complains:\n%s", strings.Join(c, "\n"))
	}
	if v := verdict(t, b, a, 1); v != "OK" {
		t.Fatalf("before: %s", v)
	}
	if v := verdict(t, a, b, 2); v != "OK" {
		t.Fatalf("the other way: %s", v)
	}
	a.Must(t, m, memberConf, "ca", "rollover", "--now")
	if v := verdict(t, b, a, 3); v != "OK" {
		t.Errorf("a host of the older generation: %s", v)
	}
	out := a.Must(t, m, memberConf, "revoke", memberName)
	if !strings.Contains(out, "/etc/mail/sendmail.cf reads the CRL /etc/mail/certs/crl.pem") {
		t.Errorf("revoke says:\n%s", out)
	}
	if v := verdict(t, b, a, 4); v != "FAIL" {
		t.Errorf("a revoked host: %s", v)
	}
	// The CA's key is missing, and the CRL expires in less than a day of its 30 days.
	if err := os.Rename(a.Path("/etc/mail/CA/cakey.pem"), a.Path("/etc/mail/cakey.away")); err != nil {
		t.Fatal(err)
	}
	a.Must(t, "sh", "-ec", `cd /etc/mail/CA; for g in gen-1 .; do k=$g/cakey.pem; [ -e $k ] || k=/etc/mail/cakey.away
		openssl ca -config openssl.cnf -gencrl -crl_lastupdate $(date -u -d "29 days ago" +%y%m%d%H%M%SZ) \
			-crl_nextupdate $(date -u -d "20 hours" +%y%m%d%H%M%SZ) -keyfile $k -cert $g/cacert.pem -out $g/crl.pem; done`)
	out, _ = a.Run(m, memberConf, "ensure")
	if _, err := os.Stat(a.Path("/etc/mail/certs/crl.pem")); err == nil {
		t.Errorf("a CRL that expires soon is still there:\n%s", out)
	}
	if !strings.Contains(out, "crl-stale") {
		t.Errorf("ensure says:\n%s", out)
	}
	if !a.Offers(t) {
		t.Error("STARTTLS is gone")
	}
}
