package keeper

import (
	"os"
	"testing"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/plan"
)

// A staged key for which no certificate is expected, as an interrupted install leaves it, is removed even when the
// installed set is kept.
func TestStagedBesideKept(t *testing.T) {
	for _, bought := range []bool{false, true} {
		s := newSite(t, "")
		f := makeForeign(t, s.now)
		if bought {
			s.put(f)
		}
		s.settle(plan.Wish{})
		if err := durable.OpenSet(&durable.Disk{}, s.cfg.Certs.Dir).Stage(certdir.Host.KeyFile, f.key,
			0o600); err != nil {
			t.Fatal(err)
		}
		key := s.read(s.certs("host.key"))
		if why := s.complete(s.settle(plan.Wish{})); why != "" {
			t.Error(why)
		}
		if _, err := os.Lstat(s.certs(certdir.StagingDir)); err == nil {
			t.Errorf("bought %t: the staging area stays", bought)
		}
		if string(s.read(s.certs("host.key"))) != string(key) {
			t.Error("the key was replaced")
		}
	}
}
