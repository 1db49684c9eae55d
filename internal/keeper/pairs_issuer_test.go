package keeper

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// An older CA host remembers one certificate of each member. It issues a certificate for a new key of the first pair,
// although the certificate of the second pair is newer.
func TestPairsOlderCARekey(t *testing.T) {
	t.Parallel()
	f := newFamily(t, "", "key: {type: rsa-2048, second: ecdsa-p256}\n", "mx.example.org")
	m := f.members["mx.example.org"]
	ask := m.o.Issuer.(issuer.Channel)
	m.o.Issuer = issuer.Channel(func(ctx context.Context, request []byte) ([]byte, error) {
		return ask(ctx, regexp.MustCompile(`(?m)^holds:.*\n`).ReplaceAll(request, nil))
	})
	m.Keeper = New(m.o)
	f.day(0)
	f.day(24 * time.Hour)
	facts := m.Check(t.Context(), plan.Wish{}).Plan.Facts
	was := m.contents()
	wish := plan.Wish{Once: true, Renew: true, Rekey: true, From: facts.LeafID, FromKey: facts.KeyID}
	if _, err := m.Renew(t.Context(), wish); err != nil {
		t.Fatal(err)
	}
	is := m.contents()
	if is["host.key"] == was["host.key"] || is["host-ecdsa.key"] != was["host-ecdsa.key"] {
		t.Error("only the first pair should get a new key")
	}
}

// An installation of several pairs is interrupted at any operation. The next ensure completes it, and nothing half-done
// is left.
func TestPairsCutShort(t *testing.T) {
	for name, how := range map[string]struct {
		wish plan.Wish
		late time.Duration
	}{
		"renewal":  {plan.Wish{}, 250 * 24 * time.Hour},
		"new keys": {plan.Wish{Rekey: true}, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cut := errors.New("cut short")
			for n := int64(1); ; n++ {
				s := newPairs(t, threePairs)
				was := s.contents()
				s.later(how.late)
				w := how.wish
				if w.Rekey {
					w = s.allPairs(w)
					w.From, w.FromKey = "", "" // the host's RSA key stays, because making one is slow
				}
				w.Once = true
				start, hit := s.o.Disk.Points(), false
				s.o.Disk.Before = func(p durable.Point) error {
					if p.N >= start+n {
						hit = true
						return cut
					}
					return nil
				}
				_, err := s.Settle(t.Context(), w)
				if !hit {
					if n < 20 {
						t.Fatalf("only %d operations", n)
					}
					return
				}
				if err != nil && !errors.Is(err, cut) {
					t.Fatalf("operation %d: %v", n, err)
				}
				s.o.Disk.Before = nil
				changed := 0
				for name, text := range s.contents() {
					if text != was[name] {
						changed++
					}
				}
				s.Keeper = New(s.o)
				r := s.settle(plan.Wish{})
				if why := s.settled(); why != "" {
					t.Errorf("operation %d: %s", n, why)
				}
				if !w.Rekey && changed > 0 && changed < 3 &&
					!strings.Contains(fmt.Sprint(r.Done), string(plan.Recover)) {
					t.Errorf("operation %d: %d of 3 certificates had been changed, and nothing was rolled forward", n,
						changed)
				}
				if _, err := os.Stat(s.certs(certdir.StagingDir)); err == nil {
					t.Errorf("operation %d: something is left in the staging area", n)
				}
			}
		})
	}
}

// A member asks its CA for each pair, installs it and renews it. An older CA host, which does not know about other
// pairs, issues for a second pair too.
func TestPairsOfMember(t *testing.T) {
	for _, older := range []bool{false, true} {
		t.Run(map[bool]string{false: "", true: "older CA host"}[older], func(t *testing.T) {
			t.Parallel()
			yaml := "key: {type: rsa-2048, second: ecdsa-p256}\nclient: {issuer: {ssh: {target: ca}}}\n"
			if older {
				yaml = "key: {type: rsa-2048, second: ecdsa-p256}\n"
			}
			f := newFamily(t, "", yaml, "mx.example.org")
			m := f.members["mx.example.org"]
			ask := m.o.Issuer.(issuer.Channel)
			m.o.Issuer = issuer.Channel(func(ctx context.Context, request []byte) ([]byte, error) {
				if older {
					request = regexp.MustCompile(`(?m)^holds:.*\n`).ReplaceAll(request, nil)
				}
				return ask(ctx, request)
			})
			m.Keeper = New(m.o)
			pairs := certdir.Pairs()
			if older {
				pairs = pairs[:2]
			}
			check := func(when string) {
				t.Helper()
				for _, p := range pairs {
					leaf := m.leafIn(p)
					if leaf == nil ||
						!pki.IssuedBy(leaf, f.ca.Check(t.Context(), plan.Wish{}).Observed.CA.Current.Cert) ||
						!pki.SamePublicKey(leaf.PublicKey, pki.ReadKeyFile(m.content(p.KeyFile)).Public) {
						t.Errorf("%s, %s: %v\n%s", when, p.Name, leaf, strings.Join(m.log, "\n"))
					}
				}
			}
			f.day(0)
			check("at first")
			was := m.contents()
			issued := 2
			if !older { // an older CA host allows four valid certificates in all
				issued++
				if _, err := m.Renew(t.Context(), m.allPairs(plan.Wish{Once: true})); err != nil {
					t.Errorf("renew: %v", err)
				}
				for _, p := range pairs {
					if m.contents()[p.CertFile] == was[p.CertFile] {
						t.Errorf("renew does not renew %s", p.Name)
					}
				}
				check("after renew")
				was = m.contents()
			}
			for range 20 {
				f.day(14 * 24 * time.Hour)
			}
			check("after 280 days")
			for _, p := range pairs {
				if m.contents()[p.CertFile] == was[p.CertFile] || m.contents()[p.KeyFile] != was[p.KeyFile] {
					t.Errorf("%s was not renewed with its key", p.Name)
				}
			}
			if n := len(ca.Observe(f.ca.cfg.CA.Dir, ca.Filter{Name: "mx.example.org"}).Issued); n != issued*len(pairs) {
				t.Errorf("%d certificates were issued", n)
			}
		})
	}
}

// The client pair may have another issuer than the host's own pair. Then both CAs are trusted.
func TestClientIssuer(t *testing.T) {
	t.Parallel()
	const away = "{ssh: {target: ca}}"
	for _, c := range []struct{ host, client string }{{"none", "local"}, {"none", away}, {"local", away}, {away,
		"local"}} {
		t.Run(c.host+" and "+c.client, func(t *testing.T) {
			f := newFamily(t, "", "", "mx.example.org")
			s := newSite(t, "host: {name: mx.example.org}\nissuer: "+c.host+"\nclient: {issuer: "+c.client+"}\n")
			s.o.Issuer = issuer.Channel(func(_ context.Context, request []byte) ([]byte, error) {
				return f.ask("mx.example.org", request)
			})
			s.Keeper = New(s.o)
			bought := makeForeign(t, s.now)
			if c.host == "none" {
				s.put(bought)
			}
			for range 3 {
				f.look(s)
			}
			issuers := map[string]*x509.Certificate{"local": s.Check(t.Context(), plan.Wish{}).Observed.CA.Current.Cert,
				away: f.ca.Check(t.Context(), plan.Wish{}).Observed.CA.Current.Cert}
			trusted, err := certdir.Observe(s.cfg.Certs.Dir).Trusted()
			if err != nil {
				t.Fatal(err)
			}
			for p, from := range map[certdir.Pair]string{certdir.Host: c.host, certdir.Client: c.client} {
				leaf, issuer := s.leafIn(p), issuers[from]
				switch {
				case from == "none":
					if !bytes.Equal(s.content(p.CertFile), bought.cert) ||
						!bytes.Equal(s.content("cacert.pem"), bought.ca) {
						t.Error("the bought set was changed")
					}
				case leaf == nil || issuer == nil || !pki.IssuedBy(leaf, issuer):
					t.Errorf("%s is not issued by %s: %v\n%s", p.Name, from, leaf, strings.Join(s.log, "\n"))
				case !slices.ContainsFunc(trusted, issuer.Equal):
					t.Errorf("the CA that issued %s is not trusted", p.Name)
				}
			}
			before := snapshot(t, s.root)
			if r := s.settle(plan.Wish{}); r.Changed || snapshot(t, s.root) != before {
				t.Errorf("another ensure changed something: %v", r.Done)
			}
		})
	}
}
