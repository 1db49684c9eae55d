package keeper

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// publicCA stands for an ACME CA: it signs with an intermediate, for serverAuth alone. It may be away.
type publicCA struct {
	t      *testing.T
	s      *site
	life   time.Duration
	root   *x509.Certificate
	middle *x509.Certificate
	key    crypto.Signer
	serial int64
	away   bool
	asked  []time.Time // when it was asked, whether it was away or not
	orders int         // how often it answered with a certificate
}

func newPublicCA(t *testing.T, s *site, life time.Duration) *publicCA {
	t.Helper()
	ca := &publicCA{t: t, s: s, life: life, serial: 100}
	rootKey := ca.newKey()
	ca.root = ca.sign("Public Root", rootKey, nil, rootKey, 0)
	ca.key = ca.newKey()
	ca.middle = ca.sign("Public Intermediate", ca.key, ca.root, rootKey, 0)
	s.o.Issuer = ca
	return ca
}

func (ca *publicCA) newKey() crypto.Signer {
	key, err := pki.GenerateKey(pki.ECDSAP256, rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	return key
}

// sign signs a CA's certificate where life is zero, else a leaf. A nil parent means that it is self-signed.
func (ca *publicCA) sign(name string, of crypto.Signer, parent *x509.Certificate, by crypto.Signer,
	life time.Duration) *x509.Certificate {
	ca.serial++
	c := &x509.Certificate{SerialNumber: big.NewInt(ca.serial), NotBefore: ca.s.now.Add(-time.Hour),
		NotAfter: ca.s.now.Add(life)}
	if life == 0 {
		c.Subject, c.NotAfter = pkix.Name{CommonName: name}, ca.s.now.AddDate(10, 0, 0)
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		c.DNSNames, c.ExtKeyUsage = []string{name}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	if parent == nil {
		parent = c
	}
	return ca.issue(c, parent, of.Public(), by)
}

func (ca *publicCA) issue(c, parent *x509.Certificate, of crypto.PublicKey, by crypto.Signer) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, c, parent, of, by)
	if err == nil {
		c, err = x509.ParseCertificate(der)
	}
	if err != nil {
		ca.t.Fatal(err)
	}
	return c
}

// Ask implements issuer.Issuer.
func (ca *publicCA) Ask(_ context.Context, r issuer.Request) (issuer.Reply, error) {
	ca.asked = append(ca.asked, ca.s.now)
	if ca.away {
		return issuer.Reply{}, issuer.Refusal{Kind: issuer.KindAway, Reason: "the directory: connection refused"}
	}
	block, _ := pem.Decode(r.CSR)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return issuer.Reply{}, err
	}
	ca.orders++
	ca.serial++
	leaf := ca.issue(&x509.Certificate{SerialNumber: big.NewInt(ca.serial), DNSNames: csr.DNSNames,
		NotBefore: ca.s.now.Add(-time.Hour), NotAfter: ca.s.now.Add(ca.life),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, ca.middle, csr.PublicKey, ca.key)
	return issuer.Reply{Status: issuer.Signed, Leaf: leaf, CAs: []*x509.Certificate{ca.middle}}, nil
}

// live lets the daemon run for d. It looks whenever it wants to, and after idle at the latest. Each look is followed by
// a call of each.
func (s *site) live(d, idle time.Duration, each func()) {
	s.t.Helper()
	for end := s.now.Add(d); s.now.Before(end); {
		var next time.Time
		for range 5 {
			var err error
			if next, err = s.Look(context.Background(), "time"); err != nil {
				s.t.Fatalf("%v\n%s", err, strings.Join(s.log, "\n"))
			}
			if !s.asker.asking {
				break
			}
			<-s.Wake()
		}
		each()
		if next = soonest(next, s.now.Add(idle)); !next.After(s.now) {
			s.t.Fatalf("%s: the daemon wants to look at once, again and again\n%s", s.now, strings.Join(s.log, "\n"))
		}
		s.now = next
		s.believed()
	}
}

// A CA is away for three weeks while the renewal is due. The certificate stays as it is, also where it expires
// meanwhile. The CA is asked at least once an hour and at most once a minute, and the failure is reported. When the CA
// is back, one order renews the certificate within the hour, and the CA is not asked again.
func TestPublicCAAway(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for _, c := range []struct {
		name    string
		life    time.Duration
		before  time.Duration // from the first certificate until the CA is away
		expires bool
	}{{"90 days", 90 * aDay, 55 * aDay, false}, {"6 days", 6 * aDay, 3 * aDay, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "issuer: {acme: {directory: 'https://127.0.0.1:1/dir', agree_tos: true}}\n")
			ca := newPublicCA(t, s, c.life)
			s.settle(plan.Wish{})
			s.live(c.before, 2*aDay, func() {})
			if ca.orders != 1 || len(ca.asked) != 1 {
				t.Fatalf("%d orders, asked at %v\n%s", ca.orders, ca.asked, strings.Join(s.log, "\n"))
			}
			before := s.read(s.certs("host.cert"))

			ca.away, ca.asked = true, nil
			reported := false
			s.live(3*week, time.Hour, func() {
				if !bytes.Equal(s.read(s.certs("host.cert")), before) {
					t.Fatalf("%s: another certificate lies there\n%s", s.now, strings.Join(s.log, "\n"))
				}
				if n := len(ca.asked); n == 1 || n%100 == 0 && n > 0 { // check is slow
					reported = true
					if err := s.told(plan.IssuerAway); err != nil {
						t.Fatal(err)
					}
				}
			})
			if !reported {
				t.Fatal("the renewal was never due")
			}
			for i, at := range ca.asked[1:] {
				if gap := at.Sub(ca.asked[i]); gap < time.Minute-time.Second || gap > time.Hour {
					t.Fatalf("asked at %s and %s", ca.asked[i], at)
				}
			}
			if most := int(3*week/time.Hour) + 10; len(ca.asked) > most {
				t.Errorf("asked %d times", len(ca.asked))
			}
			if expired := s.now.After(s.leaf().NotAfter); expired != c.expires {
				t.Errorf("expired: %v", expired)
			}

			ca.away, ca.asked, ca.orders = false, nil, 0
			back := s.now
			s.live(aDay, time.Hour, func() {})
			if ca.orders != 1 || len(ca.asked) != 1 || ca.asked[0].Sub(back) > time.Hour {
				t.Errorf("back since %s: %d orders, asked at %v", back, ca.orders, ca.asked)
			}
			if f := s.leaf(); bytes.Equal(s.read(s.certs("host.cert")), before) || s.now.After(f.NotAfter) {
				t.Error("the certificate is not renewed")
			}
			if err := s.told(plan.IssuerAway); err == nil {
				t.Error("it is still reported")
			}
		})
	}
}

// told returns an error unless check reports that reason, with what to do.
func (s *site) told(reason plan.Reason) error {
	var text []string
	for _, p := range s.Check(context.Background(), plan.Wish{}).Plan.Problems {
		if p.Reason == reason && p.Hint != "" {
			return nil
		}
		text = append(text, p.Text)
	}
	return errors.New(strings.Join(text, "\n"))
}
