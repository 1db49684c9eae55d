// Package dh has the Diffie-Hellman groups of RFC 7919, and reads and checks parameter files.
package dh

import (
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
)

// Params are Diffie-Hellman parameters.
type Params struct {
	P, G *big.Int
	Name string // of the RFC 7919 group, "" for any other
}

// offsets are the X of RFC 7919 appendix A, by size in bits:
// p = 2^b - 2^(b-64) + (floor(2^(b-130) * e) + X) * 2^64 - 1.
var offsets = []struct {
	bits uint
	x    int64
}{
	{2048, 560316},
	{3072, 2625351},
	{4096, 5736041},
	{6144, 15705020},
	{8192, 10965728},
}

// Names lists the groups, smallest first.
func Names() []string {
	var out []string
	for _, o := range offsets {
		out = append(out, fmt.Sprintf("ffdhe%d", o.bits))
	}
	return out
}

// Group returns a group of RFC 7919 by its name, such as ffdhe3072.
func Group(name string) (Params, error) {
	for _, o := range offsets {
		if name == fmt.Sprintf("ffdhe%d", o.bits) {
			return Params{P: prime(o.bits, o.x), G: big.NewInt(2), Name: name}, nil
		}
	}
	return Params{}, fmt.Errorf("no such group %q: it must be one of %s", name, strings.Join(Names(), ", "))
}

func prime(bits uint, x int64) *big.Int {
	one := big.NewInt(1)
	pow := func(n uint) *big.Int { return new(big.Int).Lsh(one, n) }
	p := scaledE(bits - 130)
	p.Add(p, big.NewInt(x))
	p.Lsh(p, 64)
	p.Add(p, pow(bits))
	p.Sub(p, pow(bits-64))
	return p.Sub(p, one)
}

// scaledE is floor(2^n * e), by the series of reciprocal factorials with 64 guard bits. The series is one fraction, 1 +
// 1/1! + … + 1/k! = sum/factorial, so that one long division is enough.
func scaledE(n uint) *big.Int {
	const guard = 64
	one, by := big.NewInt(1), new(big.Int)
	sum, factorial := big.NewInt(1), big.NewInt(1)
	for k := int64(1); uint(factorial.BitLen()) <= n+guard; k++ {
		by.SetInt64(k)
		factorial.Mul(factorial, by)
		sum.Mul(sum, by).Add(sum, one)
	}
	return sum.Quo(sum.Lsh(sum, n), factorial)
}

// nameOf is the name of a group of RFC 7919; "" for any other group.
func nameOf(p, g *big.Int) string {
	if g.Cmp(big.NewInt(2)) != 0 {
		return ""
	}
	for _, o := range offsets {
		if uint(p.BitLen()) == o.bits && p.Cmp(prime(o.bits, o.x)) == 0 {
			return fmt.Sprintf("ffdhe%d", o.bits)
		}
	}
	return ""
}

// pkcs3 is DHParameter of PKCS#3. The optional length of the private value is ignored.
type pkcs3 struct {
	P, G   *big.Int
	Length int `asn1:"optional"`
}

// PEM encodes the parameters as openssl-dhparam(1) does, in a DH PARAMETERS block.
func (p Params) PEM() []byte {
	der, err := asn1.Marshal(pkcs3{P: p.P, G: p.G})
	if err != nil {
		panic(err) // two positive integers always encode
	}
	return pem.EncodeToMemory(&pem.Block{Type: "DH PARAMETERS", Bytes: der})
}
