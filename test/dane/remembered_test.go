package dane

import (
	"strings"
	"testing"

	wire "github.com/miekg/dns"

	"mailcertd/internal/dane"
	"mailcertd/internal/durable"
	"mailcertd/internal/state"
)

// A resolver remembers for an hour that there was no record. Meanwhile a person publishes the first one, and asks for a
// new key: the name servers themselves say that there is one now, so the key waits.
func TestNoRecordIsRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, world{follows: true}, "type: ecdsa-p256")
	w.edit("/etc/mail/mailcertd.yaml", "publish: update", "publish: none")
	w.kill()
	w.deletes()
	w.update(func(m *wire.Msg) {
		m.Insert([]wire.RR{w.rr(domain + ". 3600 IN SOA ns1." + domain + ". root." + domain +
			". 4000000000 3600 600 86400 3600")})
	})
	w.until("the resolver remembers that there is none", func() error {
		out := w.h.Must(t, "drill", "TLSA", strings.TrimSuffix(tlsaName, "."), "@"+resolver)
		return errorUnless(strings.Contains(out, "SOA"), "%s", out)
	})
	dir := w.h.Path("/var/db/mailcertd")
	s, _ := state.Load(dir)
	s.DANE = dane.Memory{} // as if there had never been a record
	w.ok(state.Save(&durable.Disk{}, dir, s))
	w.start()
	w.soon("the DNS is asked", func() bool { return !w.memory().Looked.IsZero() })
	was := w.key("host")
	w.update(func(m *wire.Msg) { m.Insert([]wire.RR{w.rr(tlsaName + " 3600 IN TLSA " + record(was))}) })
	w.until("both name servers have it", func() error { return w.has(record(was)) })
	w.rekey()
	if w.key("host") != was {
		t.Error("the key was changed")
	}
	if m := w.memory(); m.Longest != 3600 {
		t.Errorf("%+v", m)
	}
}
