package dns

import (
	"errors"
	"strings"
	"testing"

	"mailcertd/internal/dns"
	"mailcertd/test/bed"
)

// A resolver on this host says of each answer whether it has checked the signatures, and refuses wrong ones.
func validated(t *testing.T, w *world) {
	anchor := w.primary.TrustAnchor(t, "signed.test")
	wrong := strings.Replace(anchor, "signed.test", "forged.test", 1) // it has another key
	bed.NewNamed(t, here, []string{judge}, "dnssec-validation yes; recursion yes; allow-recursion { any; };",
		anchor+wrong,
		bed.NamedZone{Name: ".", Statements: "type hint;", Text: ". 60 NS ns1.example.test.\nns1.example.test. 60 A " +
			primary + "\n"})
	c := w.client(t, "", func(o *dns.Options) { o.Resolver = judge })
	ask := func(name string) (dns.Validation, error) {
		return c.Validated(within(t, bed.Patience), name, dns.TypeTLSA)
	}
	bed.Wait(t, "the signatures of signed.test", func() error {
		v, err := ask("_25._tcp.mail.signed.test")
		if err == nil && (!v.AD || !v.Local || len(v.Records) != 1) {
			t.Logf("%+v", v)
			err = errors.New("not signed")
		}
		return err
	})
	v, err := ask("_25._tcp.mail.example.test")
	if err != nil || v.AD || !v.Local {
		t.Errorf("%+v, %v", v, err)
	}
	_, err = ask("_25._tcp.mail.forged.test")
	w.wants(t, err, dns.Failed, "SERVFAIL", judge)
	v, err = w.client(t, "", nil).Validated(within(t, bed.Patience), "_25._tcp.mail.forged.test", dns.TypeTLSA)
	if err != nil || v.AD || v.Local || len(v.Records) != 1 { // a resolver elsewhere, which checks nothing
		t.Errorf("%+v, %v", v, err)
	}
}
