package keeper

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mailcertd/internal/ca"
	"mailcertd/internal/durable"
	"mailcertd/internal/plan"
)

// mostSyncs is the largest number of syncs in a first boot.
const mostSyncs = 24

// Each sync of a first boot is needed for one of the promises. On a disk that takes ten milliseconds for a sync, the
// boot waits a quarter of a second for all of them.
func TestFirstBootSyncs(t *testing.T) {
	for _, key := range []string{"rsa-2048", "ecdsa-p256"} {
		for name, start := range map[string]func(root string) error{
			"empty root":         func(string) error { return nil },
			"without the root":   os.Remove,
			"with what base has": func(root string) error { return makeAll(root, "etc/mail", "var/db", "var/run") },
			"with empty certs": func(root string) error {
				return makeAll(root, "etc/mail/certs", "var/db/mailcertd")
			},
			"with half of a CA": func(root string) error { return makeAll(root, "etc/mail/.CA.mailcertd/newcerts") },
		} {
			t.Run(key+", "+name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, "key: {type: "+key+"}\n")
				if err := start(s.root); err != nil {
					t.Fatal(err)
				}
				syncs := 0
				s.o.Disk.Before = func(p durable.Point) error {
					switch p.Op {
					case "sync", "syncdir", "chmod", "chown": // all of them end with fsync(2)
						syncs++
					}
					return nil
				}
				r := s.settle(plan.Wish{})
				if lacks := s.complete(r); lacks != "" {
					t.Error(lacks)
				}
				if syncs > mostSyncs || syncs < 10 {
					t.Errorf("%d syncs, want at most %d", syncs, mostSyncs)
				}
				t.Logf("%d syncs", syncs)
			})
		}
	}
}

func makeAll(root string, dirs ...string) (err error) {
	for _, d := range dirs {
		err = errors.Join(err, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	return err
}

// What an interrupted first boot has left beside the CA's place is removed, even where no CA is made any more. purge
// removes it too.
func TestLeftBesideCA(t *testing.T) {
	ensure := func(s *site) {
		if r := s.settle(plan.Wish{}); !r.Plan.Empty() {
			s.t.Errorf("left to do: %v", r.Plan.Actions)
		}
	}
	for _, c := range []struct {
		name, yaml string
		before     bool // the CA exists already
		remove     func(s *site)
	}{
		{"a CA is made", "", false, ensure},
		{"a CA is there", "", true, ensure},
		{"nobody issues here", "issuer: none\n", false, ensure},
		{"purge", "", true, func(s *site) {
			if err := s.Purge(t.Context(), func([]Purged) error { return nil }); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, c.yaml)
			if c.before {
				s.settle(plan.Wish{})
			}
			beside := ca.Beside(s.cfg.CA.Dir)
			if err := errors.Join(os.MkdirAll(filepath.Join(beside, "newcerts"), 0o700),
				os.WriteFile(filepath.Join(beside, "cakey.pem"), []byte("x"), 0o600)); err != nil {
				t.Fatal(err)
			}
			c.remove(s)
			if n := durable.Look(beside); n.Kind != durable.Missing {
				t.Errorf("%s is left", beside)
			}
		})
	}
}
