package faults

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// clocks are the rows of TestLeapingClock: before runs with the right clock, verbs with a clock that is wrong by so
// much. No test waits: what heals only after the clock has been wrong for a while is tested with a clock of its own in
// internal/keeper.
var clocks = []struct {
	name   string
	before string // runs with the right clock
	wrong  time.Duration
	verbs  []string
	same   bool // no file in the certs directory may change while the clock is wrong
}{
	{"first boot in 1970", "", -time.Since(time.Unix(0, 0)), []string{"ensure", "ensure"}, false},
	{"first boot 40 days ahead", "", 40 * aDay, []string{"ensure", "ensure", "renew"}, false},
	{"first boot ten years ahead", "", 3650 * aDay, []string{"ensure"}, false},
	{"40 days ahead", "$m ensure", 40 * aDay, []string{"ensure", "renew", "renew --rekey", "ca rollover --now"}, true},
	{"300 days ahead, renewal is due", "$m ensure", 300 * aDay, []string{"ensure", "renew"}, true},
	{"two years ahead, all is over", "$m ensure", 730 * aDay, []string{"ensure", "renew --rekey"}, true},
	{"past the CA's end", "$m ensure", 4000 * aDay, []string{"ensure", "renew"}, true},
	{"in 1970", "$m ensure", -time.Since(time.Unix(0, 0)), []string{"ensure", "renew"}, true},
	{"host.cert lost, 40 days ahead", "$m ensure; rm etc/mail/certs/host.cert", 40 * aDay, []string{"ensure"}, false},
	{"all lost, two years ahead", "$m ensure; rm -r etc/mail/certs/host.*", 730 * aDay, []string{"ensure"}, false},
	{"all lost, in 1970", "$m ensure; rm -r etc/mail/certs/host.*", -time.Since(time.Unix(0, 0)),
		[]string{"ensure"}, false},
}

const aDay = 24 * time.Hour

// TestLeapingClock: while the clock is wrong, what works stays as it is and what is missing is made. One ensure with
// the right clock then makes everything right.
func TestLeapingClock(t *testing.T) {
	p := build(t)
	for _, c := range clocks {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := scenario{name: c.name, before: c.before}
			root := p.start(t, s)
			was, err := see(root)
			if err != nil {
				t.Fatal(err)
			}
			for _, verb := range c.verbs {
				s.verb = verb
				e := p.do(s, p.armed, root, "MAILCERTD_CLOCK="+c.wrong.String())
				if verb != "ensure" && c.same && e.code == 0 {
					t.Errorf("%s by that clock: %s", verb, e)
				}
				now, err := see(root)
				if err != nil {
					t.Fatal(err)
				}
				if err := now.pair(); err != nil {
					t.Errorf("%s by that clock: %v", verb, err)
				}
				for name := range was.files {
					if c.same && filepath.Dir(name) == "etc/mail/certs" &&
						!bytes.Equal(was.files[name], now.files[name]) {
						t.Errorf("%s by that clock: %s is another", verb, name)
					}
				}
			}
			if e := p.run(p.plain, root, "X=", "ensure"); e.code != 0 {
				t.Errorf("ensure with the right clock: %s", e)
			}
			if err := p.after(s, root, was); err != nil {
				t.Error(err)
			}
			os.RemoveAll(root)
		})
	}
}
