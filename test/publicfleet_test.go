package test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// Two mail hosts show public certificates, which are for servers alone, and as clients those of their private CA: the
// CA host has its own by itself, the member over ssh. With the root of the public CA in trust:, each sendmail logs
// verify=OK about the other as a server and as a client. Without it each logs verify=FAIL about the other's server.
// check --peer says all of that beforehand.
func TestPublicFleet(t *testing.T) {
	t.Parallel()
	o := newOwner(t)
	p := bed.NewPebble(t, bed.PebbleOptions{Host: o.a, IP: o.a.IP})
	hosts := []*bed.Host{o.a, o.b}
	for _, h := range hosts {
		namesClient(t, h)
		p.Resolves(t, h.Name, h.IP)
		write(t, h.Path(p.CAFile), string(p.CA), 0o644)
		write(t, h.Path("/etc/mail/public-root.pem"), string(p.Managed(t, "/roots/0", nil)), 0o644)
	}
	configure := func(more string) {
		public := "issuer:\n  acme: {directory: '" + p.Directory + "', agree_tos: true, ca_file: " + p.CAFile +
			"}\ndns: {resolver: '" + p.Resolver + "'}\nlog: {level: debug, target: stderr}\n" + more
		write(t, o.a.Path("/etc/mail/mailcertd.yaml"), public+"client: {issuer: local}\n", 0o644)
		write(t, o.b.Path("/etc/mail/mailcertd.yaml"), public+"client:\n  issuer:\n    ssh: {target: "+
			"mailcertd@10.99.0.1, identity: /etc/mail/ssh/id, known_hosts: /etc/mail/ssh/known_hosts}\n", 0o644)
	}
	configure("")
	for _, h := range hosts {
		h.Run(o.m, memberConf, "ensure") // its status says that the certificates are interim ones
		h.Start(t)
	}
	o.daemons(t)
	for _, h := range hosts {
		bed.Wait(t, h.Name+" to serve a public certificate and to have a private one as a client", func() error {
			says, _ := h.Run("sh", "-ec", "cd /etc/mail/certs; openssl x509 -noout -issuer -ext extendedKeyUsage -in "+
				"host.cert; openssl x509 -noout -issuer -in client.cert")
			if !strings.Contains(says, "Pebble Intermediate") || !strings.Contains(says, "mailcertd CA") ||
				h.Serial("127.0.0.1:25") != h.OnDisk(t) {
				return errors.New(says)
			}
			if !strings.Contains(says, "TLS Web Server Authentication\n") {
				t.Fatalf("the public certificate is not for servers alone:\n%s", says)
			}
			return nil
		})
		if out, code := h.Run(o.m, memberConf, "check"); code != 0 || !strings.Contains(out, "[root-untrusted]") {
			t.Errorf("%s: check does not say that the public root is to be trusted: %d\n%s", h.Name, code, out)
		}
	}
	const unknown = "unable to get issuer certificate"
	for _, d := range [][2]*bed.Host{{o.a, o.b}, {o.b, o.a}} {
		from, to := d[0], d[1]
		said := saysOfFleet(t, o, from, to)
		log, server := mailed(t, from, to)
		if log.verify != "FAIL" || log.msg != unknown || server != "OK" || said.Verify != log.verify ||
			said.Reason != log.msg || !said.ListsOurs || said.OwnServer[0].Reason != unknown {
			t.Errorf("%s logs %+v of %s, which logs %s; check --peer: %+v", from.Name, log, to.Name, server, said)
		}
	}

	configure("trust: [/etc/mail/public-root.pem]\n")
	for _, h := range hosts {
		reread(t, h)
	}
	for _, d := range [][2]*bed.Host{{o.a, o.b}, {o.b, o.a}} {
		from, to := d[0], d[1]
		bed.Wait(t, from.Name+" to trust the public root", func() error {
			if out, code := from.Run(o.m, memberConf, "check", "--peer", to.Name); code != 0 {
				return errors.New(out)
			}
			return nil
		})
		said := saysOfFleet(t, o, from, to)
		log, server := mailed(t, from, to)
		if log.verify != "OK" || server != "OK" || !said.ListsOurs || said.OwnServer[0].Verify != "OK" {
			t.Errorf("%s logs %+v of %s, which logs %s; check --peer: %+v", from.Name, log, to.Name, server, said)
		}
		if out, code := from.Run(o.m, memberConf, "check"); code != 0 || strings.Contains(out, "[") {
			t.Errorf("%s: check: %d\n%s", from.Name, code, out)
		}
	}
}

// saysOfFleet returns what check --peer says, after it has compared the text with the JSON: the peer's server and ours
// show public certificates, and our client shows a private one.
func saysOfFleet(t *testing.T, o *owner, from, to *bed.Host) peerSaid {
	t.Helper()
	said := checkPeer(t, from, o.m, to.Name)
	client, server := pairSerial(t, from, "client.cert"), pairSerial(t, from, "host.cert")
	if said.Own.Serial != client || !said.Presented || said.Own.Verify != "OK" || len(said.OwnServer) != 1 ||
		said.OwnServer[0].Serial != server || !strings.Contains(said.OwnServer[0].Issuer, "Pebble Intermediate") {
		t.Fatalf("%s: client %s, server %s; check --peer: %+v", from.Name, client, server, said)
	}
	text, _ := from.Run(o.m, memberConf, "check", "--peer", to.Name)
	text = strings.Join(strings.Fields(text), " ")
	for _, want := range []string{"verify=" + said.Verify, "issued by /CN=Pebble Intermediate",
		"got serial " + client, "so the peer should log verify=OK", "serial " + server,
		fmt.Sprintf("a host with our CAs logs verify=%s", said.OwnServer[0].Verify)} {
		if !strings.Contains(text, want) {
			t.Errorf("%s: check --peer does not say %q:\n%s", from.Name, want, text)
		}
	}
	return said
}
