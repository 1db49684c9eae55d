package bed

import (
	"bufio"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// Crowd describes the certificates that a CA has issued in a year. One in twenty is older and marked as expired. Equal
// Crowds give equal rows, apart from the times, which end at Now.
type Crowd struct {
	Rows    int
	Revoked int // one certificate in so many is revoked; 0: none
	// Names is the number of hosts. With fewer hosts than Rows each has several certificates, as after renewals; 0: as
	// many hosts as Rows.
	Names   int
	Counted bool      // serials are counted, as in an adopted CA; else drawn at random
	Files   bool      // each certificate is written into newcerts too
	Now     time.Time // when the last certificate was issued
}

// Fill adds the certificates to the CA in dir. It does not sync them, to be fast.
func (c Crowd) Fill(dir string) error {
	issue, err := issuer(dir)
	if err != nil {
		return err
	}
	index, err := os.OpenFile(filepath.Join(dir, "index.txt"), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer index.Close()
	out, rnd := bufio.NewWriterSize(index, 1<<20), mathrand.New(mathrand.NewPCG(1, 2))
	next := uint64(0x1000) // above the serials of a new CA
	now := c.Now.UTC().Truncate(time.Second)
	each := 365 * 24 * time.Hour / time.Duration(max(1, c.Rows)) // first, because the year times the rows overflows
	for i := range c.Rows {
		serial, kind := rnd.Uint64()>>1|1<<62, rnd.IntN(20)
		if c.Counted {
			serial = next + uint64(i)
		}
		begins, status, revoked := now.Add(-time.Duration(c.Rows-i)*each).Truncate(time.Second), "V", ""
		switch {
		case c.Revoked > 0 && i%c.Revoked == c.Revoked/2:
			status, revoked = "R", begins.Add(time.Hour).Format("060102150405Z")+",superseded"
		case kind == 0:
			status, begins = "E", begins.AddDate(-1, -2, 0)
		}
		name, ends := fmt.Sprintf("h%06d.lan", i%max(1, min(c.Rows, or(c.Names, c.Rows)))), begins.AddDate(0, 13, 0)
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\tunknown\t/CN=%s\n", status, ends.Format("060102150405Z"), revoked,
			hex(serial), name)
		if c.Files {
			if err := issue(serial, name, begins, ends); err != nil {
				return err
			}
		}
	}
	if c.Counted {
		err = os.WriteFile(filepath.Join(dir, "serial"), []byte(hex(next+uint64(c.Rows))+"\n"), 0o644)
	}
	return errors.Join(err, out.Flush())
}

// issuer returns a function that makes a certificate of the CA in dir and writes it into newcerts.
func issuer(dir string) (issue func(serial uint64, name string, begins, ends time.Time) error, err error) {
	read := func(name string) []byte {
		data, unread := os.ReadFile(filepath.Join(dir, name))
		block, _ := pem.Decode(data)
		if err = errors.Join(err, unread); block == nil {
			return nil
		}
		return block.Bytes
	}
	certDER, keyDER := read("cacert.pem"), read("cakey.pem")
	if err != nil {
		return nil, err
	}
	ca, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(keyDER)
	return func(serial uint64, name string, begins, ends time.Time) error {
		der, err := x509.CreateCertificate(rand.Reader,
			&x509.Certificate{SerialNumber: new(big.Int).SetUint64(serial), Subject: pkix.Name{CommonName: name},
				DNSNames: []string{name}, NotBefore: begins, NotAfter: ends}, ca, ca.PublicKey, key)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "newcerts", hex(serial)+".pem"),
			pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
	}, err
}

// hex returns a serial as openssl writes it, with an even number of digits.
func hex(serial uint64) string {
	s := fmt.Sprintf("%X", serial)
	if len(s)%2 == 1 {
		s = "0" + s
	}
	return s
}

func or(a, b int) int {
	if a == 0 {
		return b
	}
	return a
}
