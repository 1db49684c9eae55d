package dns

import (
	"fmt"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"
)

// Record is one resource record.
type Record struct{ rr wire.RR }

// Type is the type of a record.
type Type uint16

// The types that this program uses.
const TypeTXT = Type(wire.TypeTXT)

func (t Type) String() string { return wire.Type(t).String() }

// maxString is how many octets one string of a TXT record can hold (RFC 1035, section 3.3).
const maxString = 255

// TXT makes a TXT record. It cuts a value of more than 255 octets into several strings, which readers join. ttl is
// ignored when the record is removed or waited for.
func TXT(name, value string, ttl time.Duration) Record {
	var parts []string
	for len(value) > maxString {
		parts, value = append(parts, escape(value[:maxString])), value[maxString:]
	}
	return Record{&wire.TXT{
		Hdr: wire.RR_Header{Name: canonical(name), Rrtype: wire.TypeTXT, Class: wire.ClassINET,
			Ttl: uint32(ttl / time.Second)},
		Txt: append(parts, escape(value)),
	}}
}

// Name is the record's owner name, fully qualified.
func (r Record) Name() string { return r.rr.Header().Name }

// Type is the type of the record.
func (r Record) Type() Type { return Type(r.rr.Header().Rrtype) }

// TTL is the record's time to live.
func (r Record) TTL() time.Duration { return time.Duration(r.rr.Header().Ttl) * time.Second }

// Text is the value of a TXT record, with its strings joined; "" for any other record.
func (r Record) Text() string {
	txt, is := r.rr.(*wire.TXT)
	if !is {
		return ""
	}
	var b strings.Builder
	for _, s := range txt.Txt {
		b.WriteString(unescape(s))
	}
	return b.String()
}

// String is the record as a line of a zone file, with blanks between its fields.
func (r Record) String() string { return strings.ReplaceAll(r.rr.String(), "\t", " ") }

// Data is the record's data, as in a zone file.
func (r Record) Data() string {
	return strings.TrimSpace(strings.TrimPrefix(r.rr.String(), r.rr.Header().String()))
}

// Same reports whether two records of one name have the same data. For TXT records the cuts between strings make no
// difference, nor does the time to live for any record.
func (r Record) Same(o Record) bool {
	if r.Type() != o.Type() {
		return false
	}
	if r.Type() == TypeTXT {
		return r.Text() == o.Text()
	}
	return wire.IsDuplicate(r.rr, o.rr)
}

// isWild reports whether a server has made the records of a name from those of a wildcard name: their signature is over
// fewer labels (RFC 4034, section 3.1.3).
func isWild(rrs []wire.RR, name string, t Type) bool {
	return slices.ContainsFunc(rrs, func(rr wire.RR) bool {
		sig, is := rr.(*wire.RRSIG)
		return is && Type(sig.TypeCovered) == t && canonical(sig.Hdr.Name) == name &&
			int(sig.Labels) < wire.CountLabel(name)
	})
}

// records returns the records with that name and type from the server's answer.
func records(rrs []wire.RR, name string, t Type) []Record {
	var out []Record
	for _, rr := range rrs {
		h := rr.Header()
		if Type(h.Rrtype) == t && h.Class == wire.ClassINET && canonical(h.Name) == name {
			out = append(out, Record{rr})
		}
	}
	return out
}

// alias returns the target of a CNAME record at that name in the server's answer, "" where there is none.
func alias(rrs []wire.RR, name string) string {
	for _, rr := range rrs {
		if c, is := rr.(*wire.CNAME); is && canonical(c.Hdr.Name) == name {
			return canonical(c.Target)
		}
	}
	return ""
}

// aliasTTL is the time to live of the CNAME record of a name.
func aliasTTL(rrs []wire.RR, name string) time.Duration {
	for _, r := range records(rrs, name, Type(wire.TypeCNAME)) {
		return r.TTL()
	}
	return 0
}

// canonical returns a name fully qualified and in lower case.
func canonical(name string) string { return wire.CanonicalName(name) }

// plain returns a name as people write it, without the dot at its end.
func plain(name string) string {
	if name == "." {
		return name
	}
	return strings.TrimSuffix(name, ".")
}

// escape writes a backslash before what the wire library treats specially in a string (RFC 1035, section 5.1):
// quotation marks, backslashes and unprintable octets.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, "\\%03d", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescape undoes escape.
func unescape(s string) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\' || i+1 == len(s):
			b = append(b, s[i])
		case i+3 < len(s) && !slices.ContainsFunc([]byte(s[i+1:i+4]), func(c byte) bool { return c < '0' || c > '9' }):
			b = append(b, (s[i+1]-'0')*100+(s[i+2]-'0')*10+s[i+3]-'0')
			i += 3
		default:
			i++
			b = append(b, s[i])
		}
	}
	return string(b)
}
