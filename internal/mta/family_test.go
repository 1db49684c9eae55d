package mta

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"mailcertd/internal/openssltest"
)

// A server with two pairs shows each client the certificate that it asks for, with any version of TLS. A server without
// a key type is recognised as lacking it.
func TestProbeForFamily(t *testing.T) {
	openssltest.Need(t)
	dir := t.TempDir()
	file := func(n string) string { return filepath.Join(dir, n) }
	for n, args := range map[string][]string{"rsa": {"-newkey", "rsa:2048"},
		"ecdsa": {"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"}, "ed": {"-newkey", "ed25519"}} {
		if out, err := exec.Command("openssl",
			append([]string{"req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=" + n,
				"-keyout", file(n + ".key"), "-out", file(n + ".pem")}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	one := func(n string) []string { return []string{"-cert", file(n + ".pem"), "-key", file(n + ".key")} }
	both := append(one("rsa"), "-dcert", file("ecdsa.pem"), "-dkey", file("ecdsa.key"))
	for name, c := range map[string]struct {
		args []string
		has  []string
	}{
		"both":                     {both, []string{"rsa", "ecdsa"}},
		"both, TLS 1.3 alone":      {append(both[:len(both):len(both)], "-tls1_3"), []string{"rsa", "ecdsa"}},
		"both, TLS 1.2 alone":      {append(both[:len(both):len(both)], "-tls1_2"), []string{"rsa", "ecdsa"}},
		"RSA":                      {one("rsa"), []string{"rsa"}},
		"RSA, TLS 1.3 alone":       {append(one("rsa"), "-tls1_3"), []string{"rsa"}},
		"RSA by a cipher Go lacks": {append(one("rsa"), "-tls1_2", "-cipher", "AES256-SHA256"), []string{"rsa"}},
		"ECDSA":                    {one("ecdsa"), []string{"ecdsa"}},
		"neither":                  {one("ed"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := Endpoint{Addr: behindSMTP(t, c.args...)}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			for _, family := range []string{"rsa", "ecdsa"} {
				has := false
				for _, h := range c.has {
					has = has || h == family
				}
				s := Probe(ctx, at, "probe.example.org", family)
				switch {
				case has && (s.Err != nil || s.Leaf == nil || s.Leaf.Subject.CommonName != family):
					t.Errorf("%s: %+v", family, s)
				case !has && (!s.Lacks || s.Leaf != nil || s.Unseen()):
					t.Errorf("%s: it was not recognised as lacking it: %+v", family, s)
				}
			}
		})
	}
}
