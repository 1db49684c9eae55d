package dns

import (
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// Every value survives packing and unpacking, in strings of 255 octets.
func FuzzTXT(f *testing.F) {
	for _, s := range []string{"", "abc", `a"b\c`, `\065\`, "\x00\xff", strings.Repeat("x", 256), "letsencrypt.org; " +
		"accounturi=https://acme.example/acct/1; policy=wildcard"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 40000 {
			return
		}
		r := TXT("A.Example.Test", s, 90*time.Second)
		buf := make([]byte, 64<<10)
		end, err := wire.PackRR(r.rr, buf, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		rr, _, err := wire.UnpackRR(buf[:end], 0)
		if err != nil {
			t.Fatal(err)
		}
		got := Record{rr}
		if got.Text() != s || !got.Same(r) || got.Name() != "a.example.test." || got.TTL() != 90*time.Second {
			t.Errorf("%q -> %q", s, got.Text())
		}
		// The record that a person is told to add is exactly this one.
		again, err := wire.NewRR(r.String())
		if err != nil || !r.Same(Record{again}) {
			t.Errorf("%q: %v", r, err)
		}
	})
}

func TestRecord(t *testing.T) {
	r := TXT("_acme-challenge.example.test", "abc", time.Minute)
	if want := `_acme-challenge.example.test. 60 IN TXT "abc"`; r.String() != want || r.Data() != `"abc"` {
		t.Errorf("%s, %s", r, r.Data())
	}
	if r.Same(TXT("_acme-challenge.example.test", "abcd", 0)) || !r.Same(TXT("other", "abc", 0)) {
		t.Error("Same")
	}
	long := TXT("a", strings.Repeat("x", 600), 0)
	if n := len(long.rr.(*wire.TXT).Txt); n != 3 {
		t.Errorf("%d strings", n)
	}
}
