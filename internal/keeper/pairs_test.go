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

// threePairs asks for all of them.
const threePairs = "key: {type: rsa-2048, second: ecdsa-p256}\nclient: {issuer: local}\n"

// rsaKey is one RSA key for all tests: they are made slowly.
var rsaKey = sync.OnceValues(func() ([]byte, error) {
	k, err := pki.GenerateKey(pki.RSA2048, rand.Reader)
	if err != nil {
		return nil, err
	}
	return pki.MarshalKey(k)
})

// newPairs is a site with that configuration, after its first ensure.
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

// leafIn is the leaf of a pair, nil for none.
func (s *site) leafIn(p certdir.Pair) *x509.Certificate {
	f := pki.ReadLeafFile(s.content(p.CertFile))
	if f.Err != nil || len(f.Certs) == 0 {
		return nil
	}
	return f.Certs[0]
}

// whole says what is wrong with the pairs of threePairs, "" if nothing is: each leaf is for the key beside it, for this
// host, for servers and clients, and of a CA in cacert.pem.
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

// settled says that an ensure has nothing left to do, changes nothing, and finds the pairs whole.
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

// contents are the files of the pairs, by name.
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

// allPairs is the wish for other certificates of every pair that there is.
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

// Pairs that are asked for later come to what is there, which stays.
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

// All pairs are renewed in their time, each over its key; two that are due together change together.
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
			t.Errorf("%s: the key stays %t, the certificate is another one %t", p.Name, is[p.KeyFile] == was[p.KeyFile],
				is[p.CertFile] != was[p.CertFile])
		}
	}
	if why := s.settled(); why != "" {
		t.Error(why)
	}
}

// `renew` and `renew --rekey` go for every pair, and are fulfilled once.
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
				t.Errorf("rekey %t, %s: another key %t, another certificate %t", rekey, p.Name,
					is[p.KeyFile] != was[p.KeyFile],
					is[p.CertFile] != was[p.CertFile])
			}
		}
		if why := s.settled(); why != "" {
			t.Error(why)
		}
	}
}

// Every damage of every file of a pair is named by check and repaired by ensure; the other pairs stay as they are.
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
						t.Error("the key was good, and is another one")
					}
				})
			}
		}
	}
}

// The two halves of two pairs do not match, and are repaired without a file of a person's being lost.
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
		if s.whole() == "" && !bytes.Equal(s.content(p.KeyFile), f.key) && !s.archived(f.key) {
			t.Errorf("%s: somebody's key is lost", p.Name)
		}
	}
}
