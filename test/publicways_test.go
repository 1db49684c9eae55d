package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// problem waits until status reports a problem with this reason and these words, and returns its text.
func problem(t *testing.T, h *bed.Host, m, reason string, words ...string) (text string) {
	t.Helper()
	bed.Wait(t, "status to report "+reason, func() error {
		var rep struct {
			Problems []struct{ Reason, Text, Hint string }
		}
		out, _ := h.Run(m, publicConf, "status", "--json")
		if err := json.Unmarshal([]byte(out), &rep); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
	next:
		for _, p := range rep.Problems {
			if p.Reason != reason || p.Hint == "" {
				continue
			}
			for _, w := range words {
				if !strings.Contains(p.Text, w) {
					continue next
				}
			}
			text = p.Text
			return nil
		}
		return fmt.Errorf("%+v", rep.Problems)
	})
	return text
}

const dnsScript = `#!/bin/sh -e
case $1 in
add) curl -sf -d "{\"host\":\"$2.\",\"value\":\"$3\"}" %[1]s/set-txt ;;
remove) curl -sf -d "{\"host\":\"$2.\"}" %[1]s/clear-txt ;;
esac
echo "$1 $2" >>/var/db/dns.log
`

// The daemon opens an account with an external binding, after it has said that one is missing and that one is wrong. It
// then gets a certificate each by a webroot, by the owner's command and by a record that stays. sendmail serves each.
func TestPublicWays(t *testing.T) {
	t.Parallel()
	const name, mac = "mail-a.example.test", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	h, m := bed.NewHost(t, name, "10.99.0.1"), bed.Binary(t, "")
	p := bed.NewPebble(t, bed.PebbleOptions{Host: h, Conf: map[string]any{"externalAccountBindingRequired": true,
		"externalAccountMACKeys": map[string]string{"kid-1": mac}}})
	bed.Need(t, true, "busybox", "curl")
	h.Must(t, "mkdir", "/var/www")
	h.Must(t, "busybox", "httpd", "-p", "127.0.0.1:80", "-h", "/var/www")
	write(t, h.Path("/etc/mail/dns.sh"), fmt.Sprintf(dnsScript, p.DNS()), 0o755)
	write(t, h.Path("/etc/mail/right.key"), mac+"\n", 0o600)
	write(t, h.Path("/etc/mail/wrong.key"), "Z3Vlc3NlZC1ndWVzc2VkLWd1ZXNzZWQtZ3Vlc3NlZC0\n", 0o600)
	configure := func(more string) {
		write(t, h.Path("/etc/mail/mailcertd.yaml"), "issuer:\n  acme: {directory: '"+p.Directory+
			"', agree_tos: true, ca_file: "+p.CAFile+", "+more+"}\nclient: {issuer: local}\n"+
			"dns: {resolver: 127.0.0.1}\nlog: {level: debug, target: stderr}\n", 0o644)
	}
	const webroot = "http: {webroot: /var/www}"
	configure(webroot)
	h.Run(m, publicConf, "ensure")
	h.Start(t)
	interim := h.OnDisk(t)
	log := h.Daemon(t, m, publicConf, "run")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("mailcertd:\n%s", log())
		}
	})
	again := func(what, more string) {
		t.Helper()
		reads := strings.Count(log(), "configuration read")
		configure(more)
		reread(t, h)
		bed.Wait(t, "the daemon to read the configuration", func() error { // before the state has it ask
			if strings.Count(log(), "configuration read") == reads {
				return errors.New("it has not")
			}
			return nil
		})
		inState(t, h, what, "2020-01-01T00:00:00Z")
		reread(t, h)
	}

	problem(t, h, m, "acme-account", "set issuer.acme.eab to the key identifier")
	again("next", webroot+", eab: {kid: kid-1, hmac_file: /etc/mail/wrong.key}")
	problem(t, h, m, "acme-account", "external account binding", "verification")
	again("next", webroot+", eab: {kid: kid-1, hmac_file: /etc/mail/none.key}")
	problem(t, h, m, "acme-account", "/etc/mail/none.key", "does not exist")
	if p.Accounts() != 0 || p.Orders() != 0 {
		t.Errorf("%d accounts, %d orders", p.Accounts(), p.Orders())
	}
	const bound = ", eab: {kid: kid-1, hmac_file: /etc/mail/right.key}"
	again("next", webroot+bound)
	first := serves(t, h, interim)
	if out := h.Must(t, "find", "/var/www", "-type", "f"); out != "" {
		t.Errorf("left in the webroot: %s", out)
	}
	if said := log(); strings.Contains(said, mac) || strings.Contains(said, "guessed") {
		t.Error("the log contains a key")
	}

	again("renew", "challenge: command, command: [/etc/mail/dns.sh]"+bound)
	second := serves(t, h, first)
	lines, err := os.ReadFile(h.Path("/var/db/dns.log"))
	if want := "add _acme-challenge." + name + "\nremove _acme-challenge." + name + "\n"; err != nil ||
		string(lines) != want {
		t.Errorf("the command did %q (%v), must do %q", lines, err, want)
	}

	// The record of dns-persist is missing at first. Pebble reads it from its own name server, mailcertd from the zone.
	zone := bed.NamedZone{Name: "example.test", Statements: "type primary;", Text: `$TTL 60
@ SOA ns.example.test. root.example.test. 1 60 60 600 60
@ NS ns.example.test.
ns A 127.0.0.1
mail-a A 127.0.0.1
`}
	named := bed.NewNamed(t, h.Command, []string{"127.0.0.1"}, "recursion no;", "", zone)
	again("renew", "challenge: dns-persist"+bound)
	text := problem(t, h, m, "acme-challenge", "a record is missing; add it to the zone and leave it there")
	record := regexp.MustCompile(`(_validation-persist\.\S+) IN TXT "([^"]*)"`).FindStringSubmatch(text)
	if record == nil || h.Serial("127.0.0.1:25") != second {
		t.Fatalf("which record? %s", text)
	}
	zone.Text += record[0] + "\n"
	named.Reload(t, zone)
	body, err := json.Marshal(map[string]string{"host": record[1], "value": record[2]})
	if err != nil {
		t.Fatal(err)
	}
	h.Must(t, "curl", "-sf", "-d", string(body), p.DNS()+"/set-txt")
	again("next", "challenge: dns-persist"+bound)
	third := serves(t, h, second)
	again("renew", "challenge: dns-persist"+bound) // the record stays, so that nobody has to do anything
	serves(t, h, third)
	if p.Accounts() != 1 || p.Orders() != 4 {
		t.Errorf("%d accounts, %d orders", p.Accounts(), p.Orders())
	}
	bed.Wait(t, "check to find everything in order", func() error {
		if out, code := h.Run(m, publicConf, "check"); code != 0 {
			return errors.New(out)
		}
		return nil
	})
}
