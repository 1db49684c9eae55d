package dane

import (
	"flag"
	"slices"
	"testing"
	"time"
)

var changes = flag.Int("changes", 10, "how often the keys change in TestKeyChanges")

// Keys change again and again while a mail host connects several times a second, and it verifies every connection.
func TestKeyChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, keys string
		cf         []string
		auth       []string // the kinds of keys that the mail host accepts, in turn
		pairs      []string
	}{
		{"one pair", "type: ecdsa-p256", nil, []string{""}, []string{"host"}},
		{"two pairs", "type: rsa-2048, second: ecdsa-p256", []string{
			"ServerCertFile=/etc/mail/certs/host.cert=>" +
				"ServerCertFile=/etc/mail/certs/host.cert,/etc/mail/certs/host-ecdsa.cert",
			"ServerKeyFile=/etc/mail/certs/host.key=>" +
				"ServerKeyFile=/etc/mail/certs/host.key,/etc/mail/certs/host-ecdsa.key"},
			[]string{"aRSA", "aECDSA"}, []string{"host", "host-ecdsa"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, world{follows: true}, c.keys, c.cf...)
			j, want := w.judges(c.auth...), map[string][]string{}
			seen := func() {
				for _, pair := range c.pairs {
					want[pair] = append(want[pair], w.key(pair))
				}
				for range c.auth {
					j.verifies()
				}
			}
			seen()
			for range *changes {
				w.change(c.pairs...)
				seen()
			}
			w.until("only the records of the last keys stay", func() error { return w.has(w.records()...) })
			keys := j.only()
			for i, pair := range c.pairs {
				if got := keys[c.auth[i]]; !slices.Equal(got, want[pair]) {
					t.Errorf("%s: the mail host has verified the keys %v, must have %v", pair, got, want[pair])
				}
			}
		})
	}
}

// change changes the keys of these pairs.
func (w *world) change(pairs ...string) {
	w.t.Helper()
	began, was := time.Now(), map[string]string{}
	for _, p := range pairs {
		was[p] = w.key(p)
	}
	w.rekey()
	w.until("other keys", func() error {
		same := slices.ContainsFunc(pairs, func(p string) bool { return w.key(p) == was[p] })
		return errorUnless(!same, "%+v", w.memory().Changes)
	})
	if took := time.Since(began); took < w.ttl {
		w.t.Errorf("keys were changed %s after it was asked for, and resolvers remember records for %s", took, w.ttl)
	}
}
