package given

import (
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/dane"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// Publishes configures who publishes the TLSA records.
func Publishes(mode dane.Mode) Fact {
	return Configured(func(c *config.Config) {
		c.DANE.Publish = string(mode)
		if mode == dane.Update {
			c.DNS.Server = "192.0.2.53"
		}
	})
}

// TLSAOf is the record 3 1 1 of the key of that label, with a time to live of an hour.
func TLSAOf(key string) dane.Record { return dane.RecordOf(pki.KeyFingerprint(public(key)), time.Hour) }

// InDNS has these TLSA records on both name servers, as a look a minute ago has seen. They are signed.
func InDNS(records ...dane.Record) Fact { return InDNSOf(records, records) }

// InDNSOf is InDNS with other records on the secondary name server.
func InDNSOf(first, second []dane.Record) Fact {
	return later(func(h *host) {
		h.saw(dane.Name{Name: TLSA, Zone: "home.example.", Signed: dane.SignedYes, Servers: []dane.Server{
			{Name: "ns1.home.example.", Addr: "192.0.2.53:53", Records: first},
			{Name: "ns2.home.example.", Addr: "192.0.2.54:53", Records: second}}})
	})
}

// saw notes a look a minute ago, and the installed keys of a host that has had records for long.
func (h *host) saw(n dane.Name) {
	m := h.Seen.State.DANE.Saw(dane.Look{At: h.Now.Add(-time.Minute), Names: []dane.Name{n}})
	if k := h.Seen.Certs.Key.Key.Public; k != nil && m.Present == nil {
		m.Present = map[string]string{"host": pki.KeyFingerprint(k)}
	}
	h.Seen.State.DANE = m
}

// Signatures changes what the resolver says of the records.
func Signatures(s dane.Signed, why string) Fact {
	return later(func(h *host) {
		n := h.Seen.State.DANE.Names[0]
		n.Signed, n.SignedWhy = s, why
		h.saw(n)
	})
}

// DNSSilent has failed to look at the records for so long.
func DNSSilent(d time.Duration) Fact {
	return later(func(h *host) {
		no := dane.Look{At: h.Now.Add(-d), Names: []dane.Name{{Name: TLSA, Err: "no resolver answers"}}}
		h.Seen.State.DANE = h.Seen.State.DANE.Saw(no)
		no.At = h.Now.Add(-time.Minute)
		h.Seen.State.DANE = h.Seen.State.DANE.Saw(no)
	})
}

// DNSNeverAsked has not looked at the records yet.
func DNSNeverAsked() Fact { return later(func(h *host) { h.Seen.State.DANE = dane.Memory{} }) }

// KeyChange has begun to change the key of the host's pair two hours ago. next is the label of the next key, "" while
// it is not made. Every name server has had its record for so long; negative: not every one has it.
func KeyChange(why dane.Why, next string, seen time.Duration) Fact {
	return KeyChangeOf(certdir.Host, why, next, seen)
}

// KeyChangeOf is KeyChange for a pair.
func KeyChangeOf(p certdir.Pair, why dane.Why, next string, seen time.Duration) Fact {
	return later(func(h *host) {
		c := dane.Change{Why: why, Since: h.Now.Add(-2 * time.Hour)}
		if next != "" {
			c.Next, c.Made = pki.KeyFingerprint(public(next)), h.Now.Add(-2*time.Hour)
		}
		if seen >= 0 {
			c.Seen, c.Agreed, c.Waited = h.Now.Add(-seen), h.Now.Add(-time.Minute), int(seen/time.Second)
		}
		m := h.Seen.State.DANE.Clone()
		m.Changes = map[string]dane.Change{p.Name: c}
		h.Seen.State.DANE = m
	})
}

// NoKeyKnown is a state that remembers no key, as a new one does.
func NoKeyKnown() Fact { return later(func(h *host) { h.Seen.State.DANE.Present = nil }) }

// KeyBefore is a key that was replaced so long ago.
func KeyBefore(label string, ago time.Duration) Fact {
	return later(func(h *host) {
		m := h.Seen.State.DANE.Clone()
		m.Old = append(m.Old, dane.Old{Pair: "host", Key: pki.KeyFingerprint(public(label)), Since: h.Now.Add(-ago)})
		h.Seen.State.DANE = m
	})
}

// Known is a record of another key that every name server has had for so long.
func Known(label string, d time.Duration) Fact {
	return later(func(h *host) {
		m := h.Seen.State.DANE.Clone()
		m.Known = map[string]dane.Known{pki.KeyFingerprint(public(label)): {Seen: h.Now.Add(-d),
			Agreed: h.Now.Add(-time.Minute), Waited: int(d / time.Second)}}
		h.Seen.State.DANE = m
	})
}

// RekeyNow asks for a new key at once.
func RekeyNow() Fact {
	return Wish(func(w *plan.Wish) { w.Renew, w.Rekey, w.Now, w.Once = true, true, true, true })
}

// RekeyedNow has used a new key at once in place of the one of that label, as a person asked for.
func RekeyedNow(label string) Fact {
	return Wish(func(w *plan.Wish) {
		w.Renew, w.Rekey, w.Now, w.Once = true, true, true, true
		w.From, w.FromKey = "", pki.KeyFingerprint(public(label))
	})
}

// WholeCert is the record 3 0 1 of the installed certificate.
func WholeCert() Fact {
	return later(func(h *host) {
		leaf := h.Seen.Certs.Cert.File.Certs[0]
		r := dane.Record{Usage: 3, Selector: 0, Matching: 1, Data: pki.Fingerprint(leaf), TTL: 3600}
		h.saw(dane.Name{Name: TLSA, Signed: dane.SignedYes, Servers: []dane.Server{{Name: "ns1.home.example.",
			Records: []dane.Record{r}}}})
	})
}

// NamesCA is the record 2 1 1 of a CA, and beside it these.
func NamesCA(beside ...dane.Record) Fact {
	return InDNS(append(beside, dane.Record{Usage: 2, Selector: 1, Matching: 1, Data: strings.Repeat("ca", 32),
		TTL: 3600})...)
}

// TLSAFor configures the names of the TLSA records, and their time to live.
func TLSAFor(ttl time.Duration, names ...string) Fact {
	return Configured(func(c *config.Config) { c.DANE.Names, c.DANE.TTL = names, ttl })
}

// FormerName has these TLSA records at a name that is no longer configured, as a look a minute ago has seen.
func FormerName(records ...dane.Record) Fact {
	return later(func(h *host) {
		m := h.Seen.State.DANE.Clone()
		m.Names = append(m.Names, dane.Name{Name: "_25._tcp.old.home.example.", At: m.Looked,
			Servers: []dane.Server{{Name: "ns1.home.example.", Records: records}}})
		h.Seen.State.DANE = m
	})
}

// GaveUp has given up the change to the key of that label an hour ago.
func GaveUp(label string) Fact {
	return later(func(h *host) {
		m := h.Seen.State.DANE.Clone()
		m.Old = append(m.Old, dane.Old{Pair: "host", Key: pki.KeyFingerprint(public(label)),
			Since: h.Now.Add(-time.Hour), Unused: true})
		h.Seen.State.DANE = m
	})
}
