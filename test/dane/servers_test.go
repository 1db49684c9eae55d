package dane

import (
	"os"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"

	"mailcertd/test/bed"
)

// otherServers are changes of the name servers, and of the names of the records, during one change of the key.
var otherServers = []disturbance{
	{name: "a name server is added that lacks the record", run: serverComes},
	{name: "only the zone above names a server that lacks the record", run: serverAbove},
	{name: "a server that lags is a name server no longer", lags: true, run: serverGoes},
	{name: "the records are those of a wildcard name", run: wildcard},
	{name: "an alias is given up that resolvers remember", run: aliasGoes},
}

// names makes these servers those of the zone.
func (w *world) names(servers ...string) {
	w.t.Helper()
	w.update(func(m *wire.Msg) {
		for _, s := range servers { // first, because a zone keeps its last NS record
			m.Insert([]wire.RR{w.rr(domain + ". 2 IN NS " + s + "." + domain + ".")})
		}
		for _, s := range []string{"ns1", "ns2", "ns3"} {
			if !slices.Contains(servers, s) {
				m.Remove([]wire.RR{w.rr(domain + ". 0 IN NS " + s + "." + domain + ".")})
			}
		}
		m.Insert([]wire.RR{w.rr("ns3." + domain + ". 600 IN A " + third)})
	})
}

// above makes the root zone delegate to these servers.
func (w *world) above(servers ...string) {
	w.t.Helper()
	var text strings.Builder
	for line := range strings.Lines(root) {
		if !strings.HasPrefix(line, domain+". NS") {
			text.WriteString(line)
		}
	}
	text.WriteString("ns3.example.test. A " + third + "\n")
	for _, s := range servers {
		text.WriteString(domain + ". NS " + s + "." + domain + ".\n")
	}
	w.root.Stop()
	w.root = bed.NewNSD(w.t, w.h.Command, roots, bed.NSDZone{Name: ".", Text: text.String()})
}

// waitsForThird changes the key while a third server has the zone as it was before, and then gets it like the others.
func (w *world) waitsForThird(says string, make func()) {
	was, old := w.key("host"), w.static(third, w.zoneNow())
	make()
	w.rekey()
	next := w.published(second)
	w.keeps(was, 3*w.ttl)
	w.says("ns3.example.test (" + third + ":53)" + says)
	old.Stop()
	w.secondary(third, true)
	w.published(third)
	came := time.Now()
	w.changes(next)
	if took := time.Since(came); took < w.ttl {
		w.t.Errorf("the key was changed %s after the last server had the record", took)
	}
}

func serverComes(w *world) []span {
	w.waitsForThird(" does not have it", func() { w.names("ns1", "ns2", "ns3") })
	return nil
}

func serverAbove(w *world) []span {
	w.names("ns1", "ns2")
	w.waitsForThird(", which only the zone above names, does not have it", func() { w.above("ns1", "ns2", "ns3") })
	return nil
}

// A provider is left, and its server keeps the zone as it was.
func serverGoes(w *world) []span {
	was := w.key("host")
	w.rekey()
	next := w.published(primary)
	w.names("ns1")
	w.above("ns1")
	w.keeps(was, 3*w.ttl)
	w.says("ns2.example.test (" + second + ":53), which was a server of the zone, and which resolvers may still ask")
	w.second.Stop()
	w.changes(next)
	w.startSecond()
	return nil
}

// When mailcertd adds a record, those of the wildcard name no longer count for this name.
func wildcard(w *world) []span {
	w.update(func(m *wire.Msg) {
		m.RemoveRRset([]wire.RR{&wire.TLSA{Hdr: wire.RR_Header{Name: tlsaName, Rrtype: wire.TypeTLSA}}})
		m.Insert([]wire.RR{w.rr("*" + strings.TrimPrefix(tlsaName, "_25") + " 2 IN TLSA " + record(w.key("host")))})
	})
	w.judge.verifies()
	w.rekey()
	w.changes(w.published(second))
	return nil
}

// The resolver remembers the alias for half a minute, and finds only the record of the old key at its end.
func aliasGoes(w *world) []span {
	mine, err := os.ReadFile(w.h.Path("/etc/mail/tsig.key"))
	w.ok(err)
	w.edit("/etc/mail/tsig.key", string(mine), w.person) // mailcertd's own key may change only one name
	was, cname := w.key("host"), tlsaName+" 30 IN CNAME _dane."+domain+"."
	w.update(func(m *wire.Msg) {
		m.RemoveRRset([]wire.RR{&wire.TLSA{Hdr: wire.RR_Header{Name: tlsaName, Rrtype: wire.TypeTLSA}}})
		m.Insert([]wire.RR{w.rr("_dane." + domain + ". 2 IN TLSA " + record(was)), w.rr(cname)})
	})
	w.until("the resolver remembers the alias", func() error {
		out := w.h.Must(w.t, "drill", "TLSA", strings.TrimSuffix(tlsaName, "."), "@"+resolver)
		return errorUnless(strings.Contains(out, "CNAME"), "%s", out)
	})
	w.must("renew", "--rekey") // it looks at the records
	w.soon("mailcertd knows of the alias", func() bool { return w.memory().Names[0].Alias != "" })
	w.update(func(m *wire.Msg) {
		m.Remove([]wire.RR{w.rr(cname)})
		m.Insert([]wire.RR{w.rr(tlsaName + " 2 IN TLSA " + record(was))})
	})
	gone := time.Now()
	w.changes(w.published(second))
	if took := time.Since(gone); took < 30*time.Second {
		w.t.Errorf("the key was changed %s after the alias was gone", took)
	}
	return nil
}
