package dns

import (
	"strings"
	"time"

	wire "github.com/miekg/dns"
)

// TypeTLSA is the type of the records that name the keys of a server (RFC 6698).
const TypeTLSA = Type(wire.TypeTLSA)

// Association is the data of a TLSA record (RFC 6698, section 2.1).
type Association struct {
	Usage, Selector, Matching uint8
	Data                      string // hexadecimal, in lower case
}

// TLSA makes a TLSA record. name is the whole name, such as _25._tcp.mail.example.org. ttl is ignored when the record
// is removed.
func TLSA(name string, a Association, ttl time.Duration) Record {
	return Record{&wire.TLSA{
		Hdr: wire.RR_Header{Name: canonical(name), Rrtype: wire.TypeTLSA, Class: wire.ClassINET,
			Ttl: uint32(ttl / time.Second)},
		Usage: a.Usage, Selector: a.Selector, MatchingType: a.Matching, Certificate: strings.ToLower(a.Data),
	}}
}

// Association is the data of a TLSA record; false for any other record.
func (r Record) Association() (Association, bool) {
	t, is := r.rr.(*wire.TLSA)
	if !is {
		return Association{}, false
	}
	return Association{t.Usage, t.Selector, t.MatchingType, strings.ToLower(t.Certificate)}, true
}
