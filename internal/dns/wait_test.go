package dns

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// When a resolver fails for a moment, Wait asks it for the server's address again.
func TestWaitForAddress(t *testing.T) {
	var asked atomic.Int32
	addr := answering(t, func(_ string, q *wire.Msg) [][]byte {
		return [][]byte{answer(t, q, func(m *wire.Msg) {
			h := wire.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: wire.ClassINET}
			switch q.Question[0].Qtype {
			case wire.TypeNS:
				m.Answer = []wire.RR{&wire.NS{Hdr: h, Ns: "ns1.example."}}
			case wire.TypeA:
				if m.Answer = nil; asked.Add(1) <= 2 { // it is asked with and without a check of the signatures
					m.Rcode = wire.RcodeServerFailure
				} else {
					m.Answer = []wire.RR{&wire.A{Hdr: h, A: net.IPv4(127, 0, 0, 1)}}
				}
			case wire.TypeAAAA:
				m.Answer = nil
			}
		})}
	})
	c, err := New(Options{Resolver: addr, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	_, c.port, _ = net.SplitHostPort(addr)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := c.Wait(ctx, Zone{Name: "example."}, TXT("a.example.", "right", 0)); err != nil || asked.Load() != 3 {
		t.Errorf("%d questions, %v", asked.Load(), err)
	}
}
