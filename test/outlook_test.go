package test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// What `check` says before the first order, with the real BIND and Pebble: what is missing, line by line, until nothing
// is. It orders and changes nothing.
func TestCheckBeforeTheFirstOrder(t *testing.T) {
	t.Parallel()
	h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1")
	key := bed.TSIGKey(t, "mail")
	named := bed.NewNamed(t, h.Command, []string{"127.0.0.1"}, "recursion no;", key, bed.NamedZone{Name: "example.test",
		Statements: `type primary; update-policy { grant mail name _acme-challenge.mail-a.example.test TXT; };`,
		Text: `$TTL 60
@ SOA ns.example.test. root.example.test. 1 60 60 600 1
@ NS ns.example.test.
ns A 127.0.0.1
mail-a A 192.0.2.1
_acme-challenge.mail-a TXT "somebody-elses"
`})
	m, p := bed.Binary(t, ""), bed.NewPebble(t, bed.PebbleOptions{Host: h, DNS: "127.0.0.1:53"})
	write(t, h.Path("/etc/mail/dns.key"), bed.TSIGKey(t, "stranger"), 0o600)
	conf := func(acme, dns string) {
		t.Helper()
		write(t, h.Path("/etc/mail/mailcertd.yaml"), "issuer:\n  acme: {directory: '"+p.Directory+
			"', agree_tos: true, "+acme+"}\nclient: {issuer: local}\ndns: {resolver: 127.0.0.1, "+dns+"}\n", 0o644)
	}
	withCA := "ca_file: " + p.CAFile + ", "
	conf(withCA+"challenge: http", "")
	h.Run(m, publicConf, "ensure")
	h.Start(t)
	check := func(says ...string) string {
		t.Helper()
		out, _ := h.Run(m, publicConf, "check")
		out = regexp.MustCompile(`\s+`).ReplaceAllString(out, " ")
		for _, s := range says {
			if not, is := strings.CutPrefix(s, "not: "); strings.Contains(out, strings.TrimPrefix(s, "not: ")) == is {
				t.Errorf("want %v %q:\n%s", !is, not, out)
			}
		}
		return out
	}

	check("the DNS has 192.0.2.1 for mail-a.example.test, and this host does not have that address", "confCLIENT_CERT",
		"not: listen", "not: would give no certificate")
	web := h.Command("openssl", "s_server", "-accept", "80", "-nocert", "-quiet")
	if err := web.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = web.Process.Kill(); _ = web.Wait() })
	bed.Wait(t, "port 80 to be taken", func() error {
		_, err := h.Command("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/80").CombinedOutput()
		return err
	})
	check("http-01 cannot listen on :80", "address already in use", "openssl (process ", "http: {webroot:")

	conf("challenge: http, http: {webroot: /nonexistent}", "")
	check("the webroot", "no such file or directory", "would give no certificate now", "issuer.acme.ca_file")

	conf(withCA+"challenge: dns", "server: 127.0.0.1, key_file: /etc/mail/dns.key")
	check("BADKEY", `the key file's statement key "stranger" { ... };`,
		"update-policy { grant stranger name _acme-challenge.mail-a.example.test TXT; };")
	conf(withCA+"challenge: dns", "server: 127.0.0.1")
	check("an update that is not signed", "tsig-keygen mailcertd")
	conf(withCA+"challenge: dns", "server: 127.0.0.1, key_file: /etc/mail/none.key")
	check("could not validate", "/etc/mail/none.key: file does not exist")
	conf(withCA+"challenge: dns", "server: 127.0.0.1, zone: example.org, key_file: /etc/mail/dns.key")
	check("could not validate mail-a.example.test now")
	conf(withCA+"challenge: dns", "server: 127.0.0.9, key_file: /etc/mail/dns.key")
	check("no server could be reached for the update", "127.0.0.9:53: connection refused")
	if err := os.WriteFile(h.Path("/etc/mail/dns.key"), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	conf(withCA+"challenge: dns", "server: 127.0.0.1, key_file: /etc/mail/dns.key")
	check("not: could not validate", "not: acme-challenge", "not: would give")

	if zone := named.Control(t, "zonestatus", "example.test"); !strings.Contains(zone, "\nserial: 1\n") {
		t.Errorf("the zone has changed:\n%s", zone)
	}
	if strings.Contains(named.Log(), "adding an RR") || p.Orders() != 0 {
		t.Errorf("%d orders:\n%s", p.Orders(), named.Log())
	}
	if p.Accounts() != 0 {
		t.Error("an account was made")
	}
}
