package dh

import (
	"bytes"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
)

// Errors of Read. Test with errors.Is.
var (
	ErrEmpty   = errors.New("is empty")
	ErrNoBlock = errors.New("contains no DH PARAMETERS block")
	ErrBroken  = errors.New("contains parameters that cannot be read")
)

// The limits of a parameter file. OpenSSL refuses a modulus of more than 10000 bits or less than 512.
const (
	maxFile = 1 << 20 // bytes
	minBits = 512
	maxBits = 10000
)

// Read parses the first DH PARAMETERS (or X9.42 DH PARAMETERS) block of a file, as PEM_read_bio_DHparams(3) does. It
// does not check that p is prime.
func Read(data []byte) (Params, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return Params{}, ErrEmpty
	}
	if len(data) > maxFile {
		return Params{}, fmt.Errorf("%w: larger than %d bytes", ErrBroken, maxFile)
	}
	for rest := data; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return Params{}, ErrNoBlock
		}
		switch b.Type {
		case "DH PARAMETERS":
			var v pkcs3
			if tail, err := asn1.Unmarshal(b.Bytes, &v); err != nil {
				return Params{}, fmt.Errorf("%w: %w", ErrBroken, err)
			} else if len(tail) > 0 {
				return Params{}, fmt.Errorf("%w: trailing data", ErrBroken)
			}
			return checked(v.P, v.G)
		case "X9.42 DH PARAMETERS": // RFC 2631 DomainParameters: p, g, q and more
			var seq []asn1.RawValue
			if _, err := asn1.Unmarshal(b.Bytes, &seq); err != nil || len(seq) < 3 {
				return Params{}, fmt.Errorf("%w: X9.42 form", ErrBroken)
			}
			var p, g *big.Int
			_, e1 := asn1.Unmarshal(seq[0].FullBytes, &p)
			_, e2 := asn1.Unmarshal(seq[1].FullBytes, &g)
			if err := errors.Join(e1, e2); err != nil {
				return Params{}, fmt.Errorf("%w: %w", ErrBroken, err)
			}
			return checked(p, g)
		}
	}
}

func checked(p, g *big.Int) (Params, error) {
	switch n := p.BitLen(); {
	case p.Sign() <= 0 || g.Sign() <= 0:
		return Params{}, fmt.Errorf("%w: a number is not positive", ErrBroken)
	case n < minBits || n > maxBits:
		return Params{}, fmt.Errorf("%w: %d bits, must be %d to %d", ErrBroken, n, minBits, maxBits)
	case p.Bit(0) == 0:
		return Params{}, fmt.Errorf("%w: p is even", ErrBroken)
	case g.Cmp(big.NewInt(1)) <= 0 || g.Cmp(p) >= 0:
		return Params{}, fmt.Errorf("%w: the generator is out of range", ErrBroken)
	}
	return Params{P: p, G: g, Name: nameOf(p, g)}, nil
}
