package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"
)

var typed = []error{ErrEmpty, ErrGarbage, ErrTruncated, ErrDER, ErrEncrypted, ErrUnsupported}

func known(err error) bool {
	return err == nil || slices.ContainsFunc(typed, func(e error) bool { return errors.Is(err, e) })
}

func seeds(f *testing.F) [][]byte {
	out := [][]byte{nil, []byte("hello"), []byte("-----BEGIN "), []byte("-----BEGIN PRIVATE KEY-----\n"),
		{0x30, 3, 2, 1, 0}}
	for _, kt := range []KeyType{ECDSAP256, ECDSAP384} {
		key, err := GenerateKey(kt, rand.Reader)
		if err != nil {
			f.Fatal(err)
		}
		data, err := MarshalKey(key)
		if err != nil {
			f.Fatal(err)
		}
		b, _ := pem.Decode(data)
		out = append(out, data, b.Bytes, data[:len(data)/2], append(bytes.Clone(data), data...),
			bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")),
			append([]byte("-----BEGIN X-----\n"), data...),
			bytes.ReplaceAll(data, []byte("PRIVATE"), []byte("EC PRIVATE")))
	}
	cert := selfSigned(f)
	trusted := pem.EncodeToMemory(&pem.Block{Type: "TRUSTED CERTIFICATE", Bytes: append(bytes.Clone(cert), 0x30, 0)})
	out = append(out, cert, EncodeCertificate(cert), trusted, append(EncodeCertificate(cert), trusted...),
		EncodeCertificate(cert[:40]), EncodeCertificate([]byte{0x30, 0}))
	return out
}

// A key file that can be used gives the same key in every way of reading it. One that cannot be used gives no key and a
// known reason.
func FuzzKeyFile(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		k := ReadKeyFile(data)
		key, err := ParseKey(data)
		if !known(k.Err) || (k.Err == nil) != (err == nil) {
			t.Fatalf("%v, %v", k.Err, err)
		}
		if k.Err != nil {
			if k.Public != nil || k.Type != "" || key != nil {
				t.Fatalf("not usable, and it gave %+v", k)
			}
			return
		}
		if k.Public == nil || k.Type == "" || k.Keys < 1 || k.Encrypted || k.Form == "" ||
			!SamePublicKey(key.Public(), k.Public) {
			t.Fatalf("%+v", k)
		}
		strip := StripCertificates(data)
		s := ReadKeyFile(strip)
		if s.Err != nil || s.Certs != 0 || !SamePublicKey(s.Public, k.Public) ||
			!bytes.Equal(StripCertificates(strip), strip) {
			t.Fatalf("stripped: %+v\n%q", s, strip)
		}
		again, err := MarshalKey(key)
		if err != nil || !SamePublicKey(ReadKeyFile(again).Public, k.Public) {
			t.Fatalf("written again: %v", err)
		}
	})
}

// The certificates that were read are the same after they were written, each alone and all together. A reason is a
// known one.
func FuzzCertFile(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := ReadCertFile(data)
		if !known(c.Err) || c.Err == nil && len(c.Certs) == 0 {
			t.Fatalf("%d certificates, %v", len(c.Certs), c.Err)
		}
		var all []byte
		for _, x := range c.Certs {
			all = append(all, EncodeCertificate(x.Raw)...)
			if HashName(x.RawSubject, 0) == "" && len(x.RawSubject) == 0 {
				t.Fatal("a certificate without a subject")
			}
		}
		if len(c.Certs) == 0 {
			return
		}
		back := ReadCertFile(all)
		if back.Err != nil || len(back.Certs) != len(c.Certs) {
			t.Fatalf("%d of %d, %v", len(back.Certs), len(c.Certs), back.Err)
		}
		for i, x := range c.Certs {
			if !bytes.Equal(x.Raw, back.Certs[i].Raw) {
				t.Fatalf("certificate %d has changed", i)
			}
		}
		if StripCertificates(all) != nil || ReadKeyFile(all).Certs != 0 && ReadKeyFile(all).Err == nil {
			t.Fatal("a key in certificates")
		}
	})
}

func selfSigned(f *testing.F) []byte {
	key, err := GenerateKey(ECDSAP256, rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(2e9, 0),
		Subject: pkix.Name{CommonName: "x"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	return der
}
