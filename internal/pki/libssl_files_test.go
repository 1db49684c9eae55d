package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/openssltest"
)

// revocations makes a CRL with one row.
func revocations(t *testing.T) []byte {
	t.Helper()
	key, err := GenerateKey(ECDSAP256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	by := &x509.Certificate{Subject: pkix.Name{CommonName: "Seller"}, KeyUsage: x509.KeyUsageCRLSign,
		SubjectKeyId: []byte{1, 2, 3}}
	der, err := x509.CreateRevocationList(rand.Reader,
		&x509.RevocationList{Number: big.NewInt(5), ThisUpdate: time.Unix(1e9, 0), NextUpdate: time.Unix(4e9, 0),
			RevokedCertificateEntries: []x509.RevocationListEntry{
				{SerialNumber: big.NewInt(9), RevocationTime: time.Unix(1e9, 0), ReasonCode: 1}}}, by, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// mutations are changes that editors, mail programs, scripts and accidents make to a file.
var mutations = []func(r *mrand.Rand, b []byte) []byte{
	func(_ *mrand.Rand, b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) },
	func(_ *mrand.Rand, b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) },
	func(_ *mrand.Rand, b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r")) },
	func(_ *mrand.Rand, b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte(" \t\n")) },
	func(_ *mrand.Rand, b []byte) []byte { return bytes.TrimRight(b, "\n") },
	func(_ *mrand.Rand, b []byte) []byte {
		return append([]byte("Bag Attributes\n    friendlyName: x\n\n"), b...)
	},
	func(_ *mrand.Rand, b []byte) []byte { return append(bytes.Clone(b), "the end\n"...) },
	func(_ *mrand.Rand, b []byte) []byte {
		return append(bytes.Repeat([]byte("x"), 300), append([]byte("\n"), b...)...)
	},
	func(_ *mrand.Rand, b []byte) []byte {
		return bytes.ReplaceAll(b, []byte("CERTIFICATE"), []byte("TRUSTED CERTIFICATE"))
	},
	func(_ *mrand.Rand, b []byte) []byte {
		return bytes.ReplaceAll(b, []byte("CERTIFICATE"), []byte("X509 CERTIFICATE"))
	},
	func(_ *mrand.Rand, b []byte) []byte {
		return bytes.ReplaceAll(b, []byte(" PRIVATE"), []byte(" EC PRIVATE"))
	},
	func(_ *mrand.Rand, b []byte) []byte {
		return bytes.ReplaceAll(b, []byte(" PRIVATE"), []byte(" FOO PRIVATE"))
	},
	func(r *mrand.Rand, b []byte) []byte { return insertLine(r, b, "") },
	// This is not a header, and it is short.
	func(r *mrand.Rand, b []byte) []byte { return insertLine(r, b, "# it is\n") },
	func(r *mrand.Rand, b []byte) []byte { return insertLine(r, b, "\x00") },
	func(_ *mrand.Rand, b []byte) []byte { return append([]byte("\x00\n"), b...) },
	func(r *mrand.Rand, b []byte) []byte { return insertLine(r, b, "a\x00-----END") },
	func(r *mrand.Rand, b []byte) []byte { return insertLine(r, b, "X-Header: y\n") },
	func(r *mrand.Rand, b []byte) []byte {
		return insertLine(r, b, "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n")
	},
	func(r *mrand.Rand, b []byte) []byte { return insertLine(r, b, "-----BEGIN CERTIFICATE-----") },
	func(r *mrand.Rand, b []byte) []byte { return insertLine(r, b, strings.Repeat("AAAA", r.IntN(80))) },
	func(r *mrand.Rand, b []byte) []byte { // a line is lost
		lines := bytes.SplitAfter(b, []byte("\n"))
		i := r.IntN(len(lines))
		return append(bytes.Join(lines[:i], nil), bytes.Join(lines[i+1:], nil)...)
	},
	func(r *mrand.Rand, b []byte) []byte { return b[:r.IntN(len(b)+1)] },
	func(r *mrand.Rand, b []byte) []byte { return b[r.IntN(len(b)):] },
	func(r *mrand.Rand, b []byte) []byte { // a character is changed
		b = bytes.Clone(b)
		b[r.IntN(len(b))] = "A!= \t-:\n\x00"[r.IntN(9)]
		return b
	},
	func(_ *mrand.Rand, b []byte) []byte { // the whole body is in one line
		lines := bytes.SplitAfter(b, []byte("\n"))
		for i := range lines {
			if !bytes.HasPrefix(lines[i], []byte("---")) && i+1 < len(lines) &&
				!bytes.HasPrefix(lines[i+1], []byte("---")) {
				lines[i] = bytes.TrimRight(lines[i], "\n")
			}
		}
		return bytes.Join(lines, nil)
	},
	func(r *mrand.Rand, b []byte) []byte { // an octet of the DER is changed
		p, rest := pem.Decode(b)
		if p == nil || len(p.Bytes) == 0 {
			return b
		}
		p.Bytes[r.IntN(min(len(p.Bytes), 400))] ^= 1 << r.IntN(8)
		return append(pem.EncodeToMemory(p), rest...)
	},
	func(_ *mrand.Rand, b []byte) []byte { // something is added after the DER
		p, rest := pem.Decode(b)
		if p == nil {
			return b
		}
		p.Bytes = append(p.Bytes, 5, 0)
		return append(pem.EncodeToMemory(p), rest...)
	},
}

func insertLine(r *mrand.Rand, b []byte, text string) []byte {
	lines := bytes.SplitAfter(b, []byte("\n"))
	i := r.IntN(len(lines))
	out := append(bytes.Join(lines[:i], nil), text+"\n"...)
	return append(out, bytes.Join(lines[i:], nil)...)
}

// For thousands of unusual files: libssl loads what our reader accepts, and refuses what our reader refuses. The third
// answer, "cannot be read here", keeps the file, and must be rare.
func TestFilesAsLibssl(t *testing.T) {
	certA, keyA := host(t, ECDSAP256, x509.SHA256WithRSA)
	certB, keyB := host(t, ECDSAP384, x509.SHA256WithRSA)
	sha1, _ := host(t, ECDSAP256, x509.SHA1WithRSA)
	bases := [][]byte{certA, keyA, append(bytes.Clone(certA), certB...), append(bytes.Clone(keyA), certA...),
		append(bytes.Clone(certA), keyA...),
		append(bytes.Clone(keyB), keyA...), sha1, append(bytes.Clone(certB), sha1...),
		append(append([]byte{}, openssl(t, keyB, "pkey", "-pubout")...), certA...)}
	list := revocations(t)
	bases = append(bases, append(bytes.Clone(certA), list...), append(bytes.Clone(list), certA...))
	dir := t.TempDir()
	r := mrand.New(mrand.NewPCG(1, 2))
	var files [][]byte
	var questions []string
	for n := range 1200 {
		data := bytes.Clone(bases[n%len(bases)])
		for range r.IntN(3) {
			if len(data) > 0 {
				data = mutations[r.IntN(len(mutations))](r, data)
			}
		}
		path := filepath.Join(dir, fmt.Sprint(n))
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, data)
		questions = append(questions, "pair\t1\t"+path+"\t", "pair\t1\t\t"+path, "cas\t"+path)
	}
	answers := openssltest.Libssl(t, questions)
	unsure, loads := 0, 0
	for n, data := range files {
		leaf := ReadLeafFile(data)
		err := leaf.Err
		if err == nil {
			if why := (Libssl{}).Refuses(leaf.Certs[0]); why != "" {
				err = errors.New(why)
			}
			if leaf.Certs[0].PublicKey == nil {
				err = ErrUnsupported
			}
		}
		for i, got := range []error{err, ReadKeyFile(data).Err, ReadCertFile(data).Err} {
			theirs := answers[3*n+i]
			what := []string{"certificate", "key", "CAs"}[i]
			switch {
			case errors.Is(got, ErrUnsupported):
				unsure++
			case got == nil && theirs == "ok":
				loads++
			case (got == nil) != (theirs == "ok"):
				t.Errorf("file %d as a %s: we say %v, libssl says %q\n%q", n, what, got, theirs, data)
			}
		}
	}
	if unsure > len(files)/5 || loads < len(files)/2 {
		t.Errorf("%d of %d cannot be judged, %d load", unsure, 3*len(files), loads)
	}
	t.Logf("%d files: %d load, %d cannot be judged here", len(files), loads, unsure)
}
