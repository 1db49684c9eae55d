package test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// A member has two server pairs, RSA and ECDSA, from an ACME CA, and its client pair over ssh from the CA host.
// sendmail serves both server pairs, the CA host verifies the client pair, and both logs have verify=OK in both
// directions, as check --peer says. A renewal renews all three.
func TestPublicMember(t *testing.T) {
	t.Parallel()
	bed.Need(t, true, "openssl", "ssh", "/usr/sbin/sshd")
	o := newOwner(t, "verify=${verify})=>verify=${verify} shown=${cert_md5})")
	a, b := o.a, o.b
	p := bed.NewPebble(t, bed.PebbleOptions{Host: b})
	root := string(p.Managed(t, "/roots/0", nil))
	write(t, a.Path("/etc/mail/public-root.pem"), root, 0o644)
	appendFile(t, a.Path("/etc/mail/mailcertd.yaml"), "trust: [/etc/mail/public-root.pem]\n")
	write(t, b.Path("/etc/mail/mailcertd.yaml"), "issuer:\n  acme: {directory: '"+p.Directory+
		"', agree_tos: true, ca_file: "+p.CAFile+"}\nkey: {type: rsa-2048, second: ecdsa-p256}\nclient:\n  issuer:\n"+
		"    ssh: {target: mailcertd@10.99.0.1, identity: /etc/mail/ssh/id, known_hosts: /etc/mail/ssh/known_hosts}\n"+
		"log: {level: debug, target: stderr}\n", 0o644)
	namesPairs(t, b)
	a.Must(t, o.m, memberConf, "ensure")
	b.Run(o.m, memberConf, "ensure") // its status says that the certificates are interim ones
	a.Start(t)
	b.Start(t)
	o.daemons(t)

	files := []string{"host.cert", "host-ecdsa.cert", "client.cert"}
	arrived := func() error {
		for _, f := range files {
			is, code := b.Run("openssl", "x509", "-noout", "-issuer", "-in", "/etc/mail/certs/"+f)
			if code != 0 || strings.Contains(is, "Pebble Intermediate") != (f != "client.cert") {
				return errors.New(f + ": " + is)
			}
		}
		if out, code := b.Run(o.m, memberConf, "check"); code != 0 {
			return errors.New(out)
		}
		return nil
	}
	bed.Wait(t, "three certificates", arrived)
	bothServed(t, o, b, "first certificates", "proven")
	if p.Orders() != 2 || p.Accounts() != 1 {
		t.Errorf("%d orders, %d accounts", p.Orders(), p.Accounts())
	}
	bothDirections(t, o)

	before := map[string]string{}
	for _, f := range files {
		before[f] = pairSerial(t, b, f)
	}
	out := b.Must(t, o.m, memberConf, "renew")
	for _, f := range files {
		if pairSerial(t, b, f) == before[f] {
			t.Errorf("renew left %s as it was:\n%s", f, out)
		}
	}
	bothServed(t, o, b, "renewed", "proven")
	if p.Orders() != 4 || p.Accounts() != 1 {
		t.Errorf("%d orders, %d accounts", p.Orders(), p.Accounts())
	}
	bothDirections(t, o)
}

// bothDirections sends a mail each way and checks that both logs have verify=OK, and that check --peer says so too.
func bothDirections(t *testing.T, o *owner) {
	t.Helper()
	for _, d := range [][2]*bed.Host{{o.a, o.b}, {o.b, o.a}} {
		from, to := d[0], d[1]
		if client, server := mailed(t, from, to); client.verify != "OK" || server != "OK" {
			t.Errorf("%s logs %+v of %s, which logs %s", from.Name, client, to.Name, server)
		}
		out, code := from.Run(o.m, memberConf, "check", "--json", "--peer", to.Name)
		var said peerSaid
		if err := json.Unmarshal([]byte(out), &said); err != nil || code != 0 {
			t.Fatalf("%s: check --peer %s: %d, %v\n%s", from.Name, to.Name, code, err, out)
		}
		if said.Verify != "OK" || !said.Presented || !said.Named || said.Own.Verify != "OK" {
			t.Errorf("%s: check --peer %s: %s", from.Name, to.Name, out)
		}
	}
	box, err := os.ReadFile(o.a.Path("/var/mail/alice"))
	if err != nil {
		t.Fatal(err)
	}
	all := peerShown.FindAllStringSubmatch(string(box), -1)
	if want := shownAs(t, o.b, "client.cert"); len(all) == 0 || all[len(all)-1][2] != want {
		t.Errorf("%s has shown %v, must show its client pair %s", o.b.Name, all, want)
	}
}
