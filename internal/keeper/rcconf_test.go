package keeper

import (
	"context"
	"errors"
	"testing"
	"time"

	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// A mailcertd that has just been started cannot ask rc.conf, which sets another name than the system's: the
// certificate stays for the name that it is for, for days and when somebody renews it.
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
		t.Errorf("it was replaced by one for %s", s.leaf().DNSNames)
	}
	s.settle(plan.Wish{Renew: true, From: pki.Fingerprint(first)})
	if l := s.leaf(); l.Equal(first) || plan.CertNames(l)[0] != name {
		t.Errorf("renewed, it is for %s", l.DNSNames)
	}
	host = plan.Host{System: "system.example.org"} // it says now that nothing is set
	s.settle(plan.Wish{})
	s.later(25 * time.Hour)
	s.settle(plan.Wish{})
	if l := s.leaf(); plan.CertNames(l)[0] != "system.example.org" {
		t.Errorf("a day after rc.conf answered, it is for %s", l.DNSNames)
	}
}
