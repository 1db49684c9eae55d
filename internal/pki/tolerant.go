package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// ParseCertificate parses a certificate as d2i_X509(3) does. A certificate that crypto/x509 refuses for its content (a
// negative serial, a name or an extension that RFC 5280 forbids, a key of an unknown kind) still has a subject, an
// issuer and a key, and OpenSSL loads it. For such a one, all Raw fields are set and the others as far as they can be
// parsed; PublicKey is nil for an unknown kind. Data after the certificate is ignored. Errors: ErrTruncated and
// ErrRefused where OpenSSL does not load it either, ErrUnsupported where it may.
func ParseCertificate(der []byte) (*x509.Certificate, error) {
	switch fault := certificateFault(der); {
	case errors.Is(fault, errOtherBER):
		return nil, fmt.Errorf("%w: %s", ErrUnsupported, fault)
	case errors.Is(fault, errCut):
		return nil, fmt.Errorf("%w: %s", ErrTruncated, fault)
	case fault != nil:
		return nil, refusedError{fault}
	}
	if whole, _, err := first(der); err == nil {
		der = der[:whole.size]
	}
	c, err := x509.ParseCertificate(der)
	if err == nil {
		return c, nil
	}
	if c, ok := tolerate(der); ok {
		return c, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrUnsupported, err)
}

// refusedError is an ErrRefused with the reason. It is an ErrGarbage too.
type refusedError struct{ fault error }

func (e refusedError) Error() string { return ErrRefused.Error() + ": " + e.fault.Error() }

func (e refusedError) Is(target error) bool { return target == ErrRefused || target == ErrGarbage }

type rawTBS struct {
	Raw        asn1.RawContent
	Version    int `asn1:"optional,explicit,default:0,tag:0"`
	Serial     *big.Int
	Algorithm  pkix.AlgorithmIdentifier
	Issuer     asn1.RawValue
	Validity   asn1.RawValue
	Subject    asn1.RawValue
	SPKI       asn1.RawValue
	IssuerID   asn1.BitString  `asn1:"optional,tag:1"`
	SubjectID  asn1.BitString  `asn1:"optional,tag:2"`
	Extensions []asn1.RawValue `asn1:"omitempty,optional,explicit,tag:3"`
}

type rawCertificate struct {
	TBS       rawTBS
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

// tolerate parses only the outer structure, and the extensions that extension knows.
func tolerate(der []byte) (*x509.Certificate, bool) {
	var r rawCertificate
	if rest, err := asn1.Unmarshal(der, &r); err != nil || len(rest) > 0 {
		return nil, false
	}
	t := r.TBS
	for _, v := range []asn1.RawValue{t.Issuer, t.Validity, t.Subject, t.SPKI} {
		if v.Class != asn1.ClassUniversal || v.Tag != asn1.TagSequence || !v.IsCompound {
			return nil, false
		}
	}
	if _, err := rdns(t.Issuer.FullBytes); err != nil {
		return nil, false
	}
	if _, err := rdns(t.Subject.FullBytes); err != nil {
		return nil, false
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if rest, err := asn1.Unmarshal(t.SPKI.FullBytes, &spki); err != nil || len(rest) > 0 {
		return nil, false
	}
	c := &x509.Certificate{Raw: der, RawTBSCertificate: t.Raw, RawSubject: t.Subject.FullBytes,
		RawIssuer:               t.Issuer.FullBytes,
		RawSubjectPublicKeyInfo: t.SPKI.FullBytes, Version: t.Version + 1, SerialNumber: t.Serial,
		Signature: r.Signature.RightAlign()}
	fillName(t.Subject.FullBytes, &c.Subject)
	fillName(t.Issuer.FullBytes, &c.Issuer)
	if pub, err := x509.ParsePKIXPublicKey(c.RawSubjectPublicKeyInfo); err == nil {
		c.PublicKey = pub
	}
	c.SignatureAlgorithm = algorithmOf(r.Algorithm)
	var begin, end asn1.RawValue
	if rest, err := asn1.Unmarshal(t.Validity.Bytes, &begin); err != nil {
		return nil, false
	} else if rest, err = asn1.Unmarshal(rest, &end); err != nil || len(rest) > 0 {
		return nil, false
	}
	for _, v := range []asn1.RawValue{begin, end} {
		if v.Class != asn1.ClassUniversal || v.Tag != asn1.TagUTCTime && v.Tag != asn1.TagGeneralizedTime {
			return nil, false
		}
	}
	c.NotBefore, c.NotAfter = instant(begin), instant(end)
	for _, raw := range t.Extensions {
		var e pkix.Extension
		if rest, err := asn1.Unmarshal(raw.FullBytes, &e); err != nil || len(rest) > 0 {
			return nil, false
		}
		c.Extensions = append(c.Extensions, e)
	}
	for _, e := range c.Extensions {
		extension(c, e)
	}
	return c, true
}

func fillName(raw []byte, into *pkix.Name) {
	var seq pkix.RDNSequence
	if _, err := asn1.Unmarshal(raw, &seq); err == nil {
		into.FillFromRDNSequence(&seq)
	}
}

// instant parses UTCTime and GeneralizedTime, with and without seconds; the zero time for anything else.
func instant(v asn1.RawValue) time.Time {
	forms := []string{"20060102150405Z0700", "200601021504Z0700"}
	if v.Tag == asn1.TagUTCTime {
		forms = []string{"060102150405Z0700", "0601021504Z0700"}
	}
	for _, f := range forms {
		if t, err := time.Parse(f, string(v.Bytes)); err == nil {
			if v.Tag == asn1.TagUTCTime && t.Year() >= 2050 {
				t = t.AddDate(-100, 0, 0)
			}
			return t.UTC()
		}
	}
	return time.Time{}
}

// extension sets the fields for one extension, as far as it can be parsed.
func extension(c *x509.Certificate, e pkix.Extension) {
	switch e.Id.String() {
	case "2.5.29.19":
		var b struct {
			IsCA       bool `asn1:"optional"`
			MaxPathLen int  `asn1:"optional,default:-1"`
		}
		if _, err := asn1.Unmarshal(e.Value, &b); err == nil {
			c.BasicConstraintsValid, c.IsCA, c.MaxPathLen = true, b.IsCA, b.MaxPathLen
			c.MaxPathLenZero = b.MaxPathLen == 0
		}
	case "2.5.29.14":
		_, _ = asn1.Unmarshal(e.Value, &c.SubjectKeyId)
	case "2.5.29.35":
		c.AuthorityKeyId = authorityKey(c).keyID
	case "2.5.29.15":
		var bits asn1.BitString
		if _, err := asn1.Unmarshal(e.Value, &bits); err == nil {
			for i := range 9 {
				if bits.At(i) != 0 {
					c.KeyUsage |= 1 << i
				}
			}
		}
	case "2.5.29.37":
		var ids []asn1.ObjectIdentifier
		if _, err := asn1.Unmarshal(e.Value, &ids); err == nil {
			for _, id := range ids {
				switch id.String() {
				case "2.5.29.37.0":
					c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageAny)
				case "1.3.6.1.5.5.7.3.1":
					c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
				case "1.3.6.1.5.5.7.3.2":
					c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
				default:
					c.UnknownExtKeyUsage = append(c.UnknownExtKeyUsage, id)
				}
			}
		}
	case "2.5.29.17":
		var all []asn1.RawValue
		if _, err := asn1.Unmarshal(e.Value, &all); err == nil {
			for _, n := range all {
				switch {
				case n.Class == asn1.ClassContextSpecific && n.Tag == 2:
					c.DNSNames = append(c.DNSNames, string(n.Bytes))
				case n.Class == asn1.ClassContextSpecific && n.Tag == 7 && (len(n.Bytes) == 4 || len(n.Bytes) == 16):
					c.IPAddresses = append(c.IPAddresses, n.Bytes)
				}
			}
		}
	}
}

// authority is an authority key identifier with all its parts (RFC 5280 4.2.1.1).
type authority struct {
	keyID  []byte // nil: none; an empty one matches no key
	issuer []byte // the first directoryName, DER; nil: none
	serial *big.Int
}

func authorityKey(c *x509.Certificate) authority {
	var a authority
	for _, e := range c.Extensions {
		if !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 35}) {
			continue
		}
		var parts []asn1.RawValue
		if _, err := asn1.Unmarshal(e.Value, &parts); err != nil {
			return a
		}
		for _, p := range parts {
			switch p.Tag {
			case 0:
				a.keyID = append([]byte{}, p.Bytes...)
			case 1:
				a.issuer = directoryName(p.Bytes)
			case 2:
				a.serial, _ = integer(p.Bytes)
			}
		}
	}
	return a
}

// directoryName is the first directoryName in GeneralNames; nil for none.
func directoryName(der []byte) []byte {
	for len(der) > 0 {
		var n asn1.RawValue
		rest, err := asn1.Unmarshal(der, &n)
		if err != nil {
			return nil
		}
		if n.Class == asn1.ClassContextSpecific && n.Tag == 4 {
			return n.Bytes
		}
		der = rest
	}
	return nil
}

// integer parses the content of an INTEGER, which may be negative.
func integer(contents []byte) (*big.Int, error) {
	if len(contents) == 0 {
		return nil, errors.New("an empty INTEGER")
	}
	n := new(big.Int).SetBytes(contents)
	if contents[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(contents))))
	}
	return n, nil
}

// NamedBy says whether the authority key identifier of c allows issuer, as X509_check_akid(3) does. A key identifier is
// compared only where both have one; issuer name and serial in it, where present, must be those of the issuer's own
// certificate.
func NamedBy(c, issuer *x509.Certificate) bool {
	a := authorityKey(c)
	switch {
	case a.keyID != nil && len(issuer.SubjectKeyId) > 0 && string(a.keyID) != string(issuer.SubjectKeyId),
		a.serial != nil && (issuer.SerialNumber == nil || a.serial.Cmp(issuer.SerialNumber) != 0),
		a.issuer != nil && !SameName(a.issuer, issuer.RawIssuer):
		return false
	}
	return true
}

// SameName says whether two names are equal in their canonical form, as X509_NAME_cmp(3) does.
func SameName(a, b []byte) bool {
	if string(a) == string(b) {
		return true
	}
	x, errA := canonicalName(a)
	y, errB := canonicalName(b)
	return errA == nil && errB == nil && string(x) == string(y)
}

// BelowName says whether name begins with all relative names of base: whether it is in the subtree of base.
func BelowName(name, base []byte) bool {
	n, errName := canonicalName(name)
	b, errBase := canonicalName(base)
	return errName == nil && errBase == nil && strings.HasPrefix(string(n), string(b))
}
