package keeper

import (
	"context"
	"os"
	"strings"
	"testing"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// A run reads everything once, and after each step only what the step may have changed.
func TestOneLook(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(s *site)
		wish   func(s *site) plan.Wish
		most   map[string]int // the most reads of these files, by the ends of their paths
	}{
		{"first boot", nil, nil, map[string]int{"/mail/sendmail.cf": 1, "/mail/CA/cakey.pem": 5, "/mail/submit.cf": 1}},
		{"nothing to do", func(s *site) { s.settle(plan.Wish{}) }, nil,
			map[string]int{"/mail/sendmail.cf": 1, "/mail/CA/cakey.pem": 1,
				"/certs/host.cert": 1, "/certs/host.key": 1, "/certs/dh.param": 1, "/mail/CA/index.txt": 0}},
		{"host.cert is deleted", func(s *site) {
			s.settle(plan.Wish{})
			if err := os.Remove(s.certs("host.cert")); err != nil {
				t.Fatal(err)
			}
		}, nil, map[string]int{"/mail/sendmail.cf": 1, "/mail/CA/cakey.pem": 2, "/certs/host.key": 2,
			"/certs/dh.param": 2}},
		{"renewal", func(s *site) { s.settle(plan.Wish{}) }, func(s *site) plan.Wish {
			return plan.Wish{Renew: true, From: pki.Fingerprint(s.leaf())}
		},
			map[string]int{"/mail/sendmail.cf": 1, "/mail/CA/cakey.pem": 5, "/certs/dh.param": 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, "")
			hosts := 0
			s.o.Host = func(context.Context) plan.Host { hosts++; return plan.Host{System: name} }
			if c.before != nil {
				c.before(s)
			}
			wish := plan.Wish{}
			if c.wish != nil {
				wish = c.wish(s)
			}
			hosts = 0
			opened := map[string]int{}
			defer durable.TestOnlyBeforeRead(func(op, path string) error {
				for end := range c.most {
					if (op == "open" || op == "lstat" && strings.HasSuffix(end, ".cf")) &&
						strings.HasSuffix(path, end) {
						opened[end]++
					}
				}
				return nil
			})()
			r := s.settle(wish)
			if lacks := s.complete(r); lacks != "" {
				t.Error(lacks)
			}
			if hosts != 1 {
				t.Errorf("the system was asked %d times for its name and for rc.conf", hosts)
			}
			for end, most := range c.most {
				t.Logf("%s: %d", end, opened[end])
				if opened[end] > most {
					t.Errorf("%s was read %d times, want %d at most", end, opened[end], most)
				}
			}
		})
	}
}
