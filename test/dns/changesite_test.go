package dns

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/dane"
	"mailcertd/internal/pki"
	"mailcertd/internal/state"
	"mailcertd/test/bed"
)

var everyChange = flag.Bool("every-change", false, "TestChangeKilled kills at every durable operation, and not at a "+
	"sample of them")

// changeTTL is the time to live of the records of this test.
const changeTTL = time.Second

// changeSite is a host below --root whose TLSA records mailcertd publishes, or a person. mu guards the fields below it.
type changeSite struct {
	world   *simulatedDNS
	root    string
	name    string // of its records
	names   string // the setting dane.names
	manual  bool
	pairs   []string
	foreign []dane.Record
	begun   time.Time     // since then the records in all memories of resolvers have to fit
	stop    chan struct{} // ends those who watch
	all     sync.WaitGroup
	mu      sync.Mutex
	used    map[string][]used // the installed keys, by the names of their pairs
}

// newChangeSite makes a host with the records of others, runs its daemon until its own records are everywhere, and
// kills the daemon.
func newChangeSite(t *testing.T, w *simulatedDNS, host string, manual bool, pairs int) (*changeSite, error) {
	t.Helper()
	s := &changeSite{world: w, root: t.TempDir(), name: "_25._tcp." + host + ".example.test.", manual: manual,
		pairs: []string{"host", "host-ecdsa"}[:pairs], stop: make(chan struct{}), used: map[string][]used{}}
	s.foreign = []dane.Record{{Usage: 2, Selector: 1, Matching: 1, Data: strings.Repeat("ab", 32), TTL: 1},
		dane.RecordOf(strings.Repeat("cd", 32), changeTTL)}
	publish := "update"
	if manual {
		publish = "manual"
	}
	if err := s.configure(host, publish); err != nil {
		return s, err
	}
	w.edit(s.name, func([]dane.Record) []dane.Record { return s.foreign })
	for _, pair := range s.pairs {
		s.all.Go(func() { s.watch(pair) })
	}
	if manual {
		s.all.Go(func() { s.person(t) })
	}
	_, err := s.daemon(t, "", func() error { return s.complete("", 0) })
	time.Sleep(changeTTL)
	s.begun = time.Now()
	return s, err
}

// configure writes the configuration and the TSIG key.
func (s *changeSite) configure(host, publish string) error {
	key := "ecdsa-p256"
	if len(s.pairs) == 2 {
		key += ", second: rsa-2048"
	}
	for name, text := range map[string]string{
		"usr/local/etc/mailcertd.yaml": "host: {name: " + host + ".example.test}\nkey: {type: " + key + "}\n" +
			"client: none\ndns: {server: " + simulatedFirst + ", resolver: " + simulatedResolver +
			", key_file: /etc/tsig.key}\ndane: {publish: " + publish + ", names: [" + s.names + "], ttl: 1}\n" +
			"log: {target: stderr}\n",
		"etc/tsig.key": fmt.Sprintf("key %q { algorithm hmac-sha256; secret %q; };\n", simulatedKey, simulatedSecret),
	} {
		path := filepath.Join(s.root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// addPair writes a sendmail.cf that names two pairs, and configures the second one.
func (s *changeSite) addPair(host string) error {
	certs := filepath.Join(s.root, "etc/mail/certs") + "/"
	cf := "O ServerCertFile=" + certs + "host.cert," + certs + "host-ecdsa.cert\nO ServerKeyFile=" + certs +
		"host.key," + certs + "host-ecdsa.key\nO CACertFile=" + certs + "cacert.pem\nO CACertPath=" + certs + "\n"
	err := os.WriteFile(filepath.Join(s.root, "etc/mail/sendmail.cf"), []byte(cf), 0o644)
	s.pairs = append(s.pairs, "host-ecdsa")
	s.all.Go(func() { s.watch("host-ecdsa") })
	publish := "update"
	if s.manual {
		publish = "manual"
	}
	return errors.Join(err, s.configure(host, publish))
}

// end ends the watching of a site. It does not wait for the end of the test, which has many sites.
func (s *changeSite) end() {
	close(s.stop)
	s.all.Wait()
}

// every calls do until the site ends.
func (s *changeSite) every(d time.Duration, do func()) {
	for tick := time.NewTicker(d); ; {
		select {
		case <-s.stop:
			tick.Stop()
			return
		case <-tick.C:
			do()
		}
	}
}

// watch notes which key of a pair is installed, and when.
func (s *changeSite) watch(pair string) {
	var last []byte
	key := ""
	s.every(10*time.Millisecond, func() {
		before := time.Now()
		data, err := os.ReadFile(filepath.Join(s.root, "etc/mail/certs", pair+".key"))
		if err != nil {
			return
		}
		if !bytes.Equal(data, last) {
			last, key = data, pki.KeyFingerprint(pki.ReadKeyFile(data).Public)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		list := s.used[pair]
		if n := len(list); n > 0 && list[n-1].key == key {
			list[n-1].until = before
		} else {
			s.used[pair] = append(list, used{key: key, from: before, until: before})
		}
	})
}

// keys are the installed keys, and all keys that were installed before.
func (s *changeSite) keys() (now []string, all []used) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.used {
		now, all = append(now, list[len(list)-1].key), append(all, list...)
	}
	return now, all
}

// person does what status says: adds records, and removes others.
func (s *changeSite) person(t *testing.T) {
	s.every(700*time.Millisecond, func() {
		var page struct {
			DANE struct{ Add, Remove []string }
		}
		out, _ := s.mailcertd(t, "", "status", "--json").Output()
		if json.Unmarshal(out, &page) != nil {
			return
		}
		of := func(line string) (r dane.Record) {
			_, _ = fmt.Sscanf(strings.TrimPrefix(line, s.name), "%d IN TLSA %d %d %d %s", &r.TTL, &r.Usage, &r.Selector,
				&r.Matching, &r.Data)
			return r
		}
		s.world.edit(s.name, func(have []dane.Record) []dane.Record {
			for _, line := range page.DANE.Add {
				if r := of(line); !slices.ContainsFunc(have, r.Same) {
					have = append(have, r)
				}
			}
			for _, line := range page.DANE.Remove {
				have = slices.DeleteFunc(have, of(line).Same)
			}
			return have
		})
	})
}

// mailcertd prepares a verb; crash is a setting of a binary that kills itself, "" for another binary.
func (s *changeSite) mailcertd(t *testing.T, crash string, args ...string) *exec.Cmd {
	tag := ""
	if crash != "" {
		tag = "crashpoints"
	}
	cmd := exec.Command(bed.Binary(t, tag), append([]string{"--root", s.root}, args...)...)
	cmd.Env = append(os.Environ(), crash)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (s *changeSite) memory() dane.Memory {
	st, _ := state.Load(filepath.Join(s.root, "var/db/mailcertd"))
	return st.DANE
}

// daemon runs a daemon until it has killed itself, or until nothing is left to do, and kills it.
func (s *changeSite) daemon(t *testing.T, crash string, left func() error) (killedItself bool, err error) {
	cmd := s.mailcertd(t, crash, "run")
	log, err := os.OpenFile(filepath.Join(s.root, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return false, err
	}
	defer log.Close()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return false, err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	defer func() { _ = cmd.Process.Kill(); <-ended }()
	for limit := time.Now().Add(bed.Patience); ; time.Sleep(100 * time.Millisecond) {
		select {
		case <-ended:
			if bed.Killed(cmd.ProcessState) {
				return true, nil
			}
			return false, fmt.Errorf("the daemon has ended: %s", cmd.ProcessState)
		default:
		}
		why := left()
		if why == nil {
			return false, nil
		}
		if time.Now().After(limit) {
			return false, fmt.Errorf("the change does not come to an end: %w", why)
		}
	}
}

// complete says what is missing until a change is over: the key old is replaced, both servers have the records of the
// installed keys and those of others, and nothing is remembered. made is how many keys had records by then.
func (s *changeSite) complete(old string, made int) error {
	now, _ := s.keys()
	n := s.world.look(s.name)
	want := slices.Clone(s.foreign)
	for _, k := range now {
		want = append(want, dane.RecordOf(k, 0))
	}
	m := s.memory()
	switch {
	case len(now) == 0 || slices.Contains(now, old):
		return errors.New("the old key is installed")
	case !sameRecords(n.now[0], want) || !sameRecords(n.now[1], want):
		return fmt.Errorf("the servers have %v, must have %v", n.now, want)
	case len(m.Changes)+len(m.Old) > 0 || len(m.Present) != len(now):
		return fmt.Errorf("remembered: %+v, %+v", m.Changes, m.Old)
	case made > 0 && len(n.ever) != made+len(s.foreign):
		return fmt.Errorf("there were records of %d keys, not of %d", len(n.ever)-len(s.foreign), made)
	}
	return nil
}

func sameRecords(a, b []dane.Record) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(r dane.Record) bool {
		return !slices.ContainsFunc(b, r.Same)
	})
}

// well says what was or is wrong with a site whose change is over.
func (s *changeSite) well(t *testing.T, atOnce bool) error {
	_, all := s.keys()
	all = slices.DeleteFunc(all, func(u used) bool { return u.key == "" }) // a placeholder
	n := s.world.look(s.name)
	var wrong []error
	if err := n.refuses(all, s.begun); err != nil && !atOnce {
		wrong = append(wrong, err)
	}
	for _, r := range n.gone {
		if slices.ContainsFunc(s.foreign, r.Same) {
			wrong = append(wrong, fmt.Errorf("a record of others was removed: %s", r))
		}
	}
	if left, _ := os.ReadDir(filepath.Join(s.root, "etc/mail/certs/.mailcertd")); len(left) > 0 {
		wrong = append(wrong, fmt.Errorf("left in the staging area: %v", left))
	}
	if out, err := s.mailcertd(t, "", "check").CombinedOutput(); err != nil {
		wrong = append(wrong, fmt.Errorf("check: %s", out))
	}
	return errors.Join(wrong...)
}
