package keeper

import (
	"os"
	"strings"
	"testing"

	"mailcertd/internal/config"
	"mailcertd/internal/plan"
)

// With a configuration whose CA could not sign for its own host, no CA is made. If the name comes from host.name, the
// configuration is refused. If it is the system's name, an interim certificate serves, and the CA is made when the
// configuration has been corrected.
func TestMisfit(t *testing.T) {
	for what, yaml := range map[string]string{
		"common_name":       "ca: {subject: {common_name: " + strings.ToUpper(name) + "}}",
		"permitted_domains": "ca: {permitted_domains: [other.example]}",
	} {
		t.Run(what, func(t *testing.T) {
			if _, err := config.Parse([]byte("host: {name: "+name+"}\n"+yaml+"\n"), "c.yaml", ""); err == nil ||
				!strings.Contains(err.Error(), "c.yaml:2") || !strings.Contains(err.Error(), what) {
				t.Errorf("with host.name: %v", err)
			}
			s := newSite(t, yaml)
			r := s.settle(plan.Wish{})
			if p := problem(r.Plan, plan.NoIssuer); p == nil || !strings.Contains(p.Text, what) {
				t.Errorf("%+v", p)
			}
			if _, err := os.Lstat(s.cfg.CA.Dir); err == nil {
				t.Error("a CA was made")
			}
			if o := s.leaf().Subject.Organization; len(o) != 1 || o[0] != plan.InterimOrganization ||
				!r.Plan.Facts.Offered {
				t.Errorf("no interim certificate: %v", o)
			}
			s.cfg.CA = newSite(t, "").cfg.CA
			s.cfg.CA.Dir = s.root + "/etc/mail/CA"
			if r := s.settle(plan.Wish{}); s.complete(r) != "" {
				t.Error(s.complete(r))
			}
		})
	}
}
