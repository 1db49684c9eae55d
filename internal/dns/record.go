package dns

import (
	"fmt"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"
)

// Record is one resource record, as it is added, removed, waited for and found.
type Record struct{ rr wire.RR }

// Type is the type of a record.
type Type uint16

// The types that are asked for.
const TypeTXT = Type(wire.TypeTXT)

func (t Type) String() string { return wire.Type(t).String() }

// maxString is how many octets one string of a TXT record holds (RFC 1035, section 3.3).
const maxString = 255

// TXT is a TXT record. A value of more than 255 octets is cut into several strings, which its readers put together.
// The time to live is ignored where the record is removed or waited for.
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

// Name is where the record is, fully qualified.
func (r Record) Name() string { return r.rr.Header().Name }

// Type is the type of the record.
func (r Record) Type() Type { return Type(r.rr.Header().Rrtype) }

// TTL is the record's time to live.
func (r Record) TTL() time.Duration { return time.Duration(r.rr.Header().Ttl) * time.Second }

// Text is the value of a TXT record, its strings put together; "" for any other record.
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

// Data is what the record says, as in a zone file.
func (r Record) Data() string {
	return strings.TrimSpace(strings.TrimPrefix(r.rr.String(), r.rr.Header().String()))
}

// Same says that two records of one name say the same. How the value of a TXT record is cut into strings, and the time
// to live, make no difference.
func (r Record) Same(o Record) bool {
	if r.Type() != o.Type() {
		return false
	}
	if r.Type() == TypeTXT {
		return r.Text() == o.Text()
	}
	return wire.IsDuplicate(r.rr, o.rr)
}

// records are those of a name and a type among what a server answered.
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

// alias is where a CNAME at a name leads among what a server answered, "" without one.
func alias(rrs []wire.RR, name string) string {
	for _, rr := range rrs {
		if c, is := rr.(*wire.CNAME); is && canonical(c.Hdr.Name) == name {
			return canonical(c.Target)
		}
	}
	return ""
}

// canonical is a name, fully qualified and in lower case.
func canonical(name string) string { return wire.CanonicalName(name) }

// plain is a name as people write it.
func plain(name string) string {
	if name == "." {
		return name
	}
	return strings.TrimSuffix(name, ".")
}

// escape writes what the wire library takes for special in a string (RFC 1035, section 5.1): quotation mark, backslash
// and what is not printable.
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
