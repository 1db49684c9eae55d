package keeper

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io/fs"
	"math/big"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// foreign is a pair of another CA with that CA's certificate.
type foreign struct{ key, cert, ca []byte }

func makeForeign(t testing.TB, now time.Time) foreign { return makeForeignFor(t, now, 365) }

// makeForeignFor makes a pair that expires in so many days. It becomes valid a month ago if it lives for a year or
// more, else now.
func makeForeignFor(t testing.TB, now time.Time, days int) foreign {
	t.Helper()
	from := now
	if days >= 365 {
		from = now.AddDate(0, -1, 0)
	}
	pair := func(cn string, parent *x509.Certificate, signer any) (*x509.Certificate, any, []byte) {
		k, err := pki.GenerateKey(pki.ECDSAP256, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: cn}, NotBefore: from,
			NotAfter: now.AddDate(0, 0, days),
			IsCA:     parent == nil, BasicConstraintsValid: true, DNSNames: []string{name}}
		if parent == nil {
			parent, signer = tmpl, k
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, k.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		c, _ := x509.ParseCertificate(der)
		data, _ := pki.MarshalKey(k)
		return c, k, data
	}
	root, rootKey, _ := pair("Somebody's CA", nil, nil)
	leaf, _, key := pair(name, root, rootKey)
	return foreign{key, pki.EncodeCertificate(leaf.Raw), pki.EncodeCertificate(root.Raw)}
}

// wreck damages a site in ways that the seed decides. It returns the content of the files that must not be lost.
func wreck(t testing.TB, s *site, f foreign, seed uint64) (kept map[string][]byte) {
	r := mrand.New(mrand.NewPCG(seed, 1))
	if r.IntN(8) > 0 {
		s.settle(plan.Wish{})
	}
	contents := [][]byte{nil, []byte("garbage"), f.key, f.cert, f.ca, append(bytes.Clone(f.key), f.cert...)}
	if b, err := os.ReadFile(s.certs("host.key")); err == nil {
		contents = append(contents, b)
	}
	if b, err := os.ReadFile(s.certs("host.cert")); err == nil {
		contents = append(contents, b, b[:len(b)/2])
	}
	_ = os.MkdirAll(s.cfg.Certs.Dir, 0o755)
	if r.IntN(4) == 0 { // a bought set
		for n, b := range map[string][]byte{"host.key": f.key, "host.cert": f.cert, "cacert.pem": f.ca} {
			_ = os.Remove(s.certs(n))
			_ = os.WriteFile(s.certs(n), b, 0o600)
		}
	}
	names := []string{"host.key", "host.cert", "cacert.pem", "dh.param", "12345678.0", "trust", "extra",
		".mailcertd/host.key", ".mailcertd/junk", ".mailcertd/journal"}
	for range r.IntN(6) {
		p := s.certs(names[r.IntN(len(names))])
		_ = os.MkdirAll(filepath.Dir(p), 0o700)
		switch r.IntN(7) {
		case 0:
			_ = os.Remove(p)
		case 1:
			_ = os.Remove(p)
			_ = os.Symlink([]string{"cacert.pem", "nowhere", "host.key", "../outside.pem", "/"}[r.IntN(5)], p)
		case 2:
			if st, err := os.Lstat(p); err == nil && st.Mode().IsRegular() { // never write through a link
				_ = os.Chmod(p, fs.FileMode(r.IntN(0o1000)))
			}
		default:
			_ = os.Remove(p)
			_ = os.WriteFile(p, contents[r.IntN(len(contents))], fs.FileMode(0o600+r.IntN(0o100)))
		}
	}
	_ = os.WriteFile(filepath.Join(s.root, "etc/mail/outside.pem"), f.ca, 0o644)
	for range r.IntN(3) {
		ca := s.cfg.CA.Dir
		switch r.IntN(7) {
		case 0:
			_ = os.RemoveAll(ca)
		case 1:
			_ = os.Remove(
				filepath.Join(ca, []string{"serial", "index.txt", "index.txt.attr", "openssl.cnf", "cacert.pem",
					"cakey.pem", "newcerts/01.pem", "crlnumber"}[r.IntN(8)]))
		case 2:
			_ = os.WriteFile(filepath.Join(ca,
				[]string{"serial", "index.txt", "index.txt.attr", "cacert.pem", "cakey.pem"}[r.IntN(5)]),
				contents[r.IntN(len(contents))], 0o644)
		case 3:
			_ = os.RemoveAll(s.cfg.State.Dir)
		case 4:
			_ = os.WriteFile(filepath.Join(s.cfg.State.Dir, "state.json"), contents[r.IntN(len(contents))], 0o600)
		case 5:
			s.now = s.now.Add(time.Duration(r.IntN(4000)-400) * 24 * time.Hour)
		}
	}
	kept = map[string][]byte{}
	_ = filepath.WalkDir(s.root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if b, err := os.ReadFile(p); err == nil &&
				(bytes.Equal(b, f.key) || bytes.Equal(b, f.cert) || bytes.Equal(b, f.ca) || string(b) == "garbage") {
				kept[p] = b
			}
		}
		return nil
	})
	return kept
}

// converges applies the plan until it is empty, which may take three rounds. No foreign file may be lost, and a foreign
// pair that works stays.
func converges(t testing.TB, f foreign, seed uint64) {
	s := newSite(t, "")
	kept := wreck(t, s, f, seed)
	ctx := context.Background()
	before := s.observer.observe(ctx)
	bought := before.Certs.Cert.File.Err == nil && len(before.Certs.Cert.File.Certs) > 0 &&
		bytes.Equal(pki.EncodeCertificate(before.Certs.Cert.File.Certs[0].Raw), f.cert) &&
		pki.KeyFingerprint(before.Certs.Key.Key.Public) == pki.KeyFingerprint(before.Certs.Cert.File.Certs[0].PublicKey)
	rounds := 0
	s.run.obtained = map[string]bool{} // a run of its own begins here
	for ; ; rounds++ {
		obs := s.observer.observe(ctx)
		p := plan.Make(s.cfg, obs, plan.Wish{Once: true}, s.now)
		if p.Empty() {
			break
		}
		if rounds == 5 {
			t.Fatalf("seed %d: still not done: %s\n%v", seed, p.Actions[0].Text.Base(), s.log)
		}
		if _, err := s.applier.apply(ctx, obs, p); err != nil {
			t.Logf("seed %d: %v", seed, err) // such as a directory in the way, which is reported
			break
		}
	}
	if limit := 3 + recoveries(before); rounds > limit {
		t.Errorf("seed %d: %d rounds, want %d at most\n%v", seed, rounds, limit, s.log)
	}
	after := map[string]bool{}
	_ = filepath.WalkDir(s.root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if b, err := os.ReadFile(p); err == nil {
				after[string(b)] = true
			}
		}
		return nil
	})
	for p, b := range kept {
		staging := filepath.Base(filepath.Dir(p)) == ".mailcertd" // only mailcertd writes there
		state := filepath.Base(p) == "state.json"
		if now, err := os.ReadFile(p); err == nil && filepath.Base(p) == "index.txt" && bytes.HasPrefix(now, b) {
			continue // rows are added to a file that cannot be parsed
		}
		if !after[string(b)] && !staging && !state {
			t.Errorf("seed %d: %s is lost\n%v", seed, p, s.log)
		}
	}
	if bought && before.Pending.Journal == false {
		if b, err := os.ReadFile(s.certs("host.cert")); err != nil || !bytes.Contains(b, f.cert) {
			t.Errorf("seed %d: a foreign certificate that works was replaced: %v\n%v", seed, err, s.log)
		}
	}
}

// recoveries counts the extra rounds: removing what an interruption left, and repairing the database, take a round
// each.
func recoveries(o plan.Observed) int {
	n := 0
	if o.Pending.Journal || o.Pending.Damaged || len(o.Pending.Staged) > 0 {
		n++
	}
	if len(o.CA.Faults) > 0 {
		n++
	}
	return n
}

func TestConverges(t *testing.T) {
	f := makeForeign(t, time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))
	for seed := range uint64(400) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			converges(t, f, seed)
		})
	}
}

func FuzzConverges(f *testing.F) {
	pair := makeForeign(f, time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { converges(t, pair, seed) })
}
