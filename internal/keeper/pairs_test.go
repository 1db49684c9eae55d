package keeper

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// threePairs configures all three pairs.
const threePairs = "key: {type: rsa-2048, second: ecdsa-p256}\nclient: {issuer: local}\n"

// rsaKey is one RSA key for all tests, because making one is slow.
var rsaKey = sync.OnceValues(func() ([]byte, error) {
	k, err := pki.GenerateKey(pki.RSA2048, rand.Reader)
	if err != nil {
		return nil, err
	}
	return pki.MarshalKey(k)
})

// newPairs makes a site with that configuration and runs its first ensure.
func newPairs(t testing.TB, yaml string) *site {
	t.Helper()
	s := newSite(t, yaml)
	key, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.certs("host.key"), key)
	_ = os.Chmod(s.certs("host.key"), 0o600)
	s.settle(plan.Wish{})
	return s
}

// leafIn returns the leaf of a pair; nil means that there is none.
func (s *site) leafIn(p certdir.Pair) *x509.Certificate {
	f := pki.ReadLeafFile(s.content(p.CertFile))
	if f.Err != nil || len(f.Certs) == 0 {
		return nil
	}
	return f.Certs[0]
}

// whole says what is wrong with the pairs of threePairs; "" means nothing. Each leaf must belong to its key, be for
// this host and for servers and clients, and be issued by a CA in cacert.pem.
func (s *site) whole() string {
	s.t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.content("cacert.pem"))
	for _, p := range certdir.Pairs() {
		key, leaf := pki.ReadKeyFile(s.content(p.KeyFile)), s.leafIn(p)
		if key.Err != nil || leaf == nil {
			return fmt.Sprintf("%s: %v, %v", p.Name, key.Err, leaf)
		}
		if family := pki.TypeOf(leaf.PublicKey).Family(); (family == "rsa") == (p == certdir.HostECDSA) &&
			p != certdir.Client {
			return fmt.Sprintf("%s has an %s key", p.Name, family)
		}
		if !pki.SamePublicKey(key.Public, leaf.PublicKey) {
			return p.Name + ": key and certificate do not match"
		}
		for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: s.now,
				KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
				return fmt.Sprintf("%s: %v", p.Name, err)
			}
		}
		if n := durable.Look(s.certs(p.KeyFile)); n.Mode.Perm() != 0o600 {
			return fmt.Sprintf("%s has the mode %v", p.KeyFile, n.Mode)
		}
	}
	return ""
}

// settled says what is wrong after another ensure, which must do nothing and find the pairs complete; "" means nothing.
func (s *site) settled() string {
	s.t.Helper()
	before := snapshot(s.t, s.root)
	r := s.settle(plan.Wish{})
	switch {
	case r.Changed || snapshot(s.t, s.root) != before:
		return fmt.Sprintf("another ensure changed something: %v", r.Done)
	case s.complete(r) != "":
		return s.complete(r)
	}
	return s.whole()
}

// contents returns the files of the pairs, by name.
func (s *site) contents() map[string]string {
	out := map[string]string{}
	for _, f := range certdir.Files() {
		if f.Pair != (certdir.Pair{}) {
			out[f.Name] = string(s.content(f.Name))
		}
	}
	return out
}

func installs(r Result) (n int) {
	for _, act := range r.Done {
		if act.Kind == plan.Install && !act.Extra {
			n++
		}
	}
	return n
}

// allPairs returns the wish w for every pair that exists.
func (s *site) allPairs(w plan.Wish) plan.Wish {
	w.Renew = true
	return s.Check(context.Background(), plan.Wish{}).Plan.Facts.Replace(w)
}

// The first ensure makes all pairs and installs them together; the next one finds nothing to do.
func TestPairsFirst(t *testing.T) {
	t.Parallel()
	s := newSite(t, threePairs)
	r := s.settle(plan.Wish{})
	if n := installs(r); n != 1 {
		t.Errorf("%d transactions", n)
	}
	if why := s.settled(); why != "" {
		t.Error(why)
	}
	if _, err := os.Stat(s.certs(certdir.StagingDir)); err == nil {
		t.Error("something is left in the staging area")
	}
}

// Pairs that are configured later are added, and the pairs that exist stay.
func TestPairsAdded(t *testing.T) {
	t.Parallel()
	s := newPairs(t, "key: {type: rsa-2048}")
	host := s.contents()
	s.cfg.Key.Second, s.cfg.Client.Kind, s.cfg.Client.Issuer.Kind = pki.ECDSAP256, "own", "local"
	if r := s.settle(plan.Wish{}); installs(r) != 1 {
		t.Errorf("%d transactions", installs(r))
	}
	if why := s.settled(); why != "" {
		t.Error(why)
	}
	if is := s.contents(); is["host.key"] != host["host.key"] || is["host.cert"] != host["host.cert"] {
		t.Error("the host's own pair was changed")
	}
}

// Every pair is renewed when it is due, and keeps its key. Two pairs that are due together are changed together.
func TestPairsRenew(t *testing.T) {
	t.Parallel()
	s := newPairs(t, threePairs)
	was := s.contents()
	s.later(250 * 24 * time.Hour)
	r := s.settle(plan.Wish{})
	if n := installs(r); n != 1 {
		t.Errorf("%d transactions", n)
	}
	is := s.contents()
	for _, p := range certdir.Pairs() {
		if is[p.KeyFile] != was[p.KeyFile] || is[p.CertFile] == was[p.CertFile] {
			t.Errorf("%s: same key: %t, new certificate: %t", p.Name, is[p.KeyFile] == was[p.KeyFile],
				is[p.CertFile] != was[p.CertFile])
		}
	}
	if why := s.settled(); why != "" {
		t.Error(why)
	}
}

// `renew` and `renew --rekey` renew every pair, once.
func TestPairsAsked(t *testing.T) {
	t.Parallel()
	for _, rekey := range []bool{false, true} {
		s := newPairs(t, threePairs)
		was := s.contents()
		s.later(24 * time.Hour)
		s.settle(s.allPairs(plan.Wish{Rekey: rekey}))
		is := s.contents()
		for _, p := range certdir.Pairs() {
			if (is[p.KeyFile] != was[p.KeyFile]) != rekey || is[p.CertFile] == was[p.CertFile] {
				t.Errorf("rekey %t, %s: new key: %t, new certificate: %t", rekey, p.Name,
					is[p.KeyFile] != was[p.KeyFile],
					is[p.CertFile] != was[p.CertFile])
			}
		}
		if why := s.settled(); why != "" {
			t.Error(why)
		}
	}
}

// check reports every damage of every file of a pair, and ensure repairs it. The other pairs stay as they are.
func TestPairsRepair(t *testing.T) {
	for _, p := range []certdir.Pair{certdir.HostECDSA, certdir.Client} {
		for _, file := range []string{p.KeyFile, p.CertFile} {
			for how := range damages {
				t.Run(file+" "+how, func(t *testing.T) {
					t.Parallel()
					s := newPairs(t, threePairs)
					was := s.contents()
					if err := damages[how](s.certs(file), s.content(file)); err != nil {
						t.Fatal(err)
					}
					if !slices.ContainsFunc(s.Check(t.Context(), plan.Wish{Once: true}).Plan.Problems,
						func(pr plan.Problem) bool { return pr.Path == s.certs(file) }) {
						t.Error("check does not name it")
					}
					s.settle(plan.Wish{})
					if why := s.settled(); why != "" {
						t.Error(why)
					}
					for name, text := range s.contents() {
						if of, _ := certdir.FileOf(name); of.Pair != p && text != was[name] {
							t.Errorf("%s was changed", name)
						}
					}
					if file == p.CertFile && string(s.content(p.KeyFile)) != was[p.KeyFile] {
						t.Error("the key was good and has been replaced")
					}
				})
			}
		}
	}
}

// Two pairs whose keys and certificates do not belong together are repaired, and no file of a person is lost.
func TestPairsMismatch(t *testing.T) {
	t.Parallel()
	for _, p := range []certdir.Pair{certdir.HostECDSA, certdir.Client} {
		s := newPairs(t, threePairs)
		f := makeForeign(t, s.now)
		s.write(s.certs(p.KeyFile), f.key)
		_ = os.Chmod(s.certs(p.KeyFile), 0o600)
		if r := s.Check(t.Context(), plan.Wish{Once: true}); !strings.Contains(reasons(r), string(plan.Mismatch)) {
			t.Errorf("%s: %s", p.Name, reasons(r))
		}
		s.settle(plan.Wish{})
		if why := s.settled(); why != "" {
			t.Error(why)
		}
		if s.whole() == "" && !bytes.Equal(s.content(p.KeyFile), f.key) && !s.savedForGood(f.key) {
			t.Errorf("%s: somebody's key is lost", p.Name)
		}
	}
}
