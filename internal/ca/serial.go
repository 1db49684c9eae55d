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

// Serials are drawn at random because `openssl ca` takes no lock: while it waits at its prompt it has chosen its serial
// already. With counted serials both programs could choose the same one, and the later certificate would replace the
// earlier in newcerts.
const (
	// serialOctets is the length of a serial that is drawn. Its first bit is 0, so that the number is positive and
	// needs no further octet in DER (RFC 5280 4.1.2.2); its second bit is 1, so that all serials have the same length
	// in hexadecimal.
	serialOctets = 8
	// maxCounted is the longest serial, in bits, that counts as one that somebody counted up to.
	maxCounted = 48
	// serialTries bounds the draws. With 2^62 numbers, even a second draw is hardly ever needed.
	serialTries = 100
)

// testOnlyDraw replaces the draw in tests; nil: serials are drawn.
var testOnlyDraw func(*Observed) *big.Int

// drawSerial draws a serial that no row of index.txt, no file in newcerts and no certificate of the CA itself has.
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
		file := durable.Look(filepath.Join(o.Dir.Path, NewCertsDir, FormatSerial(n)+".pem"))
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
	return nil, errors.New("cannot draw a serial number: every one that was drawn is in use already, so the random " +
		"numbers of this system are broken")
}

// ownSerial says whether the own certificate of a generation has that serial.
func (o *Observed) ownSerial(n *big.Int) bool {
	for _, g := range append([]Generation{o.Current, o.Next}, o.Older...) {
		if g.Cert != nil && g.Cert.SerialNumber.Cmp(n) == 0 || g.Cross != nil && g.Cross.SerialNumber.Cmp(n) == 0 {
			return true
		}
	}
	return false
}

// readSerial returns the number in a serial file; nil where the file is missing or has no number. odd means that
// openssl cannot parse the number as it is written. err is the error of the system.
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

// opensslReads says whether a2i_ASN1_INTEGER(3) parses a number at the beginning: an even number of hexadecimal digits,
// at least two.
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
