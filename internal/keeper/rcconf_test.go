package keeper

import (
	"context"
	"errors"
	"testing"
	"time"

	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// rc.conf sets another name than the system's, and a mailcertd that was just started cannot ask for it. The certificate
// stays for its present name, for days and when a person renews it.
func TestNameWhileRCConfIsSilent(t *testing.T) {
	s := newSite(t, "")
	host := plan.Host{System: "system.example.org", RC: name}
	s.o.Host = func(context.Context) plan.Host { return host }
	s.settle(plan.Wish{})
	first := s.leaf()
	host.RC, host.RCErr = "", errors.New("sysrc: did not finish in time")
	for range 3 {
		s.later(23 * time.Hour)
		if r := s.settle(plan.Wish{}); !r.Plan.Empty() || !reported(r.Plan, plan.Unreadable) ||
			reported(r.Plan, plan.NameChanged) {
			t.Errorf("%s", reasons(r))
		}
	}
	if !s.leaf().Equal(first) {
		t.Errorf("the certificate was replaced by one for %s", s.leaf().DNSNames)
	}
	s.settle(plan.Wish{Renew: true, From: pki.Fingerprint(first)})
	if l := s.leaf(); l.Equal(first) || plan.CertNames(l)[0] != name {
		t.Errorf("the renewed certificate is for %s", l.DNSNames)
	}
	host = plan.Host{System: "system.example.org"} // rc.conf answers now that it sets no name
	s.settle(plan.Wish{})
	s.later(25 * time.Hour)
	s.settle(plan.Wish{})
	if l := s.leaf(); plan.CertNames(l)[0] != "system.example.org" {
		t.Errorf("a day after rc.conf answered, the certificate is for %s", l.DNSNames)
	}
}
