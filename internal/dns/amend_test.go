package dns

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

const tlsaName = "_25._tcp.mail.example."

func tlsa(usage uint8, data string) Record {
	return TLSA(tlsaName, Association{usage, 1, 1, data}, time.Hour)
}

// oneName is a name server with one name. It takes an update only where its prerequisites are those records that it
// has.
type oneName struct {
	t       *testing.T
	mu      sync.Mutex // guards the fields below
	have    []Record
	wild    []Record       // what a wildcard name has, which counts while the name has nothing
	between func(*oneName) // runs once, between a question and the update that follows it
	updates int
}

func (s *oneName) reply(_ string, q *wire.Msg) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return [][]byte{answer(s.t, q, func(m *wire.Msg) {
		m.Answer = nil
		if q.Opcode == wire.OpcodeQuery {
			all := s.have
			if len(all) == 0 && len(s.wild) > 0 {
				all = s.wild
				m.Answer = append(m.Answer, &wire.RRSIG{Hdr: wire.RR_Header{Name: tlsaName, Rrtype: wire.TypeRRSIG,
					Class: wire.ClassINET}, TypeCovered: wire.TypeTLSA, Labels: 3, SignerName: "example.",
					Signature: "AAAA"})
			}
			for _, r := range all {
				m.Answer = append(m.Answer, wire.Copy(r.rr))
			}
			return
		}
		s.updates++
		if do := s.between; do != nil {
			s.between = nil
			do(s)
		}
		if m.Rcode = s.wrong(q.Answer); m.Rcode != wire.RcodeSuccess {
			return
		}
		for _, rr := range q.Ns {
			r := Record{wire.Copy(rr)}
			r.rr.Header().Class = wire.ClassINET
			s.have = slices.DeleteFunc(s.have, r.Same)
			if rr.Header().Class == wire.ClassINET {
				s.have = append(s.have, r)
			}
		}
	})}
}

// wrong is the answer to prerequisites (RFC 2136, section 3.2).
func (s *oneName) wrong(prerequisites []wire.RR) int {
	var want []Record
	for _, rr := range prerequisites {
		if rr.Header().Class == wire.ClassNONE {
			if len(s.have) > 0 {
				return wire.RcodeYXRrset
			}
			continue
		}
		want = append(want, Record{rr})
	}
	has := func(all []Record, r Record) bool { return slices.ContainsFunc(all, r.Same) }
	for _, r := range want {
		if !has(s.have, r) {
			return wire.RcodeNXRrset
		}
	}
	if len(want) > 0 && len(want) != len(s.have) {
		return wire.RcodeNXRrset
	}
	return wire.RcodeSuccess
}

func TestAmend(t *testing.T) {
	a, b, foreign := tlsa(3, "aa"), tlsa(3, "bb"), tlsa(2, "cc")
	for _, c := range []struct {
		name       string
		have       []Record
		between    func(*oneName)
		must, drop []Record
		want       []Record
		updates    int
		changed    bool
	}{
		{"the first record", nil, nil, []Record{a}, nil, []Record{a}, 1, true},
		{"beside others", []Record{a, foreign}, nil, []Record{a, b}, nil, []Record{a, foreign, b}, 1, true},
		{"nothing to do", []Record{a, foreign}, nil, []Record{a}, []Record{b}, []Record{a, foreign}, 0, false},
		{"one goes", []Record{a, b, foreign}, nil, []Record{b}, []Record{a}, []Record{b, foreign}, 1, true},
		{"what must be there never goes", []Record{a}, nil, []Record{a}, []Record{a}, []Record{a}, 0, false},
		{"somebody removes the new record before the old one goes", []Record{a, b},
			func(s *oneName) { s.have = []Record{a} }, []Record{b}, []Record{a}, []Record{b}, 2, true},
		{"somebody adds the first record at the same time", nil, func(s *oneName) { s.have = []Record{foreign} },
			[]Record{a}, nil, []Record{foreign, a}, 2, true},
	} {
		s := &oneName{t: t, have: slices.Clone(c.have), between: c.between}
		addr := answering(t, s.reply)
		client, err := New(Options{Server: addr, Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		changed, err := client.Amend(context.Background(), Zone{Name: "example."}, tlsaName, TypeTLSA,
			Amendment{Must: c.must, Drop: c.drop})
		s.mu.Lock()
		if err != nil || changed != c.changed || s.updates != c.updates ||
			!slices.EqualFunc(s.have, c.want, Record.Same) {
			t.Errorf("%s: %v, %v after %d updates, %v", c.name, s.have, changed, s.updates, err)
		}
	}
}

// The records of a wildcard name no longer count for a name that has one of its own, so it gets all of them.
func TestAmendWildcard(t *testing.T) {
	a, b, foreign := tlsa(3, "aa"), tlsa(3, "bb"), tlsa(2, "cc")
	for _, c := range []struct{ must, drop, want []Record }{
		{[]Record{a, b}, nil, []Record{a, b, foreign}},
		{[]Record{b}, []Record{a}, []Record{b, foreign}},
		{[]Record{a}, []Record{b}, nil},
	} {
		s := &oneName{t: t, wild: []Record{a, foreign}}
		client, err := New(Options{Server: answering(t, s.reply), Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		changed, err := client.Amend(context.Background(), Zone{Name: "example."}, tlsaName, TypeTLSA,
			Amendment{Must: c.must, Drop: c.drop})
		s.mu.Lock()
		if err != nil || changed != (c.want != nil) || !slices.EqualFunc(s.have, c.want, Record.Same) {
			t.Errorf("%v, must be %v: %v, %v", s.have, c.want, changed, err)
		}
	}
}

// Where somebody else changes the records all the time, nothing is changed, and the error says so.
func TestAmendChanged(t *testing.T) {
	s := &oneName{t: t, have: []Record{tlsa(3, "aa")}}
	var n int
	var again func(*oneName)
	again = func(s *oneName) {
		n++
		s.have, s.between = []Record{tlsa(3, strings.Repeat("0a", n+1))}, again
	}
	s.between = again
	client, err := New(Options{Server: answering(t, s.reply), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	changed, err := client.Amend(context.Background(), Zone{Name: "example."}, tlsaName, TypeTLSA,
		Amendment{Must: []Record{tlsa(3, "bb")}})
	var e *Error
	s.mu.Lock()
	if changed || !errors.As(err, &e) || e.Kind != Changed || s.updates != maxAmend {
		t.Errorf("%v after %d updates, %v", changed, s.updates, err)
	}
}

// A time to live is corrected where all records are named, and left where somebody else has one too.
func TestAmendTTL(t *testing.T) {
	timed := func(data string, ttl time.Duration) Record {
		return TLSA(tlsaName, Association{3, 1, 1, data}, ttl)
	}
	a, b, old := timed("aa", time.Hour), timed("bb", time.Hour), timed("cc", time.Hour)
	day := func(r Record) Record {
		r.rr = wire.Copy(r.rr)
		r.rr.Header().Ttl = 86400
		return r
	}
	for _, c := range []struct {
		name    string
		have    []Record
		to      Amendment
		want    []Record
		updates int
	}{
		{"alone", []Record{day(a)}, Amendment{Must: []Record{a}, Retime: []Record{a}}, []Record{a}, 1},
		{"beside an old one that stays", []Record{day(a), day(old)}, Amendment{Must: []Record{a},
			Retime: []Record{a, old}}, []Record{a, old}, 1},
		{"beside an old one that goes", []Record{day(a), day(old)}, Amendment{Must: []Record{a}, Drop: []Record{old},
			Retime: []Record{a, old}}, []Record{a}, 1},
		{"with a new one", []Record{day(a)}, Amendment{Must: []Record{a, b}, Retime: []Record{a}}, []Record{a, b}, 1},
		{"right already", []Record{a}, Amendment{Must: []Record{a}, Retime: []Record{a}}, []Record{a}, 0},
		{"with one of others", []Record{day(a), day(b)}, Amendment{Must: []Record{a}, Retime: []Record{a}},
			[]Record{day(a), day(b)}, 0},
	} {
		s := &oneName{t: t, have: slices.Clone(c.have)}
		client, err := New(Options{Server: answering(t, s.reply), Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		changed, err := client.Amend(context.Background(), Zone{Name: "example."}, tlsaName, TypeTLSA, c.to)
		s.mu.Lock()
		slices.SortFunc(s.have, func(x, y Record) int { return strings.Compare(x.String(), y.String()) })
		if err != nil || changed != (c.updates > 0) || s.updates != c.updates ||
			!slices.EqualFunc(s.have, c.want, func(x, y Record) bool { return x.Same(y) && x.TTL() == y.TTL() }) {
			t.Errorf("%s: %v, %v after %d updates, %v", c.name, s.have, changed, s.updates, err)
		}
	}
}

func TestAssociation(t *testing.T) {
	r := TLSA("_25._TCP.Mail.example", Association{3, 1, 1, "ABCD"}, time.Minute)
	a, is := r.Association()
	if !is || a != (Association{3, 1, 1, "abcd"}) || r.String() != "_25._tcp.mail.example. 60 IN TLSA 3 1 1 abcd" {
		t.Errorf("%s: %+v", r, a)
	}
	if _, is := TXT("a", "b", 0).Association(); is {
		t.Error("a TXT record")
	}
}
