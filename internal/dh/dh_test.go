package dh

import (
	"bytes"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"mailcertd/internal/openssltest"
)

// Each group is a safe prime, and openssl knows it as the group of that name.
func TestGroups(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			p, err := Group(name)
			if err != nil {
				t.Fatal(err)
			}
			rounds := 1
			if p.P.BitLen() <= 4096 && !p.P.ProbablyPrime(rounds) {
				t.Error("p is not prime")
			}
			if q := new(big.Int).Rsh(p.P, 1); p.P.BitLen() <= 4096 && !q.ProbablyPrime(rounds) {
				t.Error("(p-1)/2 is not prime")
			}
			back, err := Read(p.PEM())
			if err != nil || back.Name != name || back.P.Cmp(p.P) != 0 {
				t.Errorf("read back: %v, %+v", err, back)
			}
			openssltest.Need(t)
			file := filepath.Join(t.TempDir(), "dh.param")
			if err := os.WriteFile(file, p.PEM(), 0o600); err != nil {
				t.Fatal(err)
			}
			if p.P.BitLen() <= 4096 { // -check is slow for larger groups
				if out, err := exec.Command("openssl", "dhparam", "-check", "-noout", "-in",
					file).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("appear to be ok")) {
					t.Errorf("openssl dhparam -check: %v\n%s", err, out)
				}
			}
			out, err := exec.Command("openssl", "pkeyparam", "-text", "-noout", "-in", file).CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("GROUP: "+name)) {
				t.Errorf("openssl does not know it as %s: %v\n%s", name, err, out)
			}
		})
	}
}

func TestRead(t *testing.T) {
	good, _ := Group("ffdhe2048")
	even := Params{P: new(big.Int).Lsh(big.NewInt(1), 1023), G: big.NewInt(2)}
	small := Params{P: big.NewInt(23), G: big.NewInt(5)}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"empty":     {nil, ErrEmpty},
		"blank":     {[]byte(" \n"), ErrEmpty},
		"garbage":   {[]byte("hello"), ErrNoBlock},
		"truncated": {good.PEM()[:200], ErrNoBlock},
		"even":      {even.PEM(), ErrBroken},
		"small":     {small.PEM(), ErrBroken},
		"not der":   {[]byte("-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n"), ErrBroken},
	} {
		if _, err := Read(c.data); err == nil || !bytes.Contains([]byte(err.Error()), []byte(c.want.Error())) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// Parameters that can be read are written and read again as the same numbers.
func FuzzRead(f *testing.F) {
	for _, n := range Names()[:2] {
		p, _ := Group(n)
		f.Add(p.PEM())
	}
	f.Add([]byte("-----BEGIN X9.42 DH PARAMETERS-----\nMAkCAQUCAQICAQI=\n-----END X9.42 DH PARAMETERS-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Read(data)
		if err != nil {
			return
		}
		q, err := Read(p.PEM())
		if err != nil || q.P.Cmp(p.P) != 0 || q.G.Cmp(p.G) != 0 || q.Name != p.Name {
			t.Fatalf("%v: %+v became %+v", err, p, q)
		}
	})
}
