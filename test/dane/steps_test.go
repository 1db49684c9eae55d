package dane

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"

	"mailcertd/test/bed"
)

// published waits until the server at addr has the record of the next key, and returns the ID of that key.
func (w *world) published(addr string) (next string) {
	w.t.Helper()
	w.until(addr+" has the record of the next key", func() error {
		next = w.next()
		got, err := w.at(addr)
		if err == nil && (next == "" || !slices.Contains(got, record(next))) {
			err = fmt.Errorf("%s is not among %v", next, got)
		}
		return err
	})
	return next
}

// agreed waits until mailcertd has seen the record of the next key everywhere, and returns the ID of that key.
func (w *world) agreed() (next string) {
	w.t.Helper()
	w.soon("every server is seen to have the record", func() bool {
		c := w.memory().Changes["host"]
		next = c.Next
		return !c.Seen.IsZero()
	})
	return next
}

// changes waits until the key with that ID is installed.
func (w *world) changes(id string) {
	w.t.Helper()
	w.until("the next key is installed", func() error {
		return errorUnless(w.key("host") == id, "%s, not %s: %+v", w.key("host"), id, w.memory().Changes)
	})
}

// keeps fails the test unless the key stays for a time.
func (w *world) keeps(id string, d time.Duration) {
	w.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if w.key("host") != id {
			w.t.Fatal("the key was changed")
		}
	}
}

// soon is until for a plain condition.
func (w *world) soon(what string, met func() bool) {
	w.t.Helper()
	w.until(what, func() error { return errorUnless(met(), "not yet: %+v", w.memory().Changes) })
}

// says waits until check says all of this.
func (w *world) says(parts ...string) {
	w.t.Helper()
	w.until("check says so", func() error {
		out, _ := w.h.Run(w.mailcertd("check")...)
		said := strings.Join(strings.Fields(out), " ") // the page is wrapped
		for _, p := range parts {
			if !strings.Contains(said, p) {
				return fmt.Errorf("it does not say %q:\n%s", p, out)
			}
		}
		return nil
	})
}

// static starts a name server with that zone, "" for none: it answers SERVFAIL then.
func (w *world) static(addr, text string) *bed.NSD {
	w.t.Helper()
	z := bed.NSDZone{Name: domain, Text: text}
	if text == "" {
		z.Lines = []string{"request-xfr: 127.0.0.9 NOKEY"} // nobody answers there
	}
	return bed.NewNSD(w.t, w.h.Command, addr, z)
}

func (w *world) empty(addr string) *bed.NSD {
	w.t.Helper()
	return w.static(addr, "")
}

var secret = regexp.MustCompile(`secret "([^"]+)"`)

// deletes removes TLSA records, all of them without a parameter, with a key that may do so.
func (w *world) deletes(which ...string) {
	w.t.Helper()
	w.update(func(m *wire.Msg) {
		for _, data := range which {
			m.Remove([]wire.RR{w.rr(tlsaName + " 0 IN TLSA " + data)})
		}
		if len(which) == 0 {
			m.RemoveRRset([]wire.RR{&wire.TLSA{Hdr: wire.RR_Header{Name: tlsaName, Rrtype: wire.TypeTLSA}}})
		}
	})
}

// rr is a record, as a zone file has it.
func (w *world) rr(line string) wire.RR {
	w.t.Helper()
	rr, err := wire.NewRR(line)
	w.ok(err)
	return rr
}

// update changes the zone, with a key that may do so.
func (w *world) update(fill func(m *wire.Msg)) {
	w.t.Helper()
	m := new(wire.Msg)
	m.SetUpdate(domain + ".")
	fill(m)
	m.SetTsig("person.", wire.HmacSHA256, 300, time.Now().Unix())
	c, err := w.h.Dial("tcp", primary+":53")
	w.ok(err)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(bed.Patience))
	co := &wire.Conn{Conn: c, TsigSecret: map[string]string{"person.": secret.FindStringSubmatch(w.person)[1]}}
	w.ok(co.WriteMsg(m))
	answer, err := co.ReadMsg()
	w.ok(err)
	w.ok(errorUnless(answer.Rcode == wire.RcodeSuccess, "the update: %s", wire.RcodeToString[answer.Rcode]))
}

// zoneNow is the zone as it is, without the records of these types.
func (w *world) zoneNow(without ...uint16) string {
	w.t.Helper()
	c, err := w.h.Dial("tcp", primary+":53")
	w.ok(err)
	defer c.Close()
	m := new(wire.Msg)
	m.SetAxfr(domain + ".")
	in, err := (&wire.Transfer{Conn: &wire.Conn{Conn: c}}).In(m, "")
	w.ok(err)
	var text strings.Builder
	soas := 0
	for e := range in {
		w.ok(e.Error)
		for _, rr := range e.RR {
			if rr.Header().Rrtype == wire.TypeSOA {
				if soas++; soas > 1 {
					continue
				}
			}
			// BIND's own records about its work are of a private type.
			if t := rr.Header().Rrtype; t < 65280 && !slices.Contains(without, t) {
				text.WriteString(rr.String() + "\n")
			}
		}
	}
	return text.String()
}

// expired is the zone as it is, with signatures of the same key that have expired.
func (w *world) expired() string {
	w.t.Helper()
	file := w.primary.Path("expired")
	text := w.zoneNow(wire.TypeRRSIG, wire.TypeNSEC, wire.TypeCDS, wire.TypeCDNSKEY)
	w.ok(os.WriteFile(file, []byte(text), 0o600))
	ago := func(days int) string { return time.Now().UTC().AddDate(0, 0, -days).Format("20060102150405") }
	w.h.Must(w.t, "sh", "-ec", "cd "+w.primary.Path("")+"; dnssec-signzone -q -P -z -s "+ago(30)+" -e "+ago(2)+" -o "+
		domain+" -f expired.signed expired K"+domain+".+*.private")
	signed, err := os.ReadFile(file + ".signed")
	w.ok(err)
	return string(signed)
}
