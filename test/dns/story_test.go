package dns

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"mailcertd/internal/dns"
	"mailcertd/test/bed"
)

const (
	challenge = "_acme-challenge.mail.example.test."
	value     = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
)

// The servers take seconds to start, so all stories use one world, and each leaves it as it was.
func TestDNS(t *testing.T) {
	w := newWorld(t)
	for _, s := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"a zone is found by its SOA record", zones},
		{"a record is added beside others', and removed", addRemove},
		{"a key that may change one name alone", oneName},
		{"keys and clocks that are wrong", wrongKeys},
		{"a server that does not serve the zone", wrongServer},
		{"CNAME records are followed to another zone", aliases},
		{"a CNAME record that is new", newAlias},
		{"an answer that is too long for UDP", long},
		{"a server that answers SERVFAIL", broken},
		{"a server that does not serve its zone", lame},
		{"a server that does not run", away},
		{"a server that answers at one of its addresses", half},
		{"no resolver, no server", nothing},
		{"/etc/resolv.conf", resolvConf},
		{"what a resolver says of signatures", validated},
		{"the time to live of records that are there", retimed},
		{"a key is changed with its TLSA records", keyChange},
		{"a secondary server that lags", lagging}, // must be the last one, because it stops servers
	} {
		t.Run(s.name, func(t *testing.T) { s.run(t, w) })
	}
}

// wants checks the kind and the text of an error, and that no secret of a key is in it.
func (w *world) wants(t *testing.T, err error, kind dns.Kind, says ...string) {
	t.Helper()
	var e *dns.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Errorf("want %s, got %v", kind, err)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
	for _, file := range w.keys {
		data, rerr := os.ReadFile(file)
		if rerr != nil {
			t.Fatal(rerr)
		}
		if secret := strings.Split(string(data), `"`)[3]; strings.Contains(err.Error(), secret) {
			t.Errorf("%q contains a secret", err)
		}
	}
	t.Log(err)
}

func place(t *testing.T, c *dns.Client, name string) dns.Place {
	t.Helper()
	p, err := c.Place(within(t, bed.Patience), name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func zones(t *testing.T, w *world) {
	c := w.client(t, "", nil)
	for name, want := range map[string]string{
		"mail.example.test": "example.test.", "Mail.Example.Test.": "example.test.", challenge: "example.test.",
		"a.b.c.d.example.test": "example.test.", "example.test": "example.test.",
		"_acme-challenge.www.example.test": "example.test.", "www.acme.other.test": "other.test.",
		"mail.sub.example.test": "sub.example.test.", "back.sub.example.test": "sub.example.test.",
	} {
		z, err := c.Zone(within(t, bed.Patience), name)
		if err != nil || z.Name != want || z.Primary != "ns1.example.test." {
			t.Errorf("%s: %+v, %v", name, z, err)
		}
	}
	_, err := c.Zone(within(t, bed.Patience), "mail.nowhere.invalid")
	w.wants(t, err, dns.NoZone, "mail.nowhere.invalid", "no SOA record")
	_, err = c.Zone(within(t, bed.Patience), "mail.fails.test")
	w.wants(t, err, dns.NoZone, "mail.fails.test", "SERVFAIL")
	c = w.client(t, "", func(o *dns.Options) { o.Zone = "mail.example.test" })
	_, err = c.Zone(within(t, bed.Patience), challenge)
	w.wants(t, err, dns.NoZone, "dns.zone is not the name of a zone", "example.test")
}

func addRemove(t *testing.T, w *world) {
	c := w.client(t, "mail", nil)
	p := place(t, c, "_acme-challenge.MAIL.example.test")
	if p.Name != challenge || p.Zone.Name != "example.test." || len(p.Aliases) != 0 {
		t.Fatalf("%+v", p)
	}
	r, ctx := dns.TXT(p.Name, value, time.Minute), within(t, bed.Patience)
	odd := dns.TXT(p.Name, strings.Repeat(`a"b\c;`, 100)+"\x00\xff", time.Minute)
	for range 2 { // the second time changes nothing
		ok(t, c.Add(ctx, p.Zone, r))
		ok(t, c.Add(ctx, p.Zone, odd))
		if got := texts(t, c, p.Zone, p.Name, primary); len(got) != 3 || !slices.Contains(got, value) ||
			!slices.Contains(got, odd.Text()) || !slices.Contains(got, "somebody-elses") {
			t.Errorf("%q", got)
		}
	}
	for range 2 {
		ok(t, c.Remove(ctx, p.Zone, odd))
		ok(t, c.Remove(ctx, dns.Zone{Name: "example.test"}, dns.TXT(strings.TrimSuffix(p.Name, "."), value, 0)))
		if got := texts(t, c, p.Zone, p.Name, primary); !slices.Equal(got, []string{"somebody-elses"}) {
			t.Errorf("%q", got)
		}
	}
}

func oneName(t *testing.T, w *world) {
	c, ctx := w.client(t, "txtonly", nil), within(t, bed.Patience)
	p := place(t, c, challenge)
	ok(t, c.Add(ctx, p.Zone, dns.TXT(p.Name, value, 0)))
	ok(t, c.Remove(ctx, p.Zone, dns.TXT(p.Name, value, 0)))
	w.wants(t, c.Add(ctx, p.Zone, dns.TXT("mail.example.test", value, 0)), dns.Refused, primary+":53",
		"example.test",
		"txtonly.key (hmac-sha256)", "grant txtonly.key name mail.example.test TXT")
}

func wrongKeys(t *testing.T, w *world) {
	ctx := within(t, bed.Patience)
	hour := func(h time.Duration) func(*dns.Options) {
		return func(o *dns.Options) { o.Now = func() time.Time { return time.Now().Add(h * time.Hour) } }
	}
	for _, c := range []struct {
		key    string
		change func(*dns.Options)
		kind   dns.Kind
		says   string
	}{
		{"wrong", nil, dns.BadSig, "BADSIG"}, {"stranger", nil, dns.BadKey, "BADKEY"},
		{"mail", hour(-2), dns.BadTime, "BADTIME"}, {"mail", hour(2), dns.BadTime, ": there it is 20"},
		{"", nil, dns.Refused, "not signed"},
	} {
		client := w.client(t, c.key, c.change)
		p := place(t, client, challenge)
		w.wants(t, client.Add(ctx, p.Zone, dns.TXT(p.Name, value, 0)), c.kind, c.says, ":53", "zone example.test")
	}
	c := w.client(t, "", nil)
	if got := texts(t, c, dns.Zone{Name: "example.test"}, challenge, primary); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

func wrongServer(t *testing.T, w *world) {
	ctx := within(t, bed.Patience)
	c := w.client(t, "", func(o *dns.Options) { o.Server = second })
	w.wants(t, c.Add(ctx, dns.Zone{Name: "other.test."}, dns.TXT("a.other.test", value, 0)), dns.NotAuth, second,
		"other.test",
		"set dns.server to the primary server")
	c = w.client(t, "mail", func(o *dns.Options) { o.Server = second }) // it serves the zone, and forwards no updates
	p := place(t, c, challenge)
	w.wants(t, c.Add(ctx, p.Zone, dns.TXT(p.Name, value, 0)), dns.Refused, second,
		"if it is a secondary server, set dns.server to the primary one, ns1.example.test")
	c = w.client(t, "mail", func(o *dns.Options) { o.Server = "[" + primary6 + "]:53" })
	w.wants(t, c.Add(ctx, dns.Zone{Name: "other.test."}, dns.TXT("a.example.test", value, 0)), dns.NotAuth, primary6,
		"NOTZONE")
}

func aliases(t *testing.T, w *world) {
	c, ctx := w.client(t, "mail", nil), within(t, bed.Patience)
	p := place(t, c, "_acme-challenge.www.example.test")
	if p.Name != "www.acme.other.test." || p.Zone.Name != "other.test." ||
		!slices.Equal(p.Aliases, []string{"_acme-challenge.www.example.test."}) {
		t.Fatalf("%+v", p)
	}
	r := dns.TXT(p.Name, value, 0)
	ok(t, c.Add(ctx, p.Zone, r))
	ok(t, c.Wait(ctx, p.Zone, r))
	ok(t, c.Remove(ctx, p.Zone, r))
	_, err := c.Place(ctx, "_acme-challenge.round.example.test")
	w.wants(t, err, dns.Aliases, "a.example.test -> b.example.test -> a.example.test")
	c = w.client(t, "mail", func(o *dns.Options) { o.Zone = "other.test" })
	_, err = c.Place(ctx, challenge)
	w.wants(t, err, dns.NoZone, "the name is outside of dns.zone, other.test", "(zone example.test)")
	c = w.client(t, "mail", func(o *dns.Options) { o.Zone = "example.test" })
	_, err = c.Place(ctx, "_acme-challenge.www.example.test")
	w.wants(t, err, dns.Aliases, "outside of dns.zone, example.test", "-> www.acme.other.test")
}

func long(t *testing.T, w *world) {
	c := w.client(t, "", nil)
	for _, addr := range []string{primary, primary6, second} {
		if got := texts(t, c, dns.Zone{Name: "example.test"}, "long.example.test", addr); len(got) != 1 ||
			got[0] != strings.Repeat("x", 5000) {
			t.Errorf("%s: %.80q", addr, got)
		}
	}
}

// A CNAME record that was made a moment ago is found, although the resolver still remembers that there was none.
func newAlias(t *testing.T, w *world) {
	c, ctx := w.client(t, "mail", nil), within(t, bed.Patience)
	const name = "_acme-challenge.new.example.test."
	ask := new(wire.Msg)
	ask.SetQuestion(name, wire.TypeCNAME)
	if m, err := wire.Exchange(ask, resolver+":53"); err != nil || len(m.Answer) != 0 {
		t.Fatal(m, err)
	}
	if p := place(t, c, name); p.Name != name {
		t.Fatalf("%+v", p)
	}
	rr, err := wire.NewRR(name + " 60 CNAME new.other.test.")
	ok(t, err)
	text, err := os.ReadFile(w.keys["mail"])
	ok(t, err)
	m := new(wire.Msg)
	m.SetUpdate("example.test.")
	m.Insert([]wire.RR{rr})
	m.SetTsig("mail.key.", wire.HmacSHA256, 300, time.Now().Unix())
	if m, _, err = (&wire.Client{TsigSecret: map[string]string{"mail.key.": strings.Split(string(text), `"`)[3]}}).
		ExchangeContext(ctx, m, primary+":53"); err != nil || m.Rcode != wire.RcodeSuccess {
		t.Fatal(m, err)
	}
	w.second.Control(t, "retransfer", "example.test")
	bed.Wait(t, "the secondary server to follow", func() error {
		views, err := c.Lookup(ctx, dns.Zone{Name: "example.test"}, name, dns.TypeTXT)
		for _, v := range views {
			if v.Alias == "" {
				err = errors.Join(err, errors.New(v.String()))
			}
		}
		return err
	})
	if m, err := wire.Exchange(ask, resolver+":53"); err != nil || len(m.Answer) != 0 {
		t.Errorf("the resolver has forgotten the missing record, so this story proves nothing: %v, %v", m, err)
	}
	if p := place(t, c, name); p.Name != "new.other.test." || p.Zone.Name != "other.test." {
		t.Errorf("%+v", p)
	}
}

// waits adds a record to a zone and waits at most d until every server has it.
func (w *world) waits(t *testing.T, c *dns.Client, zone string, d time.Duration) error {
	t.Helper()
	z, r := dns.Zone{Name: zone}, dns.TXT("_acme-challenge."+zone, value, 0)
	ok(t, c.Add(within(t, bed.Patience), z, r))
	err := c.Wait(within(t, d), z, r)
	ok(t, c.Remove(within(t, bed.Patience), z, r))
	return err
}

func broken(t *testing.T, w *world) {
	err := w.waits(t, w.client(t, "mail", nil), "broken.test", 2*time.Second)
	w.wants(t, err, dns.Disagree, "ns2.example.test ("+second+":53): SERVFAIL", "zone broken.test")
	if strings.Contains(err.Error(), "ns1") || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func lame(t *testing.T, w *world) {
	w.wants(t, w.waits(t, w.client(t, "mail", nil), "lame.test", 2*time.Second), dns.Disagree,
		"ns2.example.test ("+second+":53): REFUSED")
}

func away(t *testing.T, w *world) {
	w.wants(t, w.waits(t, w.client(t, "mail", nil), "away.test", 2*time.Second), dns.Disagree,
		"ns9.example.test ("+nobody+":53): connection refused")
	// An update to a server that does not run, or does not answer, ends in time.
	quiet, err := net.ListenPacket("udp", deaf+":53")
	ok(t, err)
	defer quiet.Close()
	for server, says := range map[string]string{nobody: "connection refused", deaf: "no answer in time"} {
		c := w.client(t, "mail", func(o *dns.Options) { o.Server = server })
		began := time.Now()
		err := c.Add(within(t, bed.Patience), dns.Zone{Name: "example.test."}, dns.TXT(challenge, value, 0))
		w.wants(t, err, dns.NoServer, server, says, "zone example.test", "set dns.server")
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("took %s", took)
		}
	}
	c := w.client(t, "mail", func(o *dns.Options) { o.Server = "ns7.example.test" })
	w.wants(t, c.Add(within(t, bed.Patience), dns.Zone{Name: "example.test."}, dns.TXT(challenge, value, 0)),
		dns.NoServer,
		"ns7.example.test:53", "no A or AAAA record")
}

func half(t *testing.T, w *world) {
	c := w.client(t, "mail", nil)
	ok(t, w.waits(t, c, "half.test", bed.Patience))
	views, err := c.Lookup(within(t, bed.Patience), dns.Zone{Name: "half.test"}, "half.test", dns.TypeTXT)
	ok(t, err)
	if len(views) != 2 || views[0].Away == views[1].Away {
		t.Errorf("%v", views)
	}
}

func nothing(t *testing.T, w *world) {
	c := w.client(t, "mail", func(o *dns.Options) { o.Resolver = nobody })
	_, err := c.Place(within(t, bed.Patience), challenge)
	w.wants(t, err, dns.NoServer, nobody+":53: connection refused", "set dns.resolver")
	// Removing a record needs no resolver where the configured server is an address.
	c = w.client(t, "mail", func(o *dns.Options) { o.Resolver, o.Server = nobody, primary })
	ok(t, c.Remove(within(t, bed.Patience), dns.Zone{Name: "example.test."}, dns.TXT(challenge, value, 0)))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Remove(ctx, dns.Zone{Name: "example.test."}, dns.TXT(challenge, value, 0)); !errors.Is(err,
		context.Canceled) {
		t.Error(err)
	}
}

func resolvConf(t *testing.T, w *world) {
	file := w.dir + "/resolv.conf"
	ok(t, os.WriteFile(file, []byte("search example.test\nnameserver "+nobody+"\nnameserver "+resolver+"\n"), 0o644))
	must(t, "mount", "--bind", file, "/etc/resolv.conf")
	defer must(t, "umount", "/etc/resolv.conf")
	c := w.client(t, "mail", func(o *dns.Options) { o.Resolver = "" })
	if p := place(t, c, challenge); p.Zone.Name != "example.test." {
		t.Errorf("%+v", p)
	}
}

// disagrees returns the error of a Wait that was long enough to get the answer of the server that lags.
func (w *world) disagrees(t *testing.T, c *dns.Client, zone dns.Zone, r dns.Record, says string) error {
	t.Helper()
	var err error
	bed.Wait(t, "an answer of the secondary server", func() error {
		if err = c.Wait(within(t, 2*time.Second), zone, r); err == nil || strings.Contains(err.Error(), says) {
			return nil
		}
		return err
	})
	return err
}

func lagging(t *testing.T, w *world) {
	c := w.client(t, "mail", nil)
	p := place(t, c, challenge)
	r := dns.TXT(p.Name, value, time.Minute)
	ok(t, c.Add(within(t, bed.Patience), p.Zone, r))
	err := w.disagrees(t, c, p.Zone, r, "somebody-elses")
	w.wants(t, err, dns.Disagree, "ns2.example.test ("+second+`:53): "somebody-elses"`,
		"check the zone transfer from the primary server to ns2.example.test")
	var e *dns.Error
	if errors.As(err, &e) && (len(e.Views) != 1 || e.Views[0].Server != "ns2.example.test.") {
		t.Errorf("%v", e.Views)
	}
	// Then the secondary is told of the change, and Wait sees that it has the record.
	told := make(chan error, 1)
	ctx := within(t, bed.Patience)
	go func() { told <- c.Wait(ctx, p.Zone, r) }()
	select {
	case err := <-told:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(time.Second):
	}
	w.second.Control(t, "retransfer", "example.test")
	ok(t, <-told)
	// A second record is added while the secondary is stopped, and the secondary is started again.
	other := dns.TXT(p.Name, "second-"+value, 0)
	w.second.Stop()
	ok(t, c.Add(within(t, bed.Patience), p.Zone, other))
	w.wants(t, w.disagrees(t, c, p.Zone, other, "connection refused"), dns.Disagree, "ns2.example.test",
		"connection refused")
	go func() { told <- c.Wait(ctx, p.Zone, other) }()
	w.second.Start(t)
	w.second.Control(t, "retransfer", "example.test")
	ok(t, <-told)
	// A caller that gives up gets the context's reason.
	gone, cancel := context.WithCancel(context.Background())
	go func() { time.Sleep(100 * time.Millisecond); cancel() }()
	if err := c.Wait(gone, p.Zone, dns.TXT(p.Name, "never", 0)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
