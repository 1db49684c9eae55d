package ca

import (
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
		if file.Kind == durable.Missing && !o.db.used(n) && !o.ownSerial(n) {
			return n, nil
		}
	}
	return nil, errors.New("cannot draw a serial number: every one that was drawn is in use")
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
