package acme

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/issuer/acme"
	"mailcertd/internal/pki"
)

// forger is a CA that signs whatever it is told to.
type forger struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newForger(t *testing.T) *forger {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := &forger{t: t, key: key}
	f.cert = f.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "forger"}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)},
		key.Public())
	return f
}

func (f *forger) sign(c *x509.Certificate, key crypto.PublicKey) *x509.Certificate {
	f.t.Helper()
	by := f.cert
	if by == nil {
		by = c
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	der, err := x509.CreateCertificate(rand.Reader, c, by, key, f.key)
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

// leaf returns a leaf for a name and key that is valid between two times from now, in PEM.
func (f *forger) leaf(key crypto.PublicKey, name string, from, to time.Duration) string {
	f.t.Helper()
	c := &x509.Certificate{DNSNames: []string{name}, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to)}
	return string(pki.EncodeCertificate(f.sign(c, key).Raw))
}

// TestWrongCertificates: an order whose certificate is not the one that was asked for ends with a reason, and is not
// placed more than a few times.
func TestWrongCertificates(t *testing.T) {
	p := start(t, settings{})
	f := newForger(t)
	r := request(t, "mx.example.test")
	block, _ := pem.Decode(r.CSR)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	ca := string(pki.EncodeCertificate(f.cert.Raw))
	good := f.leaf(csr.PublicKey, "mx.example.test", -time.Hour, 90*day)
	for _, row := range []struct {
		name, chain string
		kind        issuer.Kind
		says        string
	}{
		{"right", good + ca, "", ""},
		{"for another key", f.leaf(f.key.Public(), "mx.example.test", -time.Hour, 90*day) + ca, issuer.KindAway,
			"another key"},
		{"for another name", f.leaf(csr.PublicKey, "mx.example.org", -time.Hour, 90*day) + ca, issuer.KindAway,
			"not for mx.example.test"},
		{"the leaf alone", good, issuer.KindAway, "1 certificates"},
		{"empty", "", issuer.KindAway, "0 certificates"},
		{"the leaf twice", good + good, issuer.KindAway, "chain is broken"},
		{"the issuer first", ca + good, issuer.KindAway, "chain is broken"},
		{"a key behind it", good + ca + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
			issuer.KindAway, "its chain is not one"},
		{"too many certificates", good + strings.Repeat(ca, 12), issuer.KindAway, "at most"},
		{"more than 10 MB", good + ca + strings.Repeat("\n", 11<<20), issuer.KindAway, "more than"},
		{"expired", f.leaf(csr.PublicKey, "mx.example.test", -90*day, -day) + ca, issuer.KindClock, "old already"},
		{"ends before it begins", f.leaf(csr.PublicKey, "mx.example.test", 90*day, -day) + ca, issuer.KindAway,
			"its notAfter is not later than its notBefore"},
	} {
		t.Run(row.name, func(t *testing.T) {
			orders := p.Orders()
			p.front.Hook(func(w http.ResponseWriter, r *http.Request) bool {
				return strings.HasPrefix(r.URL.Path, "/certZ/") &&
					says(w, 200, "application/pem-certificate-chain", row.chain)
			}, nil)
			defer p.front.Hook(nil, nil)
			o := p.options(newMemory())
			if row.kind == "" {
				obtain(t, o, r)
				return
			}
			for range acme.MaxOrders + 2 {
				_, err := client(t, o).Ask(context.Background(), r)
				no, is := err.(issuer.Refusal)
				if !is || no.Kind != row.kind && no.Kind != issuer.KindRateLimit {
					t.Fatalf("%v (%T)", err, err)
				}
				if no.Kind == row.kind && !strings.Contains(no.Reason, row.says) {
					t.Errorf("%q does not say %q", no.Reason, row.says)
				}
			}
			if n := p.Orders() - orders; n > acme.MaxOrders {
				t.Errorf("%d orders", n)
			}
		})
	}
}

// TestEndlessOrders: an order that never goes on ends with the time of the question, and is continued the next time.
func TestEndlessOrders(t *testing.T) {
	p := start(t, settings{})
	for name, row := range map[string]struct {
		status string
		more   string
		kind   issuer.Kind
		says   string
	}{
		"always processing":         {"processing", "", issuer.KindAway, "did not finish"},
		"always ready":              {"ready", "", issuer.KindAway, "already finalized"},
		"valid without certificate": {"valid", "", issuer.KindAway, "must be an https URL"},
		"certificate at http":       {"valid", `,"certificate":"http://127.0.0.1:1/c"`, issuer.KindAway, "must be an https URL"},
		"certificate at file":       {"valid", `,"certificate":"file:///etc/passwd"`, issuer.KindAway, "must be an https URL"},
		"no status":                 {"", "", issuer.KindAway, "status"},
	} {
		t.Run(name, func(t *testing.T) {
			p.front.Hook(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/finalize-order/") && !strings.HasPrefix(r.URL.Path, "/my-order/") {
					return false
				}
				w.Header().Set("Retry-After", "0")
				return says(w, 200, "application/json", fmt.Sprintf(`{"status":%q,"identifiers":[{"type":"dns",`+
					`"value":"mx.example.test"}],"finalize":"https://%s/finalize-order/x"%s}`, row.status, r.Host,
					row.more))
			}, nil)
			defer p.front.Hook(nil, nil)
			o := p.options(newMemory())
			o.Patience = 3 * time.Second
			began, orders := time.Now(), p.Orders()
			r := request(t, "mx.example.test")
			for range 2 {
				refused(t, o, r, row.kind, false, row.says)
			}
			if d := time.Since(began); d > 15*time.Second {
				t.Errorf("it took %s", d)
			}
			if n := p.Orders() - orders; n != 1 {
				t.Errorf("%d orders", n)
			}
		})
	}
}

// TestReplacedTwice: a CA that says the certificate is replaced already, or that it does not know it, gets the order
// without that name at once. It costs no second order.
func TestReplacedTwice(t *testing.T) {
	p := start(t, settings{})
	o := p.options(newMemory())
	r := request(t, "mx.example.test")
	r.Replaces = obtain(t, o, r).Leaf
	if err := client(t, o).Taken(r); err != nil {
		t.Fatal(err)
	}
	times := 0
	p.front.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/order-plz" || times > 0 {
			return false
		}
		times++
		return says(w, 409, problem, `{"type":"urn:ietf:params:acme:error:alreadyReplaced","detail":"replaced already"}`)
	}, nil)
	if next := obtain(t, o, r); next.Leaf.Equal(r.Replaces) || p.Orders() != 2 || times != 1 {
		t.Errorf("%d orders, %d refusals", p.Orders(), times)
	}
	// A CA that says so whatever is ordered is no reason to go on asking.
	if err := client(t, o).Taken(r); err != nil {
		t.Fatal(err)
	}
	p.front.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/order-plz" {
			return false
		}
		times++
		return says(w, 409, problem, `{"type":"urn:ietf:params:acme:error:alreadyReplaced","detail":"replaced already"}`)
	}, nil)
	times = 0
	refused(t, o, r, issuer.KindOrder, false, "replaced already")
	if times != 2 {
		t.Errorf("%d requests", times)
	}
}

// TestAccountMoves: a CA that gives the account another URL later does not get a second account.
func TestAccountMoves(t *testing.T) {
	p := start(t, settings{})
	o := p.options(newMemory())
	r := request(t, "mx.example.test")
	obtain(t, o, r)
	if err := client(t, o).Taken(r); err != nil {
		t.Fatal(err)
	}
	store := o.Store.(*memory)
	for name, data := range store.files {
		if strings.HasSuffix(name, ".account") {
			store.files[name] = []byte(strings.Replace(string(data), "/my-account/", "/my-account/0", 1))
		}
	}
	obtain(t, o, r)
	if p.Accounts() != 1 || p.Orders() != 2 {
		t.Errorf("%d accounts, %d orders", p.Accounts(), p.Orders())
	}
}

// TestWindowsAtTheEndsOfTime: a window whose times cannot be written down is an error, and no answer makes the CA be
// asked more often than once a minute.
func TestWindowsAtTheEndsOfTime(t *testing.T) {
	p := start(t, settings{})
	o := p.options(newMemory())
	leaf := obtain(t, o, request(t, "mx.example.test")).Leaf
	for answer, good := range map[string]bool{
		`"start":"9999-12-31T23:59:58Z","end":"9999-12-31T23:59:59Z"`:      true,
		`"start":"2026-01-01T00:00:00Z","end":"9999-12-31T23:59:59-23:59"`: false,
		`"start":"0000-01-01T00:00:00+23:59","end":"2026-01-01T00:00:00Z"`: false,
		`"start":"0001-01-01T00:00:00Z","end":"2026-01-01T00:00:00Z"`:      false,
		`"start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:00:00Z"`:      false,
		`"start":NaN,"end":NaN`:                                                 false,
		`"start":1e400,"end":1e500`:                                             false,
		`"start":"2026-02-30T00:00:00Z","end":"2026-03-01T00:00:00Z"`:           false,
		`"start":"292277026596-01-01T00:00:00Z","end":"2026-01-01T00:00:00Z"`:   false,
		`"start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:00:01Z","start":5`: false,
	} {
		for _, again := range []string{"0", "-1", "315360000", "Thu, 01 Jan 1970 00:00:00 GMT",
			"Fri, 31 Dec 9999 23:59:59 GMT", "NaN", ""} {
			p.front.Hook(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "renewalInfo") {
					return false
				}
				w.Header().Set("Retry-After", again)
				return says(w, 200, "application/json", `{"suggestedWindow":{`+answer+`}}`)
			}, nil)
			now := time.Now()
			info, ok, err := client(t, o).RenewalInfo(context.Background(), leaf)
			if ok != good || (err == nil) != good {
				t.Errorf("%s: %v, %v, %+v", answer, ok, err, info)
			}
			next := info.RetryAfter.Sub(now)
			if ok && (next < time.Minute-time.Second || next > 24*time.Hour+time.Minute) {
				t.Errorf("%s, Retry-After %q: asked again after %s", answer, again, next)
			}
		}
	}
	p.front.Hook(nil, nil)
}
