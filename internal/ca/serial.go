package ca

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"path/filepath"

	"mailcertd/internal/durable"
)

// Serials are drawn at random: `openssl ca` knows no lock, and one that waits at its prompt has taken its serial
// already. Counted up, both would take the same one, and the later would put its certificate over the other's.
const (
	// serialOctets is the length of a serial that we draw. The first bit is 0, so that it is positive and has no
	// octet more in DER (RFC 5280 4.1.2.2), and the second is 1, so that all have the same length in hexadecimal.
	serialOctets = 8
	// maxCounted is the longest serial, in bits, that is taken for one that somebody counted up to.
	maxCounted = 48
	// serialTries bounds the draws. Two of 2^62 are the same about never.
	serialTries = 100
)

// testOnlyDraw gives serials that a test can name; nil: they are drawn.
var testOnlyDraw func(*Observed) *big.Int

// drawSerial draws a serial that no row of index.txt, no file in newcerts and no generation has.
func (o *Observed) drawSerial(rnd io.Reader) (*big.Int, error) {
	if testOnlyDraw != nil {
		return testOnlyDraw(o), nil
	}
	b := make([]byte, serialOctets)
	for range serialTries {
		if _, err := io.ReadFull(rnd, b); err != nil {
			return nil, fmt.Errorf("cannot draw a serial number: %w", err)
		}
		b[0] = b[0]&0x3F | 0x40
		n := new(big.Int).SetBytes(b)
		file := durable.Look(filepath.Join(o.Dir.Path, newCertsName, FormatSerial(n)+".pem"))
		if file.Err != nil {
			return nil, file.Err
		}
		used, err := o.db.used(n)
		if err != nil {
			return nil, err
		}
		if file.Kind == durable.Missing && !used && !o.ownSerial(n) {
			return n, nil
		}
	}
	return nil, errors.New("cannot draw a serial number: all that were drawn are in use")
}

// ownSerial says that a generation's own certificate has that serial.
func (o *Observed) ownSerial(n *big.Int) bool {
	for _, g := range append([]Generation{o.Current, o.Next}, o.Older...) {
		if g.Cert != nil && g.Cert.SerialNumber.Cmp(n) == 0 || g.Cross != nil && g.Cross.SerialNumber.Cmp(n) == 0 {
			return true
		}
	}
	return false
}

// readSerial gives the number in a file; nil where the file is missing or holds none. odd: there is one, and openssl
// cannot read it as it is written. An error is the system's.
func readSerial(path string) (n *big.Int, odd bool, err error) {
	file := durable.Read(path, maxFile)
	if file.Err != nil || !file.Exists {
		return nil, false, file.Err
	}
	if n, err = parseSerial(string(bytes.TrimSpace(file.Data))); err != nil {
		return nil, false, nil
	}
	return n, !opensslReads(file.Data), nil
}

// opensslReads says that a2i_ASN1_INTEGER(3) finds a number at the beginning: an even number of hexadecimal digits.
func opensslReads(data []byte) bool {
	digits := 0
	for _, c := range data {
		if _, hex := hexDigit(c); !hex {
			break
		}
		digits++
	}
	return digits >= 2 && digits%2 == 0
}
