package certdir

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// sized makes self-signed certificates whose files have one and the same size.
func sized(t testing.TB, cn string) []byte {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn}, NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(3e9, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	return pki.EncodeCertificate(der)
}

// A file that changes twice within one step of the file system's clock, its
// size unchanged, looks the same to stat(2) and is read again all the same.
func TestCacheIsNeverStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.pem")
	put := func(cn string) durable.Node {
		if err := os.WriteFile(path, sized(t, cn), 0o644); err != nil {
			t.Fatal(err)
		}
		return durable.Stat(path)
	}
	for _, x := range []struct {
		after time.Duration // how long the file has rested when it is first read
		stale bool          // what nothing can tell
	}{{0, false}, {time.Second, false}, {restBeforeTrust, false}, {time.Minute, true}, {-time.Hour, false}} {
		var c Cache
		was := put("a")
		c.Begin(was.Changed.Add(x.after))
		c.Bundle(path)
		is := put("b")
		c.cur[identOf(is)] = c.cur[identOf(was)] // as a coarse clock would have it
		c.Begin(is.Changed.Add(time.Hour))
		if got := c.Bundle(path).Certs[0].Subject.CommonName; (got == "a") != x.stale {
			t.Errorf("read %s after its change: it is taken for %q", x.after, got)
		}
	}
}

// A file at rest is read once, as long as it is looked at again and again.
func TestCacheRemembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.pem")
	if err := os.WriteFile(path, sized(t, "a"), 0o644); err != nil {
		t.Fatal(err)
	}
	var c Cache
	later := time.Now().Add(time.Hour)
	look := func() *x509.Certificate {
		c.Begin(later)
		return c.Bundle(path).Certs[0]
	}
	first := look()
	if again := look(); again != first || look() != again {
		t.Error("it was parsed again")
	}
	c.Begin(later) // a look that does not need it
	if look() == first {
		t.Error("what nobody needs is not forgotten")
	}
	if b := c.Bundle(path + ".gone"); !errors.Is(b.Err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", b.Err)
	}
}
