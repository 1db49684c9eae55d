package pki

import (
	"encoding/asn1"
	"testing"
)

// The text of a name does not depend on the string type that a CA chose for it.
func TestReadable(t *testing.T) {
	value := func(tag int, b string) []byte {
		oid, _ := asn1.Marshal(asn1.ObjectIdentifier{2, 5, 4, 10})
		val, _ := asn1.Marshal(asn1.RawValue{Tag: tag, Bytes: []byte(b)})
		atv, _ := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: append(oid, val...)})
		set, _ := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: atv})
		name, _ := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: set})
		return name
	}
	for _, c := range []struct {
		tag        int
		text, want string
	}{
		{asn1.TagUTF8String, "株式会社例", "O=株式会社例"},
		{asn1.TagBMPString, "\x68\x2a\x5f\x0f", "O=株式"},
		{28, "\x00\x00\x68\x2a", "O=株"},
		{asn1.TagT61String, "M\xfcller", "O=Müller"},
		{asn1.TagPrintableString, "Home", "O=Home"},
		{asn1.TagBMPString, "\x68", "O="},
		{asn1.TagOctetString, "\x01\x02", "O=#04020102"},
		{asn1.TagUTF8String, "a\x1b[2J", "O=a\x1b[2J"}, // package page makes the control characters harmless
	} {
		if got := Readable(value(c.tag, c.text)); got != c.want {
			t.Errorf("tag %d, %q: %q, want %q", c.tag, c.text, got, c.want)
		}
	}
	if got := Readable([]byte("no name")); got != "" {
		t.Errorf("garbage reads %q", got)
	}
	raw, err := RawName(Attribute{"C", "JP"}, Attribute{"O", "株式会社例"}, Attribute{"CN", "host"})
	if err != nil || Readable(raw) != "C=JP, O=株式会社例, CN=host" {
		t.Errorf("%q, %v", Readable(raw), err)
	}
}
