package pki

import (
	"encoding/asn1"
	"encoding/hex"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Readable is a distinguished name for people: C=JP, O=株式会社例, CN=host, in the order of the certificate; "" where the
// bytes are not a name. It has the characters where OneLine has octets, also control characters, so it must be cleaned
// before it is shown on a terminal.
func Readable(rawName []byte) string {
	names, err := rdns(rawName)
	if err != nil {
		return ""
	}
	var parts []string
	for _, rdn := range names {
		var values []string
		for _, a := range rdn {
			oid := a.Type.String()
			if s, ok := shortNames[oid]; ok {
				oid = s
			}
			values = append(values, oid+"="+characters(a.Value))
		}
		parts = append(parts, strings.Join(values, "+"))
	}
	return strings.Join(parts, ", ")
}

// characters decodes the string types of X.520. Octets that are not UTF-8 are read as ISO 8859-1, as OpenSSL reads a
// T61String; values of other types are shown in hexadecimal.
func characters(v asn1.RawValue) string {
	switch v.Tag {
	case asn1.TagBMPString:
		var units []uint16
		for b := v.Bytes; len(b) > 1; b = b[2:] {
			units = append(units, uint16(b[0])<<8|uint16(b[1]))
		}
		return string(utf16.Decode(units))
	case 28: // UniversalString
		var out []rune
		for b := v.Bytes; len(b) > 3; b = b[4:] {
			out = append(out, rune(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3])))
		}
		return string(out)
	// VisibleString
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagT61String, asn1.TagNumericString,
		asn1.TagGeneralString, 26:
		if utf8.Valid(v.Bytes) {
			return string(v.Bytes)
		}
		var out []rune
		for _, b := range v.Bytes {
			out = append(out, rune(b))
		}
		return string(out)
	}
	return "#" + hex.EncodeToString(v.FullBytes)
}
