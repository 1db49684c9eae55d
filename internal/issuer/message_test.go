package issuer

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"mailcertd/internal/pki"
)

var start = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// party has a key and a self-signed certificate.
type party struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func certificate(t testing.TB, cn string, isCA bool, key crypto.Signer, by *party) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: cn}, NotBefore: start.Add(-time.Hour),
		NotAfter: start.AddDate(10, 0, 0),
		IsCA:     isCA, MaxPathLenZero: isCA, BasicConstraintsValid: true, SubjectKeyId: pki.KeyID(key.Public())}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	if isCA {
		c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	} else {
		c.DNSNames = []string{cn}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c
}

func newParty(t testing.TB, cn string) *party {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &party{key, certificate(t, cn, true, key, nil)}
}

func list(t testing.TB, by *party) []byte {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader,
		&x509.RevocationList{Number: big.NewInt(1), ThisUpdate: start, NextUpdate: start.AddDate(0, 1, 0)},
		by.cert, by.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// replies returns one reply of each kind, with every optional part.
func replies(t testing.TB) []Reply {
	a, b := newParty(t, "Home CA"), newParty(t, "Home CA")
	leaf := certificate(t, "mail.example.org", false, newParty(t, "x").key, b)
	full := Reply{Status: Signed, Leaf: leaf, CAs: []*x509.Certificate{b.cert, a.cert},
		Cross: []*x509.Certificate{certificate(t, "Home CA", true, b.key, a)}, CRLs: [][]byte{list(t, b), list(t, a)}}
	again, trust := full, full
	again.Status, trust.Status, trust.Leaf = Again, Trust, nil
	return []Reply{full, again, trust, {Status: Trust, CAs: full.CAs[:1]},
		{Status: Refused, Reason: "名前 is not enrolled: want \"a\""},
		{Status: Failed, Reason: "the CA has expired", CAs: full.CAs}}
}

func requests(t testing.TB) []Request {
	csr, err := pki.CreateRequest(newParty(t, "x").key, "mail.example.org", []string{"192.0.2.1"}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	digest := strings.Repeat("ab", 32)
	return []Request{{}, {CSR: csr}, {Renew: big.NewInt(0x2a), CSR: csr}, {Trusts: []string{digest}},
		{Renew: big.NewInt(1), Holds: []*big.Int{big.NewInt(2), big.NewInt(3)}, CSR: csr},
		{Renew: new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 160), big.NewInt(1)),
			Trusts: slices.Repeat([]string{digest}, maxTrusts), CSR: csr}}
}

func sameRequest(a, b Request) bool {
	return (a.Renew == nil) == (b.Renew == nil) && (a.Renew == nil || a.Renew.Cmp(b.Renew) == 0) &&
		slices.Equal(a.Trusts, b.Trusts) &&
		slices.EqualFunc(a.Holds, b.Holds, func(x, y *big.Int) bool { return x.Cmp(y) == 0 }) &&
		bytes.Equal(a.CSR, b.CSR)
}

func sameReply(a, b Reply) bool {
	return a.Status == b.Status && a.Reason == b.Reason && (a.Leaf == nil) == (b.Leaf == nil) &&
		(a.Leaf == nil || a.Leaf.Equal(b.Leaf)) &&
		slices.EqualFunc(a.CAs, b.CAs, (*x509.Certificate).Equal) &&
		slices.EqualFunc(a.Cross, b.Cross, (*x509.Certificate).Equal) && slices.EqualFunc(a.CRLs, b.CRLs, bytes.Equal)
}

func TestMessagesThereAndBack(t *testing.T) {
	for i, r := range requests(t) {
		for _, text := range [][]byte{r.Encode(),
			bytes.ReplaceAll(r.Encode(), []byte("\nrenew: "), []byte("\r\nunknown: x\r\nrenew:"))} {
			if got, err := ParseRequest(text); err != nil || !sameRequest(got, r) {
				t.Errorf("request %d: %v\n%s", i, err, text)
			}
		}
		if r.CSR != nil { // as `mailcertd request` prints it
			if got, err := ParseRequest(r.CSR); err != nil || !sameRequest(got, Request{CSR: r.CSR}) {
				t.Errorf("bare request %d: %v", i, err)
			}
		}
	}
	for i, r := range replies(t) {
		if got, err := ParseReply(r.Encode()); err != nil || !sameReply(got, r) {
			t.Errorf("reply %d: %v\n%s", i, err, r.Encode())
		}
	}
}

// A reason is sent as one printable line, whatever its length and content, and does not change on the way.
func TestReason(t *testing.T) {
	for _, reason := range []string{"two\nlines\r\nstatus: signed", "\x1b[31mred\x07", "\u009b31m", "a\u202eb",
		"bad \xff utf-8", "  blanks  ", "\x01", strings.Repeat("x", 5000),
		strings.Repeat("長", 2000), "x" + strings.Repeat("長", 2000), "xx" + strings.Repeat("長", 2000),
		strings.Repeat("x", MaxReason), strings.Repeat("x", MaxReason-1) + " y"} {
		r, err := ParseReply(Reply{Status: Refused, Reason: reason}.Encode())
		if err != nil || r.Status != Refused || len(r.Reason) > MaxReason || !utf8.ValidString(r.Reason) ||
			strings.ContainsAny(r.Reason, "\n\r\x1b\x07\u009b\u202e") {
			t.Errorf("%.20q became %q: %v", reason, r.Reason, err)
		}
		if again, err := ParseReply(r.Encode()); err != nil || again.Reason != r.Reason {
			t.Errorf("%.20q: %q became %q", reason, r.Reason, again.Reason)
		}
	}
}

func TestMessagesRefused(t *testing.T) {
	good := replies(t)
	leaf, text := good[0].Leaf, string(good[0].Encode())
	key := "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
	for what, r := range map[string]string{
		"nothing": "", "another mark": "mailcertd-reply 2\n\n", "no status": replyMark + "\n\n",
		"unknown status":       replyMark + "\nstatus: fine\n\n",
		"no colon":             replyMark + "\nstatus signed\n\n",
		"headers without end":  replyMark + "\nstatus: refused",
		"too many headers":     replyMark + "\nstatus: refused\n" + strings.Repeat("x: y\n", 2*maxTrusts) + "\n",
		"cut short":            text[:len(text)-40],
		"cut in the middle":    strings.Replace(text, "-----END CERTIFICATE-----\n", "", 1),
		"signed, no leaf":      strings.Replace(string(good[2].Encode()), "status: trust", "status: signed", 1),
		"trust, and a leaf":    strings.Replace(text, "status: signed", "status: trust", 1),
		"refused, and a leaf":  strings.Replace(text, "status: signed", "status: refused", 1),
		"two leaves":           text + string(pki.EncodeCertificate(leaf.Raw)),
		"no CA":                string(Reply{Status: Signed, Leaf: leaf}.Encode()),
		"a key":                text + key,
		"text behind":          text + "hello\n",
		"a broken CRL":         text + "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
		"a broken certificate": text + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"large":                text + strings.Repeat("\n", MaxReply),
	} {
		if got, err := ParseReply([]byte(r)); !errors.Is(err, ErrMessage) {
			t.Errorf("reply, %s: %v, %+v", what, err, got)
		}
	}
	for what, r := range map[string]string{
		"nothing": "", "no request": "hello\n",
		"another mark": "mailcertd-request 2\n\n-----BEGIN CERTIFICATE REQUEST-----\n",
		"no serial":    requestMark + "\nrenew: xyz\n\n", "a negative serial": requestMark + "\nrenew: -1\n\n",
		"a long serial":  requestMark + "\nrenew: " + strings.Repeat("F", 41) + "\n\n",
		"a short digest": requestMark + "\ntrusts: abcd\n\n",
		"no digest":      requestMark + "\ntrusts: " + strings.Repeat("x", 64) + "\n\n",
		"too many digests": string(
			Request{Trusts: slices.Repeat([]string{strings.Repeat("ab", 32)}, maxTrusts+1)}.Encode()),
		"cut short": requestMark + "\nrenew: 1",
		"large":     requestMark + "\n\n" + strings.Repeat("x", MaxRequest),
	} {
		if got, err := ParseRequest([]byte(r)); !errors.Is(err, ErrMessage) {
			t.Errorf("request, %s: %v, %+v", what, err, got)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, r := range requests(f) {
		f.Add(r.Encode())
		f.Add(r.CSR)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRequest(data)
		if err != nil {
			if !errors.Is(err, ErrMessage) {
				t.Fatal(err)
			}
			return
		}
		if len(data) > MaxRequest || len(r.CSR) > len(data) || len(r.Trusts) > maxTrusts ||
			r.Renew != nil && (r.Renew.Sign() < 0 || r.Renew.BitLen() > 160) {
			t.Fatalf("out of bounds: %d bytes, %d digests, %v", len(r.CSR), len(r.Trusts), r.Renew)
		}
		text := r.Encode()
		if len(text) > MaxRequest { // the headers are added to a plain request of nearly that size
			return
		}
		if again, err := ParseRequest(text); err != nil || !sameRequest(again, r) ||
			!bytes.Equal(again.Encode(), text) {
			t.Fatalf("%v: %+v became %+v", err, r, again)
		}
	})
}

func FuzzParseReply(f *testing.F) {
	for _, r := range replies(f) {
		f.Add(r.Encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseReply(data)
		if err != nil {
			if !errors.Is(err, ErrMessage) {
				t.Fatal(err)
			}
			return
		}
		if len(data) > MaxReply || len(r.Reason) > MaxReason || strings.ContainsAny(r.Reason, "\n\r\x1b") {
			t.Fatalf("out of bounds: %d bytes, reason %q", len(data), r.Reason)
		}
		text := r.Encode()
		if len(text) > MaxReply { // PEM with longer lines than ours grows
			return
		}
		if again, err := ParseReply(text); err != nil || !sameReply(again, r) || !bytes.Equal(again.Encode(), text) {
			t.Fatalf("%v: %+v became %+v", err, r, again)
		}
	})
}

func TestAccept(t *testing.T) {
	const cn = "Home CA"
	one, two, three, four := newParty(t, cn), newParty(t, cn), newParty(t, cn), newParty(t, cn)
	stranger, namesake := newParty(t, "Another CA"), newParty(t, cn)
	signs := func(by, of *party, name string) *x509.Certificate { return certificate(t, name, true, of.key, by) }
	x2, x3, x4 := signs(one, two, cn), signs(two, three, cn), signs(three, four, cn)
	again, posed := certificate(t, cn, true, one.key, nil), signs(stranger, one, cn)
	all := func(ps ...*party) (out []*x509.Certificate) {
		for _, p := range ps {
			out = append(out, p.cert)
		}
		return out
	}
	certs := func(cs ...*x509.Certificate) []*x509.Certificate { return cs }
	for _, c := range []struct {
		what              string
		trusted           []*x509.Certificate
		offer, cross      []*x509.Certificate
		accepted, refused []*x509.Certificate
	}{
		{"nothing trusted yet", nil, all(two, one), certs(x2), all(two, one), nil},
		{"the same", all(one), all(one), nil, all(one), nil},
		{"the next one, signed by the one before", all(one), all(one, two), certs(x2), all(one, two), nil},
		{"the next one, without its signature", all(one), all(one, two), nil, all(one), all(two)},
		{"two ahead", all(one), all(three, two, one), certs(x3, x2), all(three, two, one), nil},
		{"three ahead", all(one), all(four, three, two, one), certs(x4, x3, x2), all(four, three, two, one), nil},
		{"two ahead, the one between is not offered any more", all(one), all(three, one), certs(x3, x2),
			all(three, one), nil},
		{"two ahead, the first signature is missing", all(one), all(three, two, one), certs(x3), all(one),
			all(three, two)},
		{"two ahead, the second signature is missing", all(one), all(three, two, one), certs(x2),
			all(two, one), all(three)},
		{"backwards", all(two), all(two, one), certs(x2), all(two), all(one)},
		{"a stranger", all(one), all(one, stranger), certs(x2), all(one), all(stranger)},
		{"a stranger alone", all(one), all(stranger), nil, nil, all(stranger)},
		{"of the same name", all(one), all(one, namesake), certs(x2), all(one), all(namesake)},
		{"signed by who is not trusted", all(one), all(one, two), certs(signs(stranger, two, cn)), all(one), all(two)},
		{"signed by itself", all(one), all(one, two), certs(two.cert), all(one), all(two)},
		{"right name, another key", all(one), all(one, namesake), certs(x2, signs(stranger, namesake, cn)), all(one),
			all(namesake)},
		{"right key, another name", all(one), all(one, two), certs(signs(one, two, "Home CA 2")), all(one), all(two)},
		{"signed, and no CA", all(one), all(one, two, three), certs(certificate(t, cn, false, two.key, one), x3),
			all(one), all(two, three)},
		{"an older one dropped", all(one, two), all(two), certs(x2), all(two), nil},
		{"all dropped but what it signed", all(one), all(two), certs(x2), all(two), nil},
		{"its key again, with another time", all(one), certs(again), nil, certs(again), nil},
		{"its key and name, signed by a stranger", all(one), certs(posed), nil, nil, certs(posed)},
		{"nothing offered", all(one), nil, certs(x2), nil, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			text := func(cs []*x509.Certificate) (out []string) {
				names := map[string]string{"1": string(one.cert.Raw), "2": string(two.cert.Raw),
					"3": string(three.cert.Raw), "4": string(four.cert.Raw), "stranger": string(stranger.cert.Raw),
					"namesake": string(namesake.cert.Raw),
					"again":    string(again.Raw), "posed": string(posed.Raw)}
				for _, c := range cs {
					for n, raw := range names {
						if raw == string(c.Raw) {
							out = append(out, n)
						}
					}
				}
				return out
			}
			before := slices.Clone(c.trusted)
			accepted, refused := Accept(c.trusted, Reply{CAs: c.offer, Cross: c.cross})
			if got, want := fmt.Sprint(text(accepted), text(refused)),
				fmt.Sprint(text(c.accepted), text(c.refused)); got != want {
				t.Errorf("accepted and refused are %s, want %s", got, want)
			}
			if !slices.EqualFunc(before, c.trusted, (*x509.Certificate).Equal) {
				t.Error("what was trusted changed")
			}
		})
	}
}
