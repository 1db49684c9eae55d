package dns

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNew(t *testing.T) {
	for server, want := range map[string]string{
		"ns1.example.org": "ns1.example.org:53", "ns1.example.org:5353": "ns1.example.org:5353",
		"192.0.2.1":    "192.0.2.1:53",
		"192.0.2.1:54": "192.0.2.1:54", "2001:db8::1": "[2001:db8::1]:53", "[2001:db8::1]": "[2001:db8::1]:53",
		"[2001:db8::1]:54": "[2001:db8::1]:54", "fe80::1%em0": "[fe80::1%em0]:53",
	} {
		if c, err := New(Options{Server: server}); err != nil || c.o.Server != want {
			t.Errorf("%s: %v, %v", server, c.o.Server, err)
		}
	}
	for _, server := range []string{":53", "a b", "ns1:0", "ns1:65536", "ns1:domain", "ns1:53:54", "https://ns1",
		"[::1]x", "a..b"} {
		if _, err := New(Options{Server: server}); err == nil || !strings.Contains(err.Error(), `"`+server+`"`) {
			t.Errorf("%s: %v", server, err)
		}
	}
	_, err := New(Options{Server: ":", Zone: "a..b", Resolver: "ns1.example.org"}) // all errors at once
	for _, want := range []string{`the DNS server ":"`, `the zone "a..b" is not a domain name`,
		`the resolver "ns1.example.org"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestResolvConf(t *testing.T) {
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.resolvConf = filepath.Join(t.TempDir(), "resolv.conf")
	for text, want := range map[string]string{
		"":       "127.0.0.1:53",
		"\x00\n": "127.0.0.1:53",
		"search a\nnameserver 192.0.2.1\nnameserver\n#nameserver 192.0.2.2\nnameserver 2001:db8::1\n" +
			"nameserver ns1\n": "192.0.2.1:53 [2001:db8::1]:53",
		strings.Repeat("nameserver 192.0.2.1\n", 9): "192.0.2.1:53 192.0.2.1:53 192.0.2.1:53",
	} {
		if err := os.WriteFile(c.resolvConf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := c.resolversNow(); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if err := os.Truncate(c.resolvConf, maxResolvConf+1); err != nil {
		t.Fatal(err)
	}
	if _, err := c.resolversNow(); err == nil {
		t.Error("a huge resolv.conf")
	}
}

// disagreeing names the servers that lack the record.
func TestDisagreeing(t *testing.T) {
	r := TXT("a.example.test", "value", 0)
	has := func(s, a string) View { return View{Server: s, Addr: a, Records: []Record{TXT(r.Name(), "x", 0), r}} }
	away := func(s, a string) View { return View{Server: s, Addr: a, Away: true, Err: errTimeout} }
	lacks := func(s, a string) View { return View{Server: s, Addr: a, Records: []Record{TXT(r.Name(), "x", 0)}} }
	broken := func(s, a string) View { return View{Server: s, Addr: a, Err: errors.New("SERVFAIL")} }
	for what, c := range map[string]struct {
		views []View
		want  []string
	}{
		"all have it":                  {[]View{has("a", "1"), has("b", "2")}, nil},
		"one address is away":          {[]View{has("a", "1"), away("a", "2"), has("b", "3")}, nil},
		"a server is away":             {[]View{has("a", "1"), away("b", "2"), away("b", "3")}, []string{"2", "3"}},
		"one address has another":      {[]View{has("a", "1"), lacks("a", "2")}, []string{"2"}},
		"one address is broken":        {[]View{has("a", "1"), broken("a", "2")}, []string{"2"}},
		"an address away, another old": {[]View{away("a", "1"), lacks("a", "2")}, []string{"1", "2"}},
		"nobody":                       {[]View{lacks("a", "1"), broken("b", "2")}, []string{"1", "2"}},
		"a server without any address": {[]View{has("a", "1"), away("b", "")}, []string{""}},
		"the name does not exist there": {[]View{has("a", "1"), {Server: "b", Addr: "2", Missing: true}},
			[]string{"2"}},
	} {
		var got []string
		for _, v := range disagreeing(c.views, r) {
			got = append(got, v.Addr)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}
