package dns

import (
	"slices"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// A resolver remembers the NS records of a zone, and the zone above may have others: what the servers themselves have
// counts, and all who may be asked are asked.
func TestEverywhere(t *testing.T) {
	ns := func(zone, server string) wire.RR {
		return &wire.NS{Hdr: wire.RR_Header{Name: zone, Rrtype: wire.TypeNS, Class: wire.ClassINET, Ttl: 600},
			Ns: server}
	}
	reply := func(_ string, q *wire.Msg) [][]byte {
		return [][]byte{answer(t, q, func(m *wire.Msg) {
			m.Answer, m.Authoritative = nil, true
			name, resolves := q.Question[0].Name, q.RecursionDesired
			switch q.Question[0].Qtype {
			case wire.TypeSOA:
				m.Ns = []wire.RR{&wire.SOA{Hdr: wire.RR_Header{Name: "example.", Rrtype: wire.TypeSOA,
					Class: wire.ClassINET}, Ns: "ns.example.", Mbox: "root.example."}}
			case wire.TypeA:
				m.Answer = []wire.RR{&wire.A{Hdr: wire.RR_Header{Name: name, Rrtype: wire.TypeA, Class: wire.ClassINET},
					A: []byte{127, 0, 0, 1}}}
			case wire.TypeNS:
				switch {
				case name == "example.":
					m.Answer = []wire.RR{ns(name, "ns.example.")}
				case resolves: // it remembers the first server alone
					m.Answer = []wire.RR{ns(name, "ns1.example.")}
				default: // one program is all servers here, so the answer of the zone above comes with that of the zone
					m.Answer = []wire.RR{ns(name, "ns1.example."), ns(name, "ns2.example.")}
					m.Ns = []wire.RR{ns(name, "ns3.example.")}
				}
			}
		})}
	}
	addr := answering(t, reply)
	c, err := New(Options{Resolver: addr, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	_, c.port, _ = strings.Cut(addr, ":")
	listed, err := c.servers(t.Context(), Zone{Name: "mail.example."})
	if err != nil || len(listed) != 1 {
		t.Fatalf("%+v, %v", listed, err)
	}
	if got := c.added(t.Context(), "mail.example.", listed); !slices.Equal(got, []string{"ns2.example."}) {
		t.Errorf("the servers themselves add %v", got)
	}
	if got := c.delegation(t.Context(), "mail.example."); !slices.Contains(got, "ns3.example.") {
		t.Errorf("the zone above names %v", got)
	}
	// All of them have one address here, which is asked once; a former one has another.
	views, err := c.Everywhere(t.Context(), Zone{Name: "mail.example."}, tlsaName, TypeTLSA,
		[]Seat{{"ns0.example.", "127.0.0.1:1"}, {"ns1.example.", addr}})
	var got []string
	for _, v := range views {
		got = append(got, v.Server+" "+string(v.Beside))
	}
	if err != nil || !slices.Equal(got, []string{"ns1.example. ", "ns2.example. ", "ns0.example. former"}) {
		t.Errorf("%q, %v", got, err)
	}
}
