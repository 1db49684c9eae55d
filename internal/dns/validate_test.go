package dns

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// The AD bit is asked for, and is that of the answer; records are those at the end of a CNAME record.
func TestValidated(t *testing.T) {
	var asked, unsigned, fails, bogus, once atomic.Bool // the server is another goroutine
	addr := answering(t, func(_ string, q *wire.Msg) [][]byte {
		asked.Store(q.AuthenticatedData && q.RecursionDesired)
		return [][]byte{answer(t, q, func(m *wire.Msg) {
			m.Authoritative, m.AuthenticatedData = false, !unsigned.Load()
			if fails.Load() || bogus.Load() && !q.CheckingDisabled || once.CompareAndSwap(true, false) {
				m.Rcode = wire.RcodeServerFailure
			}
			m.Answer = []wire.RR{
				&wire.CNAME{Hdr: wire.RR_Header{Name: tlsaName, Rrtype: wire.TypeCNAME, Class: wire.ClassINET},
					Target: "tlsa.example."},
				TLSA("tlsa.example.", Association{3, 1, 1, "ab"}, time.Hour).rr}
		})}
	})
	c, err := New(Options{Resolver: addr, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.Validated(context.Background(), tlsaName, TypeTLSA)
	if err != nil || !asked.Load() || !v.AD || !v.Local || v.Resolver != addr || len(v.Records) != 1 ||
		v.Records[0].TTL() != time.Hour {
		t.Errorf("%+v, %v", v, err)
	}
	unsigned.Store(true)
	if v, err = c.Validated(context.Background(), tlsaName, TypeTLSA); err != nil || v.AD {
		t.Errorf("%+v, %v", v, err)
	}
	fails.Store(true)
	var e *Error
	if _, err = c.Validated(context.Background(), tlsaName, TypeTLSA); !errors.As(err, &e) || e.Kind != Failed ||
		errors.Is(err, ErrBogus) {
		t.Error(err)
	}
	fails.Store(false)
	once.Store(true) // a failure of a moment is not one of the signatures
	if v, err = c.Validated(context.Background(), tlsaName, TypeTLSA); err != nil || len(v.Records) != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	bogus.Store(true)
	if _, err = c.Validated(context.Background(), tlsaName, TypeTLSA); !errors.Is(err, ErrBogus) ||
		!strings.Contains(err.Error(), addr+": SERVFAIL: the signatures") {
		t.Error(err)
	}
	// Whoever asks what else about the name hears the same reason, and no answer that was not checked.
	if _, err = c.Place(context.Background(), tlsaName); !errors.Is(err, ErrBogus) || !errors.As(err, &e) ||
		e.Kind != NoZone {
		t.Error(err)
	}
}
