package mta

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/openssltest"
	"mailcertd/internal/pki"
)

// If no certificate is seen, what happened before TLS decides ${verify}.
func TestPeerWithout(t *testing.T) {
	const hello, offer = "220 hi\r\n", "250-hi\r\n250 STARTTLS\r\n"
	for name, c := range map[string]struct {
		lines  []string
		verify Verify
		err    string
	}{
		"not offered":    {[]string{hello, "250 hi\r\n", "221 bye\r\n"}, VerifyNone, ""},
		"not now":        {[]string{hello, offer, "454 not now\r\n"}, VerifyTemp, "454 not now"},
		"never":          {[]string{hello, offer, "502 never\r\n"}, VerifyNone, "502 never"},
		"another reply":  {[]string{hello, offer, "250 what\r\n"}, VerifyProtocol, "250 what"},
		"no reply":       {[]string{hello, offer, "hello\r\n"}, VerifyProtocol, "is not an SMTP reply"},
		"injects":        {[]string{hello, offer, "220 go\r\n250 injected\r\n"}, VerifyProtocol, "it sent more"},
		"no TLS":         {[]string{hello, offer, "220 go\r\n", "hello\r\n"}, VerifySoftware, "TLS handshake"},
		"closes":         {nil, "", "greeting: EOF"},
		"refuses":        {[]string{"554 go away\r\n"}, "", "554 go away"},
		"says nothing":   {[]string{""}, "", "i/o timeout"},
		"stops half-way": {[]string{hello, ""}, "", "i/o timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			defer cancel()
			host, port, _ := net.SplitHostPort(script(t, c.lines...))
			r := Peer(ctx, PeerOptions{Host: host, Port: port, HELO: "probe.example.org"})
			if r.Verify != c.verify || (r.Err == nil) != (c.err == "") ||
				r.Err != nil && !strings.Contains(r.Err.Error(), c.err) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// Every chain that openssl verify(1) refuses is refused with the same first error, and no other chain is refused.
func TestChainAgainstOpenssl(t *testing.T) {
	openssltest.Need(t)
	now := time.Now()
	type cert struct {
		*x509.Certificate
		key crypto.Signer
	}
	serial := int64(0)
	issue := func(name string, by *cert, changes ...func(*x509.Certificate)) *cert {
		serial++
		c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
		for _, f := range changes {
			f(c)
		}
		var key crypto.Signer
		var err error
		if c.SignatureAlgorithm == x509.SHA1WithRSA || name == "RSA" {
			key, err = rsa.GenerateKey(rand.Reader, 2048)
		} else {
			key, err = pki.GenerateKey(pki.ECDSAP256, rand.Reader)
		}
		if err != nil {
			t.Fatal(err)
		}
		if by == nil {
			by = &cert{c, key}
		}
		der, err := x509.CreateCertificate(rand.Reader, c, by.Certificate, key.Public(), by.key)
		if err != nil {
			t.Fatal(err)
		}
		if c, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		return &cert{c, key}
	}
	ca := func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	}
	zero := func(c *x509.Certificate) { c.MaxPathLenZero = true }
	sha1 := func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA }
	expired := func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }
	eku := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	ku := func(u x509.KeyUsage) func(*x509.Certificate) { return func(c *x509.Certificate) { c.KeyUsage = u } }
	critical := func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
	}
	root, rsaRoot, short := issue("Root", nil, ca), issue("RSA", nil, ca), issue("Short", nil, ca, zero)
	middle, bad := issue("Middle", root, ca), issue("Bad", root)
	under, narrow := issue("Under", short, ca), issue("Narrow", root, ca, eku(x509.ExtKeyUsageClientAuth))
	forged := issue("Root", nil, ca, func(c *x509.Certificate) { c.SubjectKeyId = root.SubjectKeyId })
	for name, c := range map[string]struct {
		shown []*cert
		store []*cert
		want  string
	}{
		"good":                 {[]*cert{issue("x", root)}, []*cert{root}, ""},
		"through another":      {[]*cert{issue("x", middle), middle}, []*cert{root}, ""},
		"anchor in the middle": {[]*cert{issue("x", middle)}, []*cert{middle}, noIssuer},
		"nothing trusted":      {[]*cert{issue("x", middle), middle, root}, []*cert{short}, selfSignedTop},
		"expired and unknown":  {[]*cert{issue("x", root, expired)}, []*cert{short}, noLocalIssuer},
		"expired, wrong purpose": {[]*cert{issue("x", root, expired, eku(x509.ExtKeyUsageClientAuth))},
			[]*cert{root}, badPurpose},
		"any purpose": {[]*cert{issue("x", root, eku(x509.ExtKeyUsageAny))}, []*cert{root}, badPurpose},
		"any and server": {[]*cert{issue("x", root, eku(x509.ExtKeyUsageAny, x509.ExtKeyUsageServerAuth))},
			[]*cert{root}, ""},
		"key only signs CRLs": {[]*cert{issue("x", root, ku(x509.KeyUsageCRLSign))}, []*cert{root}, badPurpose},
		"key only enciphers":  {[]*cert{issue("x", root, ku(x509.KeyUsageKeyEncipherment))}, []*cert{root}, ""},
		"not a CA":            {[]*cert{issue("x", bad), bad}, []*cert{root}, noCA},
		"path too long":       {[]*cert{issue("x", under), under}, []*cert{short}, tooLong},
		"critical":            {[]*cert{issue("x", root, critical)}, []*cert{root}, badCritical},
		"SHA-1":               {[]*cert{issue("x", rsaRoot, sha1)}, []*cert{rsaRoot}, weakDigest},
		"forged":              {[]*cert{issue("x", forged)}, []*cert{root}, badSignature},
		"CA for clients":      {[]*cert{issue("x", narrow), narrow}, []*cert{root}, badPurpose},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := func(name string, certs []*cert) (out []*x509.Certificate) {
				var text []byte
				for _, c := range certs {
					out = append(out, c.Certificate)
					text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
				}
				if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
					t.Fatal(err)
				}
				return out
			}
			shown, store := file("shown", c.shown), file("store", c.store)
			cmd := exec.Command("openssl", "verify", "-auth_level", "1", "-purpose", "sslserver", "-no-CApath",
				"-no-CAstore", "-CAfile", filepath.Join(dir, "store"),
				"-untrusted", filepath.Join(dir, "shown"), filepath.Join(dir, "shown"))
			out, err := cmd.CombinedOutput()
			first := ""
			if m := regexp.MustCompile(`error \d+ at \d+ depth lookup: (.*)`).FindSubmatch(out); m != nil {
				first = string(m[1])
			}
			if got := verifyChain(pki.Libssl{}, shown, store, x509.ExtKeyUsageServerAuth, now); got != first ||
				got != c.want {
				t.Errorf("%q, want %q, openssl %v\n%s", got, c.want, err, out)
			}
		})
	}
}
