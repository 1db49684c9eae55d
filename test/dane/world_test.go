package dane

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/dane"
	"mailcertd/internal/pki"
	"mailcertd/internal/state"
	"mailcertd/test/bed"
)

// The names and addresses in the network of these tests.
const (
	domain   = "example.test"
	host     = "mail-a.example.test"
	tlsaName = "_25._tcp." + host + "."
	hostIP   = "10.99.0.1"
	resolver = "127.0.0.1"
	primary  = "127.0.0.2" // ns1, which signs and takes the updates
	second   = "127.0.0.3" // ns2
	roots    = "127.0.0.4" // the name server of the root zone
	third    = "127.0.0.5" // ns3, where there is one
)

// root delegates to the two name servers of the mail host's zone.
const root = `$TTL 60
@ SOA ns. root. 1 3600 600 86400 1
@ NS ns.
ns. A 127.0.0.4
example.test. NS ns1.example.test.
example.test. NS ns2.example.test.
ns1.example.test. A 127.0.0.2
ns2.example.test. A 127.0.0.3
`

// zone is short-lived throughout, so that a resolver that has no answer any more has nothing to remember either.
const zone = `$TTL 2
@ SOA ns1 root 1 3600 600 86400 2
@ NS ns1
@ NS ns2
@ MX 10 mail-a
ns1 A 127.0.0.2
ns2 A 127.0.0.3
mail-a A 10.99.0.1
`

// world is a mail host with its name servers, its resolver and its mailcertd.
type world struct {
	t       *testing.T
	h       *bed.Host
	m       string // the mailcertd program
	primary *bed.Named
	second  *bed.NSD
	root    *bed.NSD
	person  string        // the key that may change everything in the zone, as tsig-keygen writes it
	follows bool          // the secondary server gets every change at once
	ttl     time.Duration // of the TLSA records; 0: 2 s
	logs    []func() string
	judge   *judge
}

// newWorld makes a world in which mailcertd has published the record of its key. Of like it uses follows and ttl. keys
// is the section key of mailcertd.yaml.
func newWorld(t *testing.T, like world, keys string, cf ...string) *world {
	t.Helper()
	bed.Need(t, true, "named", "nsd", "unbound", "posttls-finger", "dnssec-signzone")
	w := &world{t: t, m: bed.Binary(t, ""), h: bed.NewHost(t, host, hostIP, cf...), follows: like.follows,
		ttl: max(like.ttl, 2*time.Second)}
	for _, addr := range []string{hostIP, primary, second, roots, third} {
		w.h.Must(t, "ip", "addr", "add", addr+"/32", "dev", "lo")
	}
	person, mine := bed.TSIGKey(t, "person"), bed.TSIGKey(t, "mailcertd")
	w.person = person
	w.primary = bed.NewNamed(t, w.h.Command, []string{primary}, "recursion no; notify-delay 0;", person+mine,
		bed.NamedZone{Name: domain, Text: zone, Statements: "type primary; dnssec-policy default; update-policy { " +
			"grant mailcertd name " + tlsaName + " TLSA; grant person zonesub ANY; };"})
	w.startSecond()
	w.root = bed.NewNSD(t, w.h.Command, roots, bed.NSDZone{Name: ".", Text: root})
	bed.NewUnbound(t, w.h.Command, []string{resolver}, roots, w.primary.DNSKEY(t, domain),
		`local-zone: "test." nodefault`, "val-bogus-ttl: 1", "infra-host-ttl: 1")
	w.put("/etc/mail/tsig.key", mine)
	w.put("/etc/mail/mailcertd.yaml", "host: {name: "+host+"}\nkey: {"+keys+"}\ndns: {server: "+primary+
		", key_file: /etc/mail/tsig.key}\ndane: {publish: update, ttl: "+fmt.Sprint(int(w.ttl/time.Second))+
		"}\nlog: {target: stderr}\n")
	w.h.Must(t, "sh", "-c", "echo nameserver "+resolver+" >/etc/resolv.conf; mkdir /run/finger; "+
		"printf 'mail_owner = alice\\nsetgid_group = smmsp\\n' >/run/finger/main.cf")
	w.must("ensure")
	w.h.Start(t)
	w.start()
	t.Cleanup(func() {
		if t.Failed() {
			for i, log := range w.logs {
				t.Logf("the log of the daemon's start %d:\n%s", i+1, log())
			}
		}
	})
	w.until("a mail host verifies the key", func() error {
		if !w.follows {
			w.second.Follow(t, domain)
		}
		if a := w.ask(""); a.said != verified {
			return errors.New(a.text)
		}
		return nil
	})
	w.until("every name server has its record", func() error {
		return w.has(w.records()...)
	})
	return w
}

// startSecond starts the secondary server.
func (w *world) startSecond() {
	w.t.Helper()
	w.second = w.secondary(second, w.follows)
}

// secondary starts a secondary server.
func (w *world) secondary(addr string, follows bool) *bed.NSD {
	w.t.Helper()
	lines := []string{"request-xfr: " + primary + " NOKEY", "outgoing-interface: " + addr}
	if follows {
		lines = append(lines, "allow-notify: "+primary+" NOKEY")
	}
	return bed.NewNSD(w.t, w.h.Command, addr, bed.NSDZone{Name: domain, Lines: lines})
}

func (w *world) put(path, text string) {
	w.t.Helper()
	w.ok(os.WriteFile(w.h.Path(path), []byte(text), 0o600))
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) mailcertd(args ...string) []string {
	return append([]string{w.m, "--config", "/etc/mail/mailcertd.yaml"}, args...)
}

func (w *world) must(args ...string) string {
	w.t.Helper()
	return w.h.Must(w.t, w.mailcertd(args...)...)
}

// start starts the daemon and waits until it works.
func (w *world) start() {
	w.t.Helper()
	w.startAs(w.mailcertd("run")...)
}

// startWrong is start with a clock that is ahead by that. Only a build for tests can do this.
func (w *world) startWrong(ahead time.Duration) {
	w.t.Helper()
	args := w.mailcertd("run")
	args[0] = bed.Binary(w.t, "crashpoints")
	w.startAs(append([]string{"env", "MAILCERTD_CLOCK=" + ahead.String()}, args...)...)
}

func (w *world) startAs(args ...string) {
	w.t.Helper()
	log := w.h.Daemon(w.t, append([]string{"sh", "-c", `echo $$ >/run/mailcertd-test.pid; exec "$@"`, "_"}, args...)...)
	w.logs = append(w.logs, log)
	w.until("the daemon starts", func() error {
		return errorUnless(strings.Contains(log(), "mailcertd: started"), "%s", log())
	})
}

// kill ends the daemon without a warning.
func (w *world) kill() {
	w.t.Helper()
	w.h.Must(w.t, "sh", "-c", "read -r pid </run/mailcertd-test.pid; kill -9 $pid; while kill -0 $pid; do :; done")
}

// patience limits every wait. After a failed update the daemon waits for a minute, and for two after the next one.
const patience = 4 * time.Minute

// until waits until met returns nil.
func (w *world) until(what string, met func() error) {
	w.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = met(); err == nil {
			return
		}
	}
	w.t.Fatalf("waited %s for this: %s: %v", patience, what, err)
}

// errorUnless is an error unless something is so.
func errorUnless(so bool, format string, args ...any) error {
	if so {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// key is the ID of the installed key of a pair.
func (w *world) key(pair string) string {
	data, err := os.ReadFile(w.h.Path("/etc/mail/certs/" + pair + ".key"))
	if err != nil {
		return ""
	}
	return pki.KeyFingerprint(pki.ReadKeyFile(data).Public)
}

// records are the TLSA records of the installed keys, as a zone file has their data.
func (w *world) records() (out []string) {
	for _, pair := range []string{"host", "host-ecdsa"} {
		if id := w.key(pair); id != "" {
			out = append(out, record(id))
		}
	}
	return out
}

// record is the TLSA record of the key with that ID.
func record(id string) string { return dane.RecordOf(id, 0).String() }

// memory is what the state has of the TLSA records.
func (w *world) memory() dane.Memory {
	s, _ := state.Load(w.h.Path("/var/db/mailcertd"))
	return s.DANE
}

// next is the ID of the next key of the pair host; "": it is not made.
func (w *world) next() string { return w.memory().Changes["host"].Next }

// at are the TLSA records of the name server at addr.
func (w *world) at(addr string) ([]string, error) {
	c, err := w.h.Dial("udp", addr+":53")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return askTLSA(c, tlsaName)
}

// has is an error unless both name servers have exactly these records.
func (w *world) has(want ...string) error {
	slices.Sort(want)
	for _, addr := range []string{primary, second} {
		if got, err := w.at(addr); err != nil || !slices.Equal(got, want) {
			return fmt.Errorf("%s has %s, must have %s: %v", addr, strings.Join(got, ", "), strings.Join(want, ", "),
				err)
		}
	}
	return nil
}

// rekey asks for a new key of every pair.
func (w *world) rekey() {
	w.t.Helper()
	out, code := w.h.Run(w.mailcertd("renew", "--rekey")...)
	if code != 0 || !strings.Contains(out, "next key") {
		w.t.Fatalf("renew --rekey: status %d\n%s", code, out)
	}
}
