package pki

import (
	"bytes"
	"crypto/sha1"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"strings"
	"unicode/utf16"
)

// attribute is one AttributeTypeAndValue of a name (RFC 5280 section 4.1.2.4).
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// rdns parses a distinguished name into its relative names. The attributes of each keep their order.
func rdns(rawName []byte) ([][]attribute, error) {
	var seq asn1.RawValue
	if rest, err := asn1.Unmarshal(rawName, &seq); err != nil || len(rest) > 0 || seq.Tag != asn1.TagSequence {
		return nil, errors.New("not a distinguished name")
	}
	var out [][]attribute
	for body := seq.Bytes; len(body) > 0; {
		var set asn1.RawValue
		rest, err := asn1.Unmarshal(body, &set)
		if err != nil || set.Tag != asn1.TagSet {
			return nil, errors.New("not a relative distinguished name")
		}
		body = rest
		var rdn []attribute
		for inner := set.Bytes; len(inner) > 0; {
			var a attribute
			if inner, err = asn1.Unmarshal(inner, &a); err != nil {
				return nil, fmt.Errorf("attribute of a name: %w", err)
			}
			rdn = append(rdn, a)
		}
		out = append(out, rdn)
	}
	return out, nil
}

// SubjectHash is OpenSSL's X509_NAME_hash(3) since 1.0.0: the first four
// octets, little-endian, of the SHA-1 over the canonical encoding of the name
// (strings as UTF-8, white space folded, ASCII letters in lower case).
func SubjectHash(rawName []byte) (uint32, error) {
	canon, err := canonicalName(rawName)
	if err != nil {
		return 0, err
	}
	sum := sha1.Sum(canon)
	return binary.LittleEndian.Uint32(sum[:4]), nil
}

// canonicalName is canon_enc of OpenSSL's X509_NAME, by which names are compared and hashed.
func canonicalName(rawName []byte) ([]byte, error) {
	names, err := rdns(rawName)
	if err != nil {
		return nil, err
	}
	var canon []byte
	for _, rdn := range names {
		var members [][]byte
		for _, a := range rdn {
			v, err := canonicalValue(a.Value)
			if err != nil {
				return nil, err
			}
			der, err := asn1.Marshal(struct {
				Type  asn1.ObjectIdentifier
				Value asn1.RawValue
			}{a.Type, v})
			if err != nil {
				return nil, err
			}
			members = append(members, der)
		}
		sort.Slice(members, func(i, j int) bool { return bytes.Compare(members[i], members[j]) < 0 }) // DER's SET OF
		set, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: bytes.Join(members, nil)})
		if err != nil {
			return nil, err
		}
		canon = append(canon, set...)
	}
	return canon, nil
}

// HashName is the name of the nth hash link for a subject, as in openssl-rehash(1): eight hexadecimal digits, a dot and
// a number; "" where the subject cannot be parsed.
func HashName(rawName []byte, n int) string {
	h, err := SubjectHash(rawName)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%08x.%d", h, n)
}

// Tags of string types that encoding/asn1 has no name for.
const (
	tagVisible   = 26
	tagUniversal = 28
	tagBMP       = 30
)

func canonicalValue(v asn1.RawValue) (asn1.RawValue, error) {
	if v.Class != asn1.ClassUniversal {
		return verbatim(v), nil
	}
	var text []byte
	switch v.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, tagVisible:
		text = v.Bytes
	case asn1.TagT61String: // OpenSSL reads it as Latin-1
		for _, b := range v.Bytes {
			text = append(text, string(rune(b))...)
		}
	case tagBMP:
		if len(v.Bytes)%2 != 0 {
			return v, errors.New("BMPString of odd length")
		}
		units := make([]uint16, len(v.Bytes)/2)
		for i := range units {
			units[i] = binary.BigEndian.Uint16(v.Bytes[2*i:])
		}
		text = []byte(string(utf16.Decode(units)))
	case tagUniversal:
		if len(v.Bytes)%4 != 0 {
			return v, errors.New("UniversalString of odd length")
		}
		for b := v.Bytes; len(b) > 0; b = b[4:] {
			text = append(text, string(rune(binary.BigEndian.Uint32(b)))...)
		}
	default:
		return verbatim(v), nil
	}
	return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: fold(text)}, nil
}

func verbatim(v asn1.RawValue) asn1.RawValue {
	return asn1.RawValue{FullBytes: v.FullBytes}
}

// fold removes white space at both ends, replaces each run of it by one blank, and turns ASCII letters to lower case.
// All other octets stay.
func fold(text []byte) []byte {
	isSpace := func(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' }
	var out []byte
	gap := false
	for _, b := range text {
		if isSpace(b) {
			gap = len(out) > 0
			continue
		}
		if gap {
			out = append(out, ' ')
			gap = false
		}
		if b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		out = append(out, b)
	}
	return out
}

// shortNames are OpenSSL's short names of attribute types (objects.txt).
var shortNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
	"2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.13": "description",
	"2.5.4.17": "postalCode", "2.5.4.41": "name", "2.5.4.42": "GN", "2.5.4.43": "initials",
	"2.5.4.44": "generationQualifier",
	"2.5.4.46": "dnQualifier", "2.5.4.65": "pseudonym", "2.5.4.97": "organizationIdentifier",
	"1.2.840.113549.1.9.1": "emailAddress", "1.2.840.113549.1.9.2": "unstructuredName",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
	"1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC", "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
	"1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL", "2.5.4.15": "businessCategory",
	"2.5.4.14": "searchGuide", "2.5.4.16": "postalAddress", "2.5.4.18": "postOfficeBox",
	"2.5.4.19": "physicalDeliveryOfficeName",
	"2.5.4.20": "telephoneNumber", "2.5.4.21": "telexNumber", "2.5.4.22": "teletexTerminalIdentifier",
	"2.5.4.23": "facsimileTelephoneNumber",
	"2.5.4.24": "x121Address", "2.5.4.25": "internationaliSDNNumber", "2.5.4.26": "registeredAddress",
	"2.5.4.27": "destinationIndicator",
	"2.5.4.28": "preferredDeliveryMethod", "2.5.4.29": "presentationAddress", "2.5.4.30": "supportedApplicationContext",
	"2.5.4.31": "member",
	"2.5.4.32": "owner", "2.5.4.33": "roleOccupant", "2.5.4.34": "seeAlso", "2.5.4.35": "userPassword",
	"2.5.4.36": "userCertificate",
	"2.5.4.37": "cACertificate", "2.5.4.38": "authorityRevocationList", "2.5.4.39": "certificateRevocationList",
	"2.5.4.40": "crossCertificatePair",
	"2.5.4.45": "x500UniqueIdentifier", "2.5.4.47": "enhancedSearchGuide", "2.5.4.48": "protocolInformation",
	"2.5.4.49": "distinguishedName",
	"2.5.4.50": "uniqueMember", "2.5.4.51": "houseIdentifier", "2.5.4.52": "supportedAlgorithms",
	"2.5.4.53": "deltaRevocationList",
	"2.5.4.54": "dmdName", "2.5.4.72": "role", "2.5.4.98": "c3", "2.5.4.99": "n3", "2.5.4.100": "dnsName",
	"1.2.840.113549.1.9.8": "unstructuredAddress", "0.9.2342.19200300.100.1.3": "mail",
}

// OneLine is a name as X509_NAME_oneline(3) prints it and index.txt has it: /C=JP/O=Home/CN=host. Octets outside
// printable ASCII are \xHH; as in OpenSSL 3.0 and later, / and + within a value get a backslash, and + separates the
// values of one relative name. It is "" where the bytes are not a name.
func OneLine(rawName []byte) string {
	names, err := rdns(rawName)
	if err != nil {
		return ""
	}
	var b strings.Builder
	for _, rdn := range names {
		for i, a := range rdn {
			oid := a.Type.String()
			if s, ok := shortNames[oid]; ok {
				oid = s
			}
			if i == 0 {
				b.WriteByte('/')
			} else {
				b.WriteByte('+')
			}
			b.WriteString(oid + "=")
			for _, c := range a.Value.Bytes {
				switch {
				case c < ' ' || c > '~':
					fmt.Fprintf(&b, "\\x%02X", c)
				case c == '/' || c == '+':
					b.WriteByte('\\')
					fallthrough
				default:
					b.WriteByte(c)
				}
			}
		}
	}
	return b.String()
}

// Attribute is one attribute of a new name: openssl's short name and the value.
type Attribute struct{ Type, Value string }

// RawName is the DER of a distinguished name with one attribute in each relative name; empty values are left out. C,
// serialNumber, DC and emailAddress get the string types of RFC 5280, all others are UTF8String.
func RawName(attrs ...Attribute) ([]byte, error) {
	var body []byte
	for _, at := range attrs {
		if at.Value == "" {
			continue
		}
		var oid asn1.ObjectIdentifier
		for dotted, short := range shortNames {
			if short == at.Type {
				oid = parseOID(dotted)
			}
		}
		if oid == nil {
			return nil, fmt.Errorf("unknown attribute type %q", at.Type)
		}
		tag := asn1.TagUTF8String
		switch at.Type {
		case "C", "serialNumber":
			tag = asn1.TagPrintableString
		case "DC", "emailAddress":
			tag = asn1.TagIA5String
		}
		ava, err := asn1.Marshal(attribute{oid, asn1.RawValue{Tag: tag, Bytes: []byte(at.Value)}})
		if err != nil {
			return nil, err
		}
		set, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: ava})
		if err != nil {
			return nil, err
		}
		body = append(body, set...)
	}
	return asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: body})
}

func parseOID(dotted string) asn1.ObjectIdentifier {
	var oid asn1.ObjectIdentifier
	for part := range strings.SplitSeq(dotted, ".") {
		n := 0
		for _, c := range part {
			n = n*10 + int(c-'0')
		}
		oid = append(oid, n)
	}
	return oid
}
