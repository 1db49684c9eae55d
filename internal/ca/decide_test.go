package ca

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

func TestDecide(t *testing.T) {
	const host = "mail.example.org"
	key, other := newKey(t).Public(), newKey(t).Public()
	day := 24 * time.Hour
	// is returns a certificate of 90 days that became valid so many days ago.
	is := func(serial int64, pub crypto.PublicKey, age int, status byte, names ...string) Issued {
		if names == nil {
			names = []string{host}
		}
		from := start.Add(-time.Duration(age) * day)
		return Issued{Serial: big.NewInt(serial),
			Cert: &x509.Certificate{PublicKey: pub, DNSNames: names, NotBefore: from, NotAfter: from.Add(90 * day)},
			Row:  &Entry{Status: status, Line: int(serial)}}
	}
	ask := func(change func(*Ask)) Ask {
		a := Ask{Request: pki.Request{Public: key, CommonName: host, DNSNames: []string{host}}, Name: host, Days: 90}
		if change != nil {
			change(&a)
		}
		return a
	}
	times := func(n int, ago time.Duration) (out []time.Time) {
		for range n {
			out = append(out, start.Add(-ago))
		}
		return out
	}
	four := []Issued{is(9, key, 61, Valid), is(8, key, 62, Valid), is(7, key, 63, Valid), is(6, key, 64, Valid)}
	for _, c := range []struct {
		what   string
		issued []Issued // the newest first
		signed []time.Time
		ask    Ask
		repeat int64    // the serial of the certificate that is given again
		revoke []int64  // the serials that are revoked
		refuse []string // words of the refusal; nil means that a certificate is signed or given again
	}{
		{what: "the first", ask: ask(nil)},
		{what: "same key, same names", issued: []Issued{is(1, key, 10, Valid)}, ask: ask(nil), repeat: 1},
		{what: "same key, same names, several",
			issued: []Issued{is(3, other, 5, Revoked), is(2, key, 10, Valid), is(1, key, 20, Valid)},
			ask:    ask(nil), repeat: 2},
		{what: "one from the future", issued: []Issued{is(1, key, -40, Valid)}, ask: ask(nil)},
		{what: "one from the future, and an older one", issued: []Issued{is(2, key, -40, Valid), is(1, key, 10, Valid)},
			ask: ask(nil), repeat: 1},
		{what: "no row yet", issued: []Issued{{Serial: big.NewInt(1), Cert: is(1, key, 10, Valid).Cert}},
			ask: ask(nil), repeat: 1},
		{what: "names in another order and case", issued: []Issued{is(1, key, 10, Valid, "b.example.org", host)},
			ask: ask(func(a *Ask) {
				a.Name, a.DNSNames, a.Allowed = "MAIL.example.org.", []string{"B.Example.Org"},
					[]string{"b.example.org."}
			}), repeat: 1},
		{what: "same key, more names", issued: []Issued{is(1, key, 10, Valid)},
			ask: ask(func(a *Ask) { a.IPs, a.Allowed = []net.IP{net.IPv4(192, 0, 2, 1)}, []string{"192.0.2.1"} })},
		{what: "same key, fewer names", issued: []Issued{is(1, key, 10, Valid, host, "b.example.org")}, ask: ask(nil)},
		{what: "it holds the newest", issued: []Issued{is(2, key, 1, Valid), is(1, key, 20, Valid)},
			ask: ask(func(a *Ask) { a.Holds = big.NewInt(2) })},
		{what: "it holds an older one", issued: []Issued{is(2, key, 1, Valid), is(1, key, 20, Valid)},
			ask: ask(func(a *Ask) { a.Holds = big.NewInt(1) }), repeat: 2},
		{what: "it holds an unknown one", issued: []Issued{is(2, key, 1, Valid)},
			ask: ask(func(a *Ask) { a.Holds = big.NewInt(77) }), repeat: 2},
		{what: "it holds a revoked one, and an older one lives", issued: []Issued{is(1, key, 20, Valid)},
			ask: ask(func(a *Ask) { a.Holds, a.HoldsRow = big.NewInt(2), 2 })},
		{what: "it holds a revoked one, and a newer one lives",
			issued: []Issued{is(3, key, 1, Valid), is(1, key, 20, Valid)},
			ask:    ask(func(a *Ask) { a.Holds, a.HoldsRow = big.NewInt(2), 2 }), repeat: 3},
		{what: "it holds a revoked one, and an older one over another key lives",
			issued: []Issued{is(1, other, 20, Valid)},
			ask:    ask(func(a *Ask) { a.Holds, a.HoldsRow = big.NewInt(2), 2 })},
		{what: "it holds a revoked one, and a newer one over another key lives",
			issued: []Issued{is(3, other, 1, Valid)},
			ask:    ask(func(a *Ask) { a.Holds, a.HoldsRow = big.NewInt(2), 2 }), refuse: []string{"serial 03"}},
		{what: "last third", issued: []Issued{is(1, key, 60, Valid)}, ask: ask(nil)},
		{what: "a second before the last third", issued: []Issued{func() Issued {
			i := is(1, key, 60, Valid)
			i.Cert.NotAfter = i.Cert.NotAfter.Add(2 * time.Second)
			return i
		}()}, ask: ask(nil), repeat: 1},
		{what: "another key", issued: []Issued{is(0x2A, other, 10, Valid)}, ask: ask(nil),
			refuse: []string{host, "another key", "serial 2A", "until 2026-08-20",
				"mailcertd revoke 2A --reason superseded", "--replace"}},
		{what: "another key, by hand", issued: []Issued{is(5, other, 10, Valid)},
			ask: ask(func(a *Ask) { a.ByHand = true }), refuse: []string{"serial 05", "--replace"}},
		{what: "another key, for one of its names", issued: []Issued{is(5, other, 10, Valid, "www.example.org", host)},
			ask: ask(nil), refuse: []string{"serial 05"}},
		{what: "another key, of another host", issued: []Issued{is(5, other, 10, Valid, "www.example.org")},
			ask: ask(nil)},
		{what: "another key that it holds", issued: []Issued{is(5, other, 10, Valid)},
			ask: ask(func(a *Ask) { a.Holds = big.NewInt(5) })},
		{what: "another key that it holds, and an older one",
			issued: []Issued{is(5, other, 10, Valid), is(4, newKey(t).Public(), 20, Valid)},
			ask:    ask(func(a *Ask) { a.Holds = big.NewInt(5) })},
		{what: "another key, newer than what it holds",
			issued: []Issued{is(6, newKey(t).Public(), 5, Valid), is(5, other, 10, Valid)},
			ask:    ask(func(a *Ask) { a.Holds = big.NewInt(5) }), refuse: []string{"serial 06"}},
		{what: "another key, of another pair",
			issued: []Issued{is(6, newKey(t).Public(), 5, Valid), is(5, other, 10, Valid)},
			ask:    ask(func(a *Ask) { a.Holds, a.Also = big.NewInt(5), []*big.Int{big.NewInt(6)} })},
		{what: "another key, of which one is of another pair",
			issued: []Issued{is(7, newKey(t).Public(), 5, Valid), is(5, other, 10, Valid)},
			ask:    ask(func(a *Ask) { a.Also = []*big.Int{big.NewInt(5)} }), refuse: []string{"serial 07"}},
		{what: "four live, and another pair", issued: append([]Issued{is(10, other, 1, Valid)}, four[:3]...),
			ask: ask(func(a *Ask) { a.Holds, a.Also = big.NewInt(9), []*big.Int{big.NewInt(10)} })},
		{what: "four live, and another pair has none of them", issued: four,
			ask:    ask(func(a *Ask) { a.Holds, a.Also = big.NewInt(9), []*big.Int{big.NewInt(77)} }),
			refuse: []string{"4 valid certificates"}},
		{what: "another key, in its last third", issued: []Issued{is(5, other, 60, Valid)}, ask: ask(nil)},
		{what: "another key, revoked", issued: []Issued{is(5, other, 10, Revoked)}, ask: ask(nil)},
		{what: "another key, marked as expired", issued: []Issued{is(5, other, 10, Expired)}, ask: ask(nil)},
		{what: "another key, expired", issued: []Issued{is(5, other, 91, Valid)}, ask: ask(nil)},
		{what: "another key, ends this second", issued: []Issued{is(5, other, 90, Valid)}, ask: ask(nil)},
		{what: "another key, replaced", issued: []Issued{is(7, other, 10, Valid), is(6, other, 70, Valid),
			is(5, other, 20, Revoked), is(4, key, 60, Valid)},
			ask: ask(func(a *Ask) { a.Replace = true }), revoke: []int64{7, 6}},
		{what: "another key, of another pair", issued: []Issued{is(7, other, 10, Valid)},
			ask: ask(func(a *Ask) { a.Beside = true })},
		{what: "replaced, once more", issued: []Issued{is(8, key, 0, Valid), is(7, other, 10, Valid)},
			ask: ask(func(a *Ask) { a.Replace = true }), repeat: 8, revoke: []int64{7}},
		{what: "four live", issued: four, ask: ask(nil),
			refuse: []string{host, "4 valid certificates", "at most 4", "mailcertd revoke SERIAL"}},
		{what: "four live, by hand", issued: four, ask: ask(func(a *Ask) { a.ByHand = true })},
		{what: "four live, one of them serves", issued: append([]Issued{is(10, key, 1, Valid)}, four[:3]...),
			ask: ask(nil), repeat: 10},
		{what: "three live, one revoked, one expired",
			issued: append([]Issued{is(11, key, 1, Revoked), is(10, key, 91, Valid)}, four[:3]...), ask: ask(nil)},
		{what: "four live, of which one is replaced", issued: append([]Issued{is(10, other, 1, Valid)}, four[:3]...),
			ask: ask(func(a *Ask) { a.Replace = true }), revoke: []int64{10}},
		{what: "six a day", signed: times(6, 23*time.Hour), ask: ask(nil),
			refuse: []string{host, "6 certificates within a day", "at most 6", "tomorrow"}},
		{what: "six, one of them now", signed: times(5, time.Hour), ask: ask(func(a *Ask) { a.Signed = 1 }),
			refuse: []string{"6 certificates"}},
		{what: "five a day", signed: append(times(5, time.Hour), times(9, day)...), ask: ask(nil)},
		{what: "six a day, by hand", signed: times(6, time.Hour), ask: ask(func(a *Ask) { a.ByHand = true })},
		{what: "six a day, and one that serves", issued: []Issued{is(1, key, 1, Valid)}, signed: times(6, time.Hour),
			ask: ask(nil), repeat: 1},
		{what: "a name that is not its own", ask: ask(func(a *Ask) { a.DNSNames = []string{host, "www.example.org"} }),
			refuse: []string{`"www.example.org"`, "only for " + host}},
		{what: "an address that is not its own",
			ask:    ask(func(a *Ask) { a.IPs, a.Allowed = []net.IP{net.IPv4(192, 0, 2, 9)}, []string{"192.0.2.1"} }),
			refuse: []string{`"192.0.2.9"`, "192.0.2.1"}},
		{what: "another common name", ask: ask(func(a *Ask) { a.CommonName = "www.example.org" }),
			refuse: []string{`"www.example.org"`}},
		{what: "a subdomain is another name", ask: ask(func(a *Ask) { a.DNSNames = []string{"a." + host} }),
			refuse: []string{`"a.` + host}},
		{what: "names by hand",
			ask: ask(func(a *Ask) { a.DNSNames, a.ByHand = []string{host, "www.example.org"}, true })},
		{what: "no name at all", ask: Ask{Request: pki.Request{Public: key}},
			refuse: []string{"contains no host name"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			d, err := Decide(c.issued, c.signed, c.ask, start)
			if (err != nil) != (c.refuse != nil) || err != nil && !errors.Is(err, ErrRefused) {
				t.Fatalf("%v, want it refused: %v", err, c.refuse != nil)
			}
			for _, word := range c.refuse {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q lacks %q", err, word)
				}
			}
			if err != nil {
				return
			}
			got := int64(0)
			for _, i := range c.issued {
				if d.Repeat == i.Cert {
					got = i.Serial.Int64()
				}
			}
			if got != c.repeat {
				t.Errorf("serial %d is given again, want %d (0: a new one)", got, c.repeat)
			}
			var revoke []int64
			for _, n := range d.Revoke {
				revoke = append(revoke, n.Int64())
			}
			if !slices.Equal(revoke, c.revoke) {
				t.Errorf("revokes %v, want %v", revoke, c.revoke)
			}
			if r := d.Request; d.Repeat == nil &&
				(r.Name != host || r.Days != 90 || !pki.SamePublicKey(r.Public, key) ||
					slices.Contains(r.AltNames, host)) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A name that the CA's name constraints forbid is refused before anything is written.
func TestPreviewPermitted(t *testing.T) {
	o := options(filepath.Join(t.TempDir(), "CA"))
	o.Host, o.PermittedDomains = "mail.example.net", []string{"example.net", "Example.ORG"}
	if _, err := Init(context.Background(), &durable.Disk{}, o, rand.Reader, start); err != nil {
		t.Fatal(err)
	}
	s, err := Open(context.Background(), &durable.Disk{}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, fine := range map[string]bool{"example.net": true, "mail.example.net": true, "a.b.example.net": true,
		"www.example.org": true,
		"example.com":     false, "evilexample.net": false, "example.net.evil.com": false, "net": false} {
		ask := Ask{Request: pki.Request{Public: newKey(t).Public(), DNSNames: []string{name}}, Name: name, Days: 90}
		_, err := s.Preview(ask, start)
		if (err == nil) != fine || err != nil &&
			(!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "permitted_domains") ||
				!strings.Contains(err.Error(), name)) {
			t.Errorf("%s: %v", name, err)
		}
		before := len(s.Observed().index())
		_, _, err = s.Sign(ask, rand.Reader, start)
		if obs := s.Observed(); (err == nil) != fine || fine != (len(obs.index()) == before+1) {
			t.Errorf("%s: signed: %v, %d rows after %d", name, err, len(obs.index()), before)
		}
		// The second name counts like the first.
		ask = Ask{Request: pki.Request{Public: newKey(t).Public(),
			DNSNames: []string{"second.example.net", "x." + name}}, ByHand: true, Replace: true, Days: 90}
		if _, err := s.Preview(ask, start); (err == nil) != fine {
			t.Errorf("%s as the second name: %v", name, err)
		}
	}
}

// A name that is too long for a CN is only in the SAN, and its certificate can still be found by the name.
func TestLongName(t *testing.T) {
	o, d := made(t)
	s, err := Open(context.Background(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	long := strings.Repeat("a", 60) + ".example.org"
	ask := func(name string) Ask {
		return Ask{Request: pki.Request{Public: newKey(t).Public(), DNSNames: []string{name}}, Name: name, Days: 90}
	}
	first := ask(long)
	c, again, err := s.Sign(first, rand.Reader, start)
	if err != nil || again || c.Subject.CommonName != "" || !slices.Equal(c.DNSNames, []string{long}) ||
		len(c.Subject.Names) == 0 {
		t.Fatalf("%v, again %v: %+v", err, again, c)
	}
	if r, again, err := s.Sign(first, rand.Reader, start); err != nil || !again || !r.Equal(c) {
		t.Errorf("the same request: %v, again %v", err, again)
	}
	if _, _, err := s.Sign(ask(long), rand.Reader, start); !errors.Is(err, ErrRefused) {
		t.Errorf("another key: %v", err)
	}
	if _, _, err := s.Sign(ask("b"+long[1:]), rand.Reader, start); err != nil { // this adds a row with the same subject
		t.Errorf("another long name: %v", err)
	}
	if n, err := Which(s.Observed(), long, start); err != nil || n.Cmp(c.SerialNumber) != 0 {
		t.Errorf("by its name: %v, %v", n, err)
	}
	if err := s.Revoke(c.SerialNumber, "", start); err != nil {
		t.Fatal(err)
	}
	if n, err := Which(s.Observed(), long, start); err != nil || n.Cmp(c.SerialNumber) != 0 {
		t.Errorf("by its name when it is revoked: %v, %v", n, err)
	}
	exact := strings.Repeat("a", 52) + ".example.org" // 64 octets
	if c, _, err := s.Sign(ask(exact), rand.Reader, start); err != nil || c.Subject.CommonName != exact {
		t.Errorf("64 octets: %v, CN %q", err, c.Subject.CommonName)
	}
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
}

// A further name is refused if it belongs to another host: if it is this host's name, a member's name, or the first
// name of a valid certificate.
func TestTaken(t *testing.T) {
	o, d := made(t)
	if err := Members(context.Background(), d, o.Dir,
		Enrol("dhcp.example.org", []string{"boot.example.org"}, start)); err != nil {
		t.Fatal(err)
	}
	sign := func(name string, alt ...string) (*x509.Certificate, error) {
		s, err := Open(context.Background(), d, o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ask := Ask{Request: pki.Request{Public: newKey(t).Public(), DNSNames: append([]string{name}, alt...)},
			Name: name, ByHand: true, Replace: true, Days: 365}
		c, _, err := s.Sign(ask, rand.Reader, start)
		return c, err
	}
	gone, err := sign("gone.example.org")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sign("www.example.org", "mail-alias.example.org"); err != nil {
		t.Fatal(err)
	}
	withCRL(t, d, o, "", gone.SerialNumber.Int64())
	for _, c := range []struct {
		name string
		alt  []string
		says string // "" means that it is signed
	}{
		{"a.example.org", []string{"mail-alias.example.org", "192.0.2.7"}, ""}, // two hosts may share such a name
		{"a.example.org", []string{"gone.example.org"}, ""},
		{"a.example.org", []string{"www.example.org"}, "serial 02"},
		{"a.example.org", []string{"b.example.org", "WWW.example.org"}, "serial 02"},
		{"a.example.org", []string{"mail.example.org"}, "this host"},
		{"a.example.org", []string{"dhcp.example.org"}, "another member"},
		{"a.example.org", []string{"boot.example.org"}, ""}, // this is not the own name of any host
		{"www.example.org", []string{"mail-alias.example.org"}, ""},
		{"dhcp.example.org", []string{"boot.example.org"}, ""},
	} {
		before := len(Observe(o.Dir, Filter{}).index())
		_, err := sign(c.name, c.alt...)
		if (err == nil) != (c.says == "") || err != nil &&
			(!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s, %v: %v, want %q", c.name, c.alt, err, c.says)
		}
		if n := len(Observe(o.Dir, Filter{}).index()) - before; (n == 1) != (c.says == "") {
			t.Errorf("%s, %v: %d rows more", c.name, c.alt, n)
		}
	}
	// A host may get a name again that its certificate has already, as in a CA made by hand.
	if _, err := Issue(context.Background(), d, o,
		Request{Public: newKey(t).Public(), Name: "old.example.org", AltNames: []string{"www.example.org"}, Days: 90},
		rand.Reader, start); err != nil {
		t.Fatal(err)
	}
	if _, err := sign("old.example.org", "www.example.org"); err != nil {
		t.Error(err)
	}
}
