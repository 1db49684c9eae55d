package pki

import (
	"encoding/asn1"
	"errors"
	"fmt"
)

// element is one value of BER as ASN1_get_object(3) parses it: lengths may have leading zeros, which DER and
// encoding/asn1 forbid.
type element struct {
	class, tag int
	compound   bool
	body       []byte
	size       int // octets of the whole value
}

var (
	errCut      = errors.New("it is cut off")
	errOtherBER = errors.New("BER of a kind that mailcertd does not read") // OpenSSL reads it
)

// first parses the value at the beginning of der.
func first(der []byte) (e element, rest []byte, err error) {
	if len(der) < 2 {
		return e, nil, errCut
	}
	e.class, e.compound, e.tag = int(der[0]>>6), der[0]&0x20 != 0, int(der[0]&0x1f)
	n := 1
	if e.tag == 0x1f {
		for e.tag = 0; ; n++ {
			if n+1 >= len(der) || e.tag >= 1<<24 {
				return e, nil, errCut
			}
			if e.tag = e.tag<<7 | int(der[n]&0x7f); der[n]&0x80 == 0 {
				n++
				break
			}
		}
	}
	length := int(der[n])
	n++
	switch {
	case length == 0x80 && !e.compound:
		return e, nil, errCut
	case length == 0x80: // its end is marked by two octets of zero
		return e, nil, errOtherBER
	case length > 0x80:
		octets := length & 0x7f
		if len(der) < n+octets {
			return e, nil, errCut
		}
		length = 0
		for _, b := range der[n : n+octets] {
			if length > len(der)>>8 { // before it grows: an int may have 32 bits
				return e, nil, errCut
			}
			length = length<<8 | int(b)
		}
		n += octets
	}
	if len(der)-n < length {
		return e, nil, errCut
	}
	e.body, e.size = der[n:n+length], n+length
	return e, der[e.size:], nil
}

// fields parses the values of a SEQUENCE one after the other. It keeps the first error.
type fields struct {
	left []byte
	err  error
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

// next parses the next value, which must have this class and tag.
func (f *fields) next(class, tag int, what string) element {
	if f.err != nil {
		return element{}
	}
	if len(f.left) == 0 {
		f.fail("its %s is missing", what)
		return element{}
	}
	e, rest, err := first(f.left)
	switch {
	case err != nil:
		f.fail("its %s: %w", what, err)
	case e.class != class || e.tag != tag:
		f.fail("its %s is of another type", what)
	default:
		f.left = rest
		f.content(e, what)
	}
	return e
}

// optional is next for a value that may be missing.
func (f *fields) optional(class, tag int, what string) (element, bool) {
	if f.err != nil || len(f.left) == 0 {
		return element{}, false
	}
	if e, _, err := first(f.left); err == nil && (e.class != class || e.tag != tag) {
		return element{}, false
	}
	e := f.next(class, tag, what)
	return e, f.err == nil
}

// inside are the fields of e, which must be constructed.
func (f *fields) inside(e element, what string) fields {
	if f.err == nil && !e.compound {
		f.fail("its %s is not constructed", what)
	}
	return fields{e.body, f.err}
}

// list is inside for a SEQUENCE OF or a SET OF, which OpenSSL accepts also where it is not constructed.
func (f *fields) list(e element, what string) fields {
	if f.err == nil && !e.compound {
		f.fail("its %s: %w", what, errOtherBER)
	}
	return fields{e.body, f.err}
}

// end takes over what the fields within had, and their end.
func (f *fields) end(in fields, what string) {
	if in.err == nil && len(in.left) > 0 {
		in.fail("there is something after the last part of its %s", what)
	}
	if f.err == nil {
		f.err = in.err
	}
}

// content notes an error where asn1_ex_c2i of OpenSSL refuses the content of a primitive value.
func (f *fields) content(e element, what string) {
	if e.class != asn1.ClassUniversal {
		return
	}
	b := e.body
	if e.tag == asn1.TagSequence || e.tag == asn1.TagSet {
		return // see inside and list
	}
	if e.compound {
		switch e.tag {
		case asn1.TagBoolean, asn1.TagInteger, asn1.TagNull, asn1.TagOID:
			f.fail("its %s is constructed", what)
		default:
			f.fail("its %s: %w", what, errOtherBER) // a string in parts
		}
		return
	}
	bad := false
	switch e.tag {
	case asn1.TagBoolean:
		bad = len(b) != 1
	case asn1.TagInteger, asn1.TagEnum:
		bad = len(b) == 0 || len(b) > 1 && (b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && paddedNegative(b))
	case asn1.TagBitString:
		bad = len(b) == 0 || b[0] > 7
	case asn1.TagNull:
		bad = len(b) != 0
	case asn1.TagOID:
		bad = len(b) == 0 || b[len(b)-1]&0x80 != 0
		for i := range b {
			bad = bad || b[i] == 0x80 && (i == 0 || b[i-1]&0x80 == 0)
		}
	case tagBMP:
		bad = len(b)%2 != 0
	case tagUniversal:
		bad = len(b)%4 != 0
	}
	if bad {
		f.fail("its %s is not well-formed", what)
	}
}

// value is content for a value of any type.
func (f *fields) value(e element, what string) {
	if e.class == asn1.ClassUniversal && (e.tag == asn1.TagSequence || e.tag == asn1.TagSet) && !e.compound {
		f.fail("its %s is not constructed", what)
	}
	f.content(e, what)
}

// paddedNegative says whether a negative number has a superfluous first octet of ones.
func paddedNegative(b []byte) bool { return b[1] >= 0x80 }

// algorithm parses an X509_ALGOR.
func (f *fields) algorithm(what string) {
	in := f.inside(f.next(asn1.ClassUniversal, asn1.TagSequence, what), what)
	in.next(asn1.ClassUniversal, asn1.TagOID, what)
	if in.err == nil && len(in.left) > 0 { // parameters of any type
		e, rest, err := first(in.left)
		if err != nil {
			in.fail("its %s: %w", what, err)
		}
		in.left = rest
		in.value(e, what)
	}
	f.end(in, what)
}

// name parses an X509_NAME, with the checks of its canonical form.
func (f *fields) name(what string) {
	in := f.list(f.next(asn1.ClassUniversal, asn1.TagSequence, what), what)
	for in.err == nil && len(in.left) > 0 {
		set := in.list(in.next(asn1.ClassUniversal, asn1.TagSet, what), what)
		for set.err == nil && len(set.left) > 0 {
			pair := set.inside(set.next(asn1.ClassUniversal, asn1.TagSequence, what), what)
			pair.next(asn1.ClassUniversal, asn1.TagOID, what)
			if pair.err == nil && len(pair.left) > 0 {
				e, rest, err := first(pair.left)
				switch {
				case err != nil:
					pair.fail("its %s: %w", what, err)
				case e.class != asn1.ClassUniversal || !printable(e.tag):
					pair.fail("its %s has a value of a type that names do not have", what)
				case e.tag == asn1.TagUTF8String && !utf8As(e.body), e.tag == tagUniversal && !e.compound &&
					!universalAs(e.body):
					pair.fail("its %s has a value with characters that do not exist", what)
				}
				pair.left = rest
				pair.value(e, what)
			} else {
				pair.fail("its %s has a part without a value", what)
			}
			set.end(pair, what)
		}
		in.end(set, what)
	}
	f.end(in, what)
}

// printable says whether tag is one of the types in B_ASN1_PRINTABLE, also those without a name.
func printable(tag int) bool {
	switch tag {
	case asn1.TagBitString, 7, 8, 9, 11, asn1.TagUTF8String, 13, 14, 15, asn1.TagSequence, 18, 19, 20, 22,
		tagUniversal, 29, tagBMP:
		return true
	}
	return false
}

// utf8As is UTF8_getc(3) over all of b: it accepts only the shortest form, no surrogates, nothing above U+10FFFF.
func utf8As(b []byte) bool {
	for i := 0; i < len(b); {
		n, least, v := 0, 0, 0
		switch c := int(b[i]); {
		case c < 0x80:
			i++
			continue
		case c&0xe0 == 0xc0:
			n, least, v = 2, 0x80, c&0x1f
		case c&0xf0 == 0xe0:
			n, least, v = 3, 0x800, c&0xf
		case c&0xf8 == 0xf0:
			n, least, v = 4, 0x10000, c&7
		default:
			return false
		}
		if len(b)-i < n {
			return false
		}
		for _, c := range b[i+1 : i+n] {
			if c&0xc0 != 0x80 {
				return false
			}
			v = v<<6 | int(c&0x3f)
		}
		if v < least || v > 0x10ffff || v >= 0xd800 && v < 0xe000 {
			return false
		}
		i += n
	}
	return true
}

// universalAs says whether every character of a UniversalString exists.
func universalAs(b []byte) bool {
	for ; len(b) >= 4; b = b[4:] {
		v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		if v > 0x10ffff || v >= 0xd800 && v < 0xe000 {
			return false
		}
	}
	return true
}

// certificateFault is the error of d2i_X509(3) for der: nil where OpenSSL parses it, errCut, errOtherBER (not known),
// or another reason.
func certificateFault(der []byte) error {
	f := fields{left: der}
	whole := f.inside(f.next(asn1.ClassUniversal, asn1.TagSequence, "outer form"), "outer form")
	tbs := whole.inside(whole.next(asn1.ClassUniversal, asn1.TagSequence, "inner form"), "inner form")
	if e, ok := tbs.optional(asn1.ClassContextSpecific, 0, "version"); ok {
		in := tbs.inside(e, "version")
		in.next(asn1.ClassUniversal, asn1.TagInteger, "version")
		tbs.end(in, "version")
	}
	tbs.next(asn1.ClassUniversal, asn1.TagInteger, "serial number")
	tbs.algorithm("signature algorithm")
	tbs.name("issuer")
	dates := tbs.inside(tbs.next(asn1.ClassUniversal, asn1.TagSequence, "validity"), "validity")
	for range 2 {
		if e, _, err := first(dates.left); err == nil && e.tag == asn1.TagGeneralizedTime {
			dates.next(asn1.ClassUniversal, asn1.TagGeneralizedTime, "date")
		} else {
			dates.next(asn1.ClassUniversal, asn1.TagUTCTime, "date")
		}
	}
	tbs.end(dates, "validity")
	tbs.name("subject")
	key := tbs.inside(tbs.next(asn1.ClassUniversal, asn1.TagSequence, "public key"), "public key")
	key.algorithm("public key")
	key.next(asn1.ClassUniversal, asn1.TagBitString, "public key")
	tbs.end(key, "public key")
	for tag := 1; tag <= 2; tag++ { // unique identifiers: implicit BIT STRINGs
		if e, ok := tbs.optional(asn1.ClassContextSpecific, tag, "unique identifier"); ok && !e.compound {
			tbs.content(element{tag: asn1.TagBitString, body: e.body}, "unique identifier")
		}
	}
	if e, ok := tbs.optional(asn1.ClassContextSpecific, 3, "extensions"); ok {
		tbs.extensions(e)
	}
	whole.end(tbs, "inner form")
	whole.algorithm("signature algorithm")
	whole.next(asn1.ClassUniversal, asn1.TagBitString, "signature")
	f.end(whole, "outer form")
	return f.err // what follows is skipped
}

func (f *fields) extensions(e element) {
	const what = "extensions"
	in := f.inside(e, what)
	list := in.list(in.next(asn1.ClassUniversal, asn1.TagSequence, what), what)
	for list.err == nil && len(list.left) > 0 {
		one := list.inside(list.next(asn1.ClassUniversal, asn1.TagSequence, what), what)
		one.next(asn1.ClassUniversal, asn1.TagOID, what)
		one.optional(asn1.ClassUniversal, asn1.TagBoolean, what)
		one.next(asn1.ClassUniversal, asn1.TagOctetString, what)
		list.end(one, what)
	}
	in.end(list, what)
	f.end(in, what)
}
