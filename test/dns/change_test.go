package dns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// changeStory is one way to change a key, and what is killed in it.
type changeStory struct {
	name   string
	manual bool
	pairs  int
	verb   []string // what is killed before a daemon runs; nil: the daemon is
	atOnce bool     // the key does not wait for its record: without a verb, because it is lost
	added  bool     // it is the first key of a second pair, which sendmail.cf names already
	least  int      // operations
	usual  int      // each of so many operations is tried without -every-change
}

// The program is killed before each durable operation of the change of a key, and started again. The change ends, the
// next key is made once, no resolver ever remembers records that the installed key does not fit, the record of the old
// key goes, and those of others stay.
func TestChangeKilled(t *testing.T) {
	bed.Need(t, true, "ip")
	must(t, "ip", "link", "set", "lo", "up")
	world := newSimulatedDNS(t, changeTTL/2)
	for _, c := range []changeStory{
		{"update", false, 1, nil, false, false, 60, 10},
		{"manual", true, 1, nil, false, false, 60, 15},
		{"two-pairs", false, 2, nil, false, false, 80, 20},
		{"asked", false, 1, []string{"renew", "--rekey"}, false, false, 10, 3},
		{"asked-now", false, 1, []string{"renew", "--rekey", "--now"}, true, false, 40, 10},
		{"lost", false, 1, nil, true, false, 60, 15},
		{"lost-manual", true, 1, nil, true, false, 60, 25},
		{"lost-two-pairs", false, 2, nil, true, false, 80, 25},
		{"first-key", false, 1, nil, false, true, 80, 15},
		{"first-key-manual", true, 1, nil, false, true, 80, 25},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, world)
		})
	}
}

func (c changeStory) run(t *testing.T, world *simulatedDNS) {
	bed.Kills{Least: c.least, Workers: 4, Try: func(n int, _ string) bool {
		return *everyChange || n%c.usual == 0 && (!testing.Short() || n%5 == 0)
	}}.Run(t, func(n int, env string) (bool, error) { return c.once(t, world, n, env) })
}

// once runs one change, with a program that kills itself as crash says. It returns whether it did.
func (c changeStory) once(t *testing.T, world *simulatedDNS, n int, crash string) (died bool, err error) {
	s, err := newChangeSite(t, world, fmt.Sprintf("%s-%d", c.name, n), c.manual, c.pairs)
	defer s.end()
	if err != nil {
		return false, fmt.Errorf("before the change: %w", err)
	}
	now, _ := s.keys()
	old, made := now[0], 2*c.pairs
	over := func() error { return s.complete(old, made) }
	verb := func(crash string, args ...string) (bool, error) {
		cmd := s.mailcertd(t, crash, args...)
		out, err := cmd.CombinedOutput()
		if bed.Killed(cmd.ProcessState) {
			return true, nil
		}
		if err != nil {
			err = fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
		}
		return false, err
	}
	killedFirst, then := func() (bool, error) { return s.daemon(t, crash, over) }, func() error { return nil }
	switch {
	case c.added:
		old, made, err = "", 2, s.addPair(fmt.Sprintf("%s-%d", c.name, n))
	case c.verb == nil && c.atOnce:
		for _, pair := range s.pairs {
			err = errors.Join(err, os.Remove(filepath.Join(s.root, "etc/mail/certs", pair+".key")))
		}
	case c.verb == nil:
		_, err = verb("", "renew", "--rekey")
	default:
		killedFirst, then = func() (bool, error) { return verb(crash, c.verb...) }, func() error {
			if now, _ := s.keys(); now[0] != old { // the new key is installed, and the verb would make another one
				return nil
			}
			_, err := verb("", c.verb...)
			return err
		}
	}
	if err != nil {
		return false, err
	}
	died, err = killedFirst()
	if err == nil && died {
		err = then()
	}
	if err == nil {
		_, err = s.daemon(t, "", over)
	}
	if err == nil && c.added { // check would say that every user may write in /tmp, which is above the site
		err = os.Remove(filepath.Join(s.root, "etc/mail/sendmail.cf"))
	}
	if err == nil {
		err = s.well(t, c.atOnce)
	}
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(s.root, "log"))
		err = fmt.Errorf("%w\n%s", err, log)
	}
	return died, err
}

// Somebody else publishes from the middle of a change on: the change ends, and the record of the old key goes.
func TestPublisherChanges(t *testing.T) {
	bed.Need(t, true, "ip")
	must(t, "ip", "link", "set", "lo", "up")
	world := newSimulatedDNS(t, changeTTL/2)
	for _, c := range []struct{ from, to string }{{"update", "manual"}, {"update", "none"}, {"manual", "update"}} {
		t.Run(c.from+" to "+c.to, func(t *testing.T) {
			host := c.from + "-to-" + c.to
			s, err := newChangeSite(t, world, host, c.from == "manual", 1)
			defer s.end()
			ok(t, err)
			now, _ := s.keys()
			out, err := s.mailcertd(t, "", "renew", "--rekey").CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			begun := func() error {
				if c := s.memory().Changes["host"]; c.Seen.IsZero() {
					return fmt.Errorf("%+v", c)
				}
				return nil
			}
			if _, err := s.daemon(t, "", begun); err != nil {
				t.Fatal(err)
			}
			ok(t, s.configure(host, c.to))
			if !s.manual {
				s.all.Go(func() { s.person(t) })
			}
			if _, err = s.daemon(t, "", func() error { return s.complete(now[0], 2) }); err == nil {
				err = s.well(t, false)
			}
			if err != nil {
				log, _ := os.ReadFile(filepath.Join(s.root, "log"))
				t.Fatalf("%v\n%s", err, log)
			}
		})
	}
}

// A name goes from the configuration in the middle of a change. Its records stay, because mailcertd may no longer
// change them, and a person is told until they, or their whole zone, are gone.
func TestNameGoes(t *testing.T) {
	bed.Need(t, true, "ip")
	must(t, "ip", "link", "set", "lo", "up")
	world := newSimulatedDNS(t, 0)
	const former = "_25._tcp.mx.gone.test."
	s, err := newChangeSite(t, world, "stays", false, 1)
	defer s.end()
	ok(t, err)
	defer func() {
		log, _ := os.ReadFile(filepath.Join(s.root, "log"))
		t.Logf("the daemons' log:\n%s", log)
	}()
	s.names = "stays.example.test, mx.gone.test"
	ok(t, s.configure("stays", "update"))
	now, _ := s.keys()
	until := func(done func() bool) {
		t.Helper()
		if _, err := s.daemon(t, "", func() error {
			if done() {
				return nil
			}
			return fmt.Errorf("%v, %+v", world.look(former).now, s.memory())
		}); err != nil {
			t.Fatal(err)
		}
	}
	until(func() bool { return len(world.look(former).now[1]) == 1 })
	out, err := s.mailcertd(t, "", "renew", "--rekey").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	until(func() bool { return len(world.look(former).now[1]) == 2 })
	s.names = "stays.example.test"
	ok(t, s.configure("stays", "update"))
	until(func() bool { // the change is over, and the key of the old record is remembered
		now, _ := s.keys()
		m := s.memory()
		return m.Present["host"] == now[0] && len(m.Changes) == 0 && len(world.look(s.name).now[1]) == 3
	})
	told := func() string {
		out, _ := s.mailcertd(t, "", "status", "--due", "7").CombinedOutput()
		return strings.Join(strings.Fields(string(out)), "")
	}
	if has := world.look(former); len(has.gone) > 0 || !strings.Contains(told(), strings.TrimSuffix(former, ".")) ||
		!strings.Contains(told(), now[0]) {
		t.Errorf("%v; status --due says %s", has.now, told())
	}
	world.mu.Lock()
	world.gone = "gone.test."
	world.mu.Unlock()
	if out, err = s.mailcertd(t, "", "renew", "--rekey").CombinedOutput(); err != nil { // asks the DNS at once
		t.Fatalf("%v: %s", err, out)
	}
	until(func() bool { return len(s.memory().Names) == 1 })
	if strings.Contains(told(), "gone.test") {
		t.Errorf("status --due says %s", told())
	}
}
