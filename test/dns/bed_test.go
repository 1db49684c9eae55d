package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/dns"
	"mailcertd/test/bed"
)

// The addresses in the network of these tests.
const (
	primary  = "10.99.53.1" // ns1: the root, and all zones
	primary6 = "fd00:99:53::1"
	second   = "10.99.53.2" // ns2: a secondary server of some zones
	resolver = "10.99.53.3"
	deaf     = "10.99.53.8" // receives questions and never answers
	judge    = "127.0.0.53" // a resolver that checks signatures, on this host
	nobody   = "10.99.53.9" // no program listens at this address
	gone6    = "fd00:99:53::dead"
)

// world is a primary name server, a secondary one that gets no NOTIFY by itself, a resolver, and the TSIG keys.
type world struct {
	primary, second, resolver *bed.Named
	dir                       string
	keys                      map[string]string // the file of each key, by the key's name
}

// ns1 serves every one of these zones; the other servers differ from zone to zone.
const root = `$TTL 60
@ SOA ns1.example.test. root.example.test. 1 3600 600 86400 1
@ NS ns1.example.test.
example.test. NS ns1.example.test.
example.test. NS ns2.example.test.
ns1.example.test. A 10.99.53.1
ns2.example.test. A 10.99.53.2
other.test. NS ns1.example.test.
broken.test. NS ns1.example.test.
broken.test. NS ns2.example.test.
lame.test. NS ns1.example.test.
lame.test. NS ns2.example.test.
away.test. NS ns1.example.test.
away.test. NS ns9.example.test.
half.test. NS half.example.test.
fails.test. NS ns2.example.test.
signed.test. NS ns1.example.test.
forged.test. NS ns1.example.test.
`

func zoneText(servers string, records ...string) string {
	var b strings.Builder
	b.WriteString("$TTL 60\n@ SOA ns1.example.test. root.example.test. 1 3600 600 86400 600\n")
	for s := range strings.FieldsSeq(servers) {
		b.WriteString("@ NS " + s + ".example.test.\n")
	}
	for _, r := range records {
		b.WriteString(r + "\n")
	}
	return b.String()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	bed.Need(t, true, "named", "rndc", "tsig-keygen", "ip")
	if os.Getenv(apart) == "" {
		bed.Need(t, true, "a network namespace (unshare was refused)")
	}
	must(t, "ip", "link", "set", "lo", "up")
	for _, a := range []string{primary + "/32", primary6 + "/128", second + "/32", resolver + "/32", deaf + "/32",
		judge + "/32", nobody + "/32"} {
		must(t, "ip", "addr", "replace", a, "dev", "lo")
	}
	w := &world{dir: t.TempDir(), keys: map[string]string{}}
	var statements strings.Builder
	for _, name := range []string{"mail", "txtonly", "tlsaonly", "stranger"} {
		text := bed.TSIGKey(t, name+".key")
		w.file(t, name, text)
		if name != "stranger" {
			statements.WriteString(text)
		}
	}
	w.file(t, "wrong", bed.TSIGKey(t, "mail.key")) // has the name of a valid key, but another secret
	may := `update-policy { grant mail.key zonesub ANY; ` +
		`grant txtonly.key name _acme-challenge.mail.example.test TXT; ` +
		`grant tlsaonly.key name _25._tcp.mail.example.test TLSA; };`
	zone := func(name, text string) bed.NamedZone {
		return bed.NamedZone{Name: name, Text: text, Statements: "type primary; notify no; " + may}
	}
	signs := func(name string) bed.NamedZone {
		return bed.NamedZone{Name: name, Text: zoneText("ns1", "_25._tcp.mail TLSA 3 1 1 "+strings.Repeat("ab", 32)),
			Statements: "type primary; notify no; dnssec-policy default; inline-signing yes;"}
	}
	w.primary = bed.NewNamed(t, here, []string{primary, primary6}, "recursion no;", statements.String(),
		bed.NamedZone{Name: ".", Text: root, Statements: "type primary; notify no;"},
		zone("example.test", zoneText("ns1 ns2", "ns1 A "+primary, "ns1 AAAA "+primary6, "ns2 A "+second,
			"ns9 A "+nobody, "half A "+primary, "half AAAA "+gone6, "mail A 192.0.2.1", "sub NS ns1",
			"_acme-challenge.mail TXT somebody-elses",
			"_acme-challenge.www CNAME www.acme.other.test.", "_acme-challenge.round CNAME a", "a CNAME b", "b CNAME a",
			"long TXT "+strings.Repeat(`"`+strings.Repeat("x", 250)+`" `, 20))),
		zone("sub.example.test", zoneText("ns1", "back CNAME somewhere.example.test.")), zone("other.test",
			zoneText("ns1")), zone("broken.test", zoneText("ns1 ns2")),
		zone("lame.test", zoneText("ns1 ns2")), signs("signed.test"), signs("forged.test"),
		zone("away.test", zoneText("ns1 ns9")), zone("half.test", zoneText("half")))
	copied := bed.NamedZone{Name: "example.test", Statements: "type secondary; notify no; primaries { " + primary +
		"; };"}
	never := func(name string) bed.NamedZone { // a zone that is never transferred, so the secondary answers SERVFAIL
		return bed.NamedZone{Name: name, Statements: "type secondary; primaries { " + nobody + "; };"}
	}
	w.second = bed.NewNamed(t, here, []string{second}, "recursion no;", "", copied, never("broken.test"),
		never("fails.test"))
	w.resolver = bed.NewNamed(t, here, []string{resolver}, "recursion yes; allow-recursion { any; };", "",
		bed.NamedZone{Name: ".", Statements: "type hint;", Text: ". 60 NS ns1.example.test.\nns1.example.test. 60 A " +
			primary + "\n"})
	c := w.client(t, "", nil)
	bed.Wait(t, "the secondary server to have the zone", func() error {
		views, err := c.Lookup(within(t, bed.Patience), dns.Zone{Name: "example.test"}, "ns2.example.test", dns.TypeTXT)
		for _, v := range views {
			err = errors.Join(err, v.Err)
		}
		return err
	})
	return w
}

// must runs a program and fails the test where that fails.
func must(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (w *world) file(t *testing.T, name, text string) {
	t.Helper()
	w.keys[name] = filepath.Join(w.dir, name+".key")
	if err := os.WriteFile(w.keys[name], []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// client makes a client with that key, "" for none. change may alter its options.
func (w *world) client(t *testing.T, key string, change func(*dns.Options)) *dns.Client {
	t.Helper()
	o := dns.Options{Resolver: resolver, Timeout: time.Second}
	if key != "" {
		k, err := dns.ReadKey(w.keys[key])
		if err != nil {
			t.Fatal(err)
		}
		o.Key = k
	}
	if change != nil {
		change(&o)
	}
	c, err := dns.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// texts are the TXT records of name that the server at addr answers.
func texts(t *testing.T, c *dns.Client, zone dns.Zone, name, addr string) []string {
	t.Helper()
	views, err := c.Lookup(within(t, bed.Patience), zone, name, dns.TypeTXT)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range views {
		if v.Addr == net.JoinHostPort(addr, "53") {
			var out []string
			for _, r := range v.Records {
				out = append(out, r.Text())
			}
			if v.Err != nil {
				out = append(out, v.Err.Error())
			}
			return out
		}
	}
	return []string{fmt.Sprintf("no view of %s among %v", addr, views)}
}
