package keeper

import (
	"slices"
	"testing"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// The public CA refuses orders, and a person runs `renew` again and again: the private CA on this host signs one
// certificate for the client's pair, not one for each attempt. `renew --rekey` makes one more, since that one has
// another key. When the public CA gives certificates again, a `renew` gets one, and the one after it renews both.
func TestRenewSparesWhatIsRenewed(t *testing.T) {
	s, ca := publicSite(t, 90*24*time.Hour)
	cfg, err := config.Parse([]byte("key: {type: ecdsa-p256}\nclient: {issuer: local}\n"+
		ca.issuer(t, s.root, "public.pem")), "mailcertd.yaml", s.root)
	if err != nil {
		t.Fatal(err)
	}
	s.o.Config = cfg
	s.Keeper = New(s.o)
	s.settle(plan.Wish{})
	client := func() string {
		certs := s.Check(t.Context(), plan.Wish{}).Observed.Certs
		return pki.Fingerprint(certs.Pair(certdir.Client).Cert.File.Certs[0])
	}
	renew := func(w plan.Wish) (failed, changed bool) {
		t.Helper()
		before, host := client(), s.leaf()
		w.Renew, w.Once = true, true
		_, err := s.Renew(t.Context(), s.Check(t.Context(), plan.Wish{}).Plan.Facts.Replace(w))
		if (err == nil) == s.leaf().Equal(host) {
			t.Errorf("renew: %v, and another host.cert: %v", err, !s.leaf().Equal(host))
		}
		s.later(time.Minute)
		ca.at(s.now)
		return err != nil, client() != before
	}
	ca.set(func() { ca.limited = time.Hour })
	s.later(24 * time.Hour)
	ca.at(s.now)
	for i, want := range []bool{true, false, false} {
		if failed, changed := renew(plan.Wish{}); !failed || changed != want {
			t.Errorf("attempt %d: failed: %v, another client.cert: %v", i+1, failed, changed)
		}
	}
	for i, want := range []bool{true, false} {
		if failed, changed := renew(plan.Wish{Rekey: true}); !failed || changed != want {
			t.Errorf("attempt %d with --rekey: failed: %v, another client.cert: %v", i+1, failed, changed)
		}
	}
	w := s.Check(t.Context(), plan.Wish{}).Plan.Facts.Replace(plan.Wish{Renew: true})
	if told := s.Check(t.Context(), w).Plan.Problems; !slices.ContainsFunc(told, func(p plan.Problem) bool {
		return p.Reason == plan.Asked && p.Path == s.certs("client.cert")
	}) {
		t.Errorf("renew does not say that it leaves out client.cert: %v", told)
	}
	ca.set(func() { ca.limited = 0 })
	if failed, changed := renew(plan.Wish{}); failed || changed {
		t.Errorf("the CA gives certificates: failed: %v, another client.cert: %v", failed, changed)
	}
	if failed, changed := renew(plan.Wish{}); failed || !changed {
		t.Errorf("the next renew: failed: %v, another client.cert: %v", failed, changed)
	}
}
