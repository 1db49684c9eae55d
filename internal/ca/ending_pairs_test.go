package ca

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mailcertd/internal/pki"
)

// A host may have several pairs: of each key type, and one for the client. A certificate of one pair does not count as
// replaced by a later one of another pair, whatever the order of their rows and of their serials.
func TestEndingOfPairs(t *testing.T) {
	o, _ := made(t)
	key, err := readKey(filepath.Join(o.Dir, keyName), nil)
	if err != nil {
		t.Fatal(err)
	}
	rsa, err := pki.GenerateKey(pki.RSA2048, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, current := newKey(t), Observe(o.Dir, Filter{}).Current.Cert
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	put := func(serial int64, name, pair string, days int) {
		t.Helper()
		c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			DNSNames:  []string{name},
			NotBefore: start.AddDate(0, 0, days-365), NotAfter: start.AddDate(0, 0, days), ExtKeyUsage: both}
		public := ec.Public()
		switch pair {
		case "rsa":
			public = rsa.Public()
		case "client":
			c.ExtKeyUsage = both[1:]
		}
		c, err := create(c, current, public, key, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(o.Dir, NewCertsDir, FormatSerial(c.SerialNumber)+".pem"),
			pki.EncodeCertificate(c.Raw), 0o644); err != nil {
			t.Fatal(err)
		}
		e := entryFor(c)
		if err := appendTo(filepath.Join(o.Dir, indexName), e.row()+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	put(0xF1, "ec-forgotten.example.org", "ec", 20)
	put(0x11, "ec-forgotten.example.org", "rsa", 20) // replaced by the next one, which has a smaller serial
	put(0x01, "ec-forgotten.example.org", "rsa", 300)
	put(0x12, "rsa-forgotten.example.org", "rsa", 21)
	put(0xF2, "rsa-forgotten.example.org", "ec", 21) // replaced by the next one
	put(0xF3, "rsa-forgotten.example.org", "ec", 301)
	put(0x14, "client-forgotten.example.org", "client", 22)
	put(0x15, "client-forgotten.example.org", "ec", 302)
	put(0xF6, "renewed.example.org", "rsa", 23) // all of them are replaced
	put(0xF7, "renewed.example.org", "ec", 23)
	put(0xF8, "renewed.example.org", "client", 23)
	put(0x16, "renewed.example.org", "rsa", 303)
	put(0x17, "renewed.example.org", "ec", 303)
	put(0x18, "renewed.example.org", "client", 303)
	put(0x19, "busy.example.org", "rsa", 24)
	for i := range int64(2 * lastRows) {
		put(0x20+i, "busy.example.org", "ec", 310)
	}

	var soon []Listed
	if err := Ending(Observe(o.Dir, Filter{}), start, start, start.AddDate(0, 0, 90),
		func(l Listed) { soon = append(soon, l) }); err != nil {
		t.Fatal(err)
	}
	want := []string{"F1", "12", "14", "19"}
	if got := serialsOf(soon); !slices.Equal(got, want) {
		t.Errorf("ending: %v, want %v", got, want)
	}
	for _, l := range soon {
		if !l.OtherPair {
			t.Errorf("%s: the later certificate of another pair is not mentioned", l.Serial)
		}
	}
	_, next, err := Overview(Observe(o.Dir, Filter{}), start, len(want))
	if got := serialsOf(next); err != nil || !slices.Equal(got, want) {
		t.Errorf("overview: %v %v, want %v", got, err, want)
	}
}
