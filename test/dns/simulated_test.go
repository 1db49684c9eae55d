package dns

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"mailcertd/internal/dane"
)

// The addresses of the simulated servers. The resolver is on this host, so that its AD flag is believed.
const (
	simulatedFirst    = "127.53.0.1"
	simulatedSecond   = "127.53.0.2"
	simulatedResolver = "127.53.0.3"
	simulatedKey      = "simulated.key."
	simulatedSecret   = "c2ltdWxhdGVkIHNlY3JldCBvZiB0aGUgdGVzdHMgYWxvbmU="
)

// simulatedDNS is a zone, example.test, on two name servers, and a resolver that calls every answer signed. The second
// name server follows the first one after lag. Unlike BIND it knows the moment of every change, so that what a resolver
// may remember can be worked out to the millisecond. mu guards the fields below it.
type simulatedDNS struct {
	lag   time.Duration
	mu    sync.Mutex
	names map[string]*simulatedName
	gone  string // a zone that does not exist any more
}

// simulatedName is the TLSA records of one name.
type simulatedName struct {
	now   [2][]dane.Record // at each server
	since [2]time.Time
	past  []episode       // what the servers had, and until when
	ever  map[string]bool // the data of each record that was there
	gone  []dane.Record   // records that were removed
}

// episode is what one server had until a moment.
type episode struct {
	records     []dane.Record
	from, until time.Time
}

func newSimulatedDNS(t *testing.T, lag time.Duration) *simulatedDNS {
	t.Helper()
	d := &simulatedDNS{lag: lag, names: map[string]*simulatedName{}}
	for i, addr := range []string{simulatedFirst, simulatedSecond, simulatedResolver} {
		handler := wire.HandlerFunc(func(w wire.ResponseWriter, q *wire.Msg) { _ = w.WriteMsg(d.reply(i, w, q)) })
		secrets := map[string]string{simulatedKey: simulatedSecret}
		packets, err := net.ListenPacket("udp", addr+":53")
		ok(t, err)
		stream, err := net.Listen("tcp", addr+":53")
		ok(t, err)
		for _, s := range []*wire.Server{{PacketConn: packets}, {Listener: stream}} {
			s.Handler, s.TsigSecret = handler, secrets
			s.MsgAcceptFunc = func(wire.Header) wire.MsgAcceptAction { return wire.MsgAccept } // updates too
			go func() { _ = s.ActivateAndServe() }()
			t.Cleanup(func() { _ = s.Shutdown() })
		}
	}
	return d
}

func (d *simulatedDNS) name(name string) *simulatedName {
	n := d.names[name]
	if n == nil {
		n = &simulatedName{ever: map[string]bool{}}
		d.names[name] = n
	}
	return n
}

// reply answers a question to one of the three addresses.
func (d *simulatedDNS) reply(at int, w wire.ResponseWriter, q *wire.Msg) *wire.Msg {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := new(wire.Msg)
	m.SetReply(q)
	m.Authoritative, m.RecursionAvailable, m.AuthenticatedData = at < 2, at == 2, at == 2
	if q.Opcode == wire.OpcodeUpdate {
		m.Rcode = wire.RcodeRefused
		if t := q.IsTsig(); at == 0 && t != nil && w.TsigStatus() == nil {
			m.Rcode = d.update(q)
			m.SetTsig(t.Hdr.Name, t.Algorithm, 300, time.Now().Unix())
		}
		return m
	}
	about := q.Question[0]
	labels := wire.SplitDomainName(about.Name)
	zone := strings.Join(labels[max(0, len(labels)-2):], ".") + "." // each of them has two labels
	if zone == d.gone || len(labels) < 2 {
		m.Rcode, m.Ns = wire.RcodeNameError, []wire.RR{rr(". 60 SOA a.test. root.test. 1 3600 600 86400 1")}
		return m
	}
	soa := rr(zone + " 60 SOA ns1.example.test. root.example.test. 1 3600 600 86400 1")
	switch about.Qtype {
	case wire.TypeSOA:
		if m.Ns = []wire.RR{soa}; about.Name == zone {
			m.Answer, m.Ns = m.Ns, nil
		}
	case wire.TypeNS:
		m.Answer = []wire.RR{rr(zone + " 60 NS ns1.example.test."), rr(zone + " 60 NS ns2.example.test.")}
	case wire.TypeA:
		for name, addr := range map[string]string{"ns1": simulatedFirst, "ns2": simulatedSecond} {
			if about.Name == name+".example.test." {
				m.Answer = []wire.RR{rr(about.Name + " 60 A " + addr)}
			}
		}
	case wire.TypeTLSA:
		for _, r := range d.name(about.Name).now[at%2] {
			m.Answer = append(m.Answer, rr(r.Line(about.Name)))
		}
	default:
		m.Ns = []wire.RR{soa}
	}
	return m
}

func rr(line string) wire.RR {
	r, err := wire.NewRR(line)
	if err != nil {
		panic(err)
	}
	return r
}

// update carries out an update at the first server, all of it or nothing (RFC 2136).
func (d *simulatedDNS) update(q *wire.Msg) (rcode int) {
	of := func(r wire.RR) dane.Record {
		t := r.(*wire.TLSA)
		return dane.Record{Usage: t.Usage, Selector: t.Selector, Matching: t.MatchingType,
			Data: strings.ToLower(t.Certificate), TTL: int(t.Hdr.Ttl)}
	}
	if len(q.Ns) == 0 {
		return wire.RcodeSuccess
	}
	name := q.Ns[0].Header().Name
	have := slices.Clone(d.name(name).now[0])
	used := 0
	for _, r := range q.Answer {
		switch {
		case r.Header().Class == wire.ClassNONE && len(have) > 0:
			return wire.RcodeYXRrset
		case r.Header().Class == wire.ClassINET && !slices.ContainsFunc(have, of(r).Same):
			return wire.RcodeNXRrset
		case r.Header().Class == wire.ClassINET:
			used++
		}
	}
	if used > 0 && used != len(have) {
		return wire.RcodeNXRrset
	}
	for _, r := range q.Ns {
		have = slices.DeleteFunc(have, of(r).Same)
		if r.Header().Class == wire.ClassINET {
			have = append(have, of(r))
		}
	}
	d.set(name, have)
	return wire.RcodeSuccess
}

// set changes the records at the first server, and later at the second one.
func (d *simulatedDNS) set(name string, records []dane.Record) {
	d.put(0, name, records)
	time.AfterFunc(d.lag, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.put(1, name, d.name(name).now[0])
	})
}

func (d *simulatedDNS) put(server int, name string, records []dane.Record) {
	n, now := d.name(name), time.Now()
	for _, r := range n.now[server] {
		if !slices.ContainsFunc(records, r.Same) {
			n.gone = append(n.gone, r)
		}
	}
	for _, r := range records {
		n.ever[r.Data] = true
	}
	n.past = append(n.past, episode{n.now[server], n.since[server], now})
	n.now[server], n.since[server] = slices.Clone(records), now
}

// edit lets a person change the records of a name.
func (d *simulatedDNS) edit(name string, change func([]dane.Record) []dane.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if have := d.name(name).now[0]; !slices.Equal(have, change(slices.Clone(have))) {
		d.set(name, change(slices.Clone(have)))
	}
}

// look returns a copy of what is known of a name.
func (d *simulatedDNS) look(name string) simulatedName {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := *d.name(name)
	n.past, n.gone = slices.Clone(n.past), slices.Clone(n.gone)
	return n
}

// used is a key that was installed from one moment to another.
type used struct {
	key         string // its ID
	from, until time.Time
}

// refuses says when a resolver may have remembered records that the installed key did not fit, nil if never after
// since. Records of other usages count as none, because the CAs in them are not this host's.
func (n simulatedName) refuses(keys []used, since time.Time) error {
	end := time.Now()
	for server := range n.now {
		n.past = append(n.past, episode{n.now[server], n.since[server], end})
	}
	for _, k := range keys {
		if k.from.Before(since) {
			k.from = since
		}
		fits := dane.RecordOf(k.key, 0)
		for _, p := range n.past {
			ttl := 0
			for _, r := range p.records {
				ttl = max(ttl, r.TTL)
			}
			named := slices.ContainsFunc(p.records, func(r dane.Record) bool { return r.NamesLeaf() })
			remembered := p.until.Add(time.Duration(ttl) * time.Second)
			if named && !slices.ContainsFunc(p.records, fits.Same) && k.from.Before(remembered) &&
				k.until.After(p.from) && k.until.After(since) {
				return fmt.Errorf("from %s on the key was %.8s, and until %s a resolver may have remembered %v",
					clock(k.from), k.key, clock(remembered), p.records)
			}
		}
	}
	return nil
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }
