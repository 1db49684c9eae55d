package test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// publicFleet is a CA host and a member whose servers show public certificates, which are for servers alone. As clients
// both show those of the private CA: the CA host has its own by itself, the member over ssh.
type publicFleet struct {
	*owner
	p     *bed.Pebble
	hosts []*bed.Host
}

const trustsPublic = "trust: [/etc/mail/public-root.pem]\n"

// newPublicFleet starts both sendmails and daemons, with more lines in both configurations. It waits until each host
// has both certificates.
func newPublicFleet(t *testing.T, more string) *publicFleet {
	t.Helper()
	f := &publicFleet{owner: newOwner(t)}
	f.hosts = []*bed.Host{f.a, f.b}
	f.p = bed.NewPebble(t, bed.PebbleOptions{Host: f.a, IP: f.a.IP})
	for _, h := range f.hosts {
		namesClient(t, h)
		f.p.Resolves(t, h.Name, h.IP)
		write(t, h.Path(f.p.CAFile), string(f.p.CA), 0o644)
		write(t, h.Path("/etc/mail/public-root.pem"), string(f.p.Managed(t, "/roots/0", nil)), 0o644)
	}
	f.configure(t, more)
	for _, h := range f.hosts {
		h.Run(f.m, memberConf, "ensure") // its status says that the certificates are interim ones
		h.Start(t)
	}
	f.daemons(t)
	for _, h := range f.hosts {
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
	}
	return f
}

// configure writes both configurations, which end with more lines.
func (f *publicFleet) configure(t *testing.T, more string) {
	t.Helper()
	public := "issuer:\n  acme: {directory: '" + f.p.Directory + "', agree_tos: true, ca_file: " + f.p.CAFile +
		"}\ndns: {resolver: '" + f.p.Resolver + "'}\nlog: {level: debug, target: stderr}\n" + more
	write(t, f.a.Path("/etc/mail/mailcertd.yaml"), public+"client: {issuer: local}\n", 0o644)
	write(t, f.b.Path("/etc/mail/mailcertd.yaml"), public+"client:\n  issuer:\n    ssh: {target: "+
		"mailcertd@10.99.0.1, identity: /etc/mail/ssh/id, known_hosts: /etc/mail/ssh/known_hosts}\n", 0o644)
}

// With the root of the public CA in trust:, each sendmail logs verify=OK about the other as a server and as a client.
// Without it each logs verify=FAIL about the other's server. check --peer says all of that beforehand.
func TestPublicFleet(t *testing.T) {
	t.Parallel()
	f := newPublicFleet(t, "")
	for _, h := range f.hosts {
		// The daily request of the member may still wait for its answer.
		bed.Wait(t, "check to report nothing but the public root", func() error {
			out, code := h.Run(f.m, memberConf, "check")
			if code != 0 || !strings.Contains(out, "[root-untrusted]") {
				return fmt.Errorf("%s: %d\n%s", h.Name, code, out)
			}
			return nil
		})
	}
	const unknown = "unable to get issuer certificate"
	for _, d := range [][2]*bed.Host{{f.a, f.b}, {f.b, f.a}} {
		from, to := d[0], d[1]
		said := saysOfFleet(t, f.owner, from, to)
		log, server := mailed(t, from, to)
		if log.verify != "FAIL" || log.msg != unknown || server != "OK" || said.Verify != log.verify ||
			said.Reason != log.msg || !said.ListsOurs || said.OwnServer[0].Reason != unknown {
			t.Errorf("%s logs %+v of %s, which logs %s; check --peer: %+v", from.Name, log, to.Name, server, said)
		}
	}

	f.configure(t, trustsPublic)
	for _, h := range f.hosts {
		reread(t, h)
	}
	for _, d := range [][2]*bed.Host{{f.a, f.b}, {f.b, f.a}} {
		from, to := d[0], d[1]
		bed.Wait(t, from.Name+" to trust the public root", func() error {
			if out, code := from.Run(f.m, memberConf, "check", "--peer", to.Name); code != 0 {
				return errors.New(out)
			}
			return nil
		})
		said := saysOfFleet(t, f.owner, from, to)
		log, server := mailed(t, from, to)
		if log.verify != "OK" || server != "OK" || !said.ListsOurs || said.OwnServer[0].Verify != "OK" {
			t.Errorf("%s logs %+v of %s, which logs %s; check --peer: %+v", from.Name, log, to.Name, server, said)
		}
		// The directory of the tests decides whether the state is in memory.
		others := strings.NewReplacer("[state-volatile]", "", "[brackets]", "")
		if out, code := from.Run(f.m, memberConf, "check"); code != 0 || strings.Contains(others.Replace(out), "[") {
			t.Errorf("%s: check: %d\n%s", from.Name, code, out)
		}
	}

	// The CA host does not answer the daily question. The ACME CA is not blamed for that.
	f.a.StopSSHD()
	inState(t, f.b, "asked", "2020-01-01T00:00:00Z")
	reread(t, f.b)
	bed.Wait(t, "the member to say that the CA host is away", func() error {
		out, _ := f.b.Run(f.m, memberConf, "check")
		out = strings.Join(strings.Fields(out), " ")
		if !strings.Contains(out, "the CA at mailcertd@10.99.0.1 has given no usable answer") {
			return errors.New(out)
		}
		if strings.Contains(out, "has given no certificate") {
			t.Fatalf("the ACME CA is blamed:\n%s", out)
		}
		return nil
	})
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

// In a fleet with public certificates, the private CA gets its next generation while both hosts send mail, and every
// verify= is OK. Neither issuer waits for the other: the member renews its public certificate while the CA host does
// not answer, and gets its client's certificate while the public CA does not.
func TestPublicFleetRollover(t *testing.T) {
	t.Parallel()
	f := newPublicFleet(t, trustsPublic)
	rollover(t, f.owner)

	const past = "2020-01-01T00:00:00Z"
	lost := func() {
		f.b.Must(t, "sh", "-c", "rm /etc/mail/certs/client.cert /var/db/mailcertd/candidates/reply-client.pem")
	}
	f.a.StopSSHD()
	lost()
	data, err := os.ReadFile(f.b.Path("/etc/mail/certs/host.cert"))
	if err != nil {
		t.Fatal(err)
	}
	f.p.RenewFrom(t, data, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	inState(t, f.b, "poll", past)
	old := f.b.OnDisk(t)
	reread(t, f.b)
	serves(t, f.b, old)
	f.p.Stop()
	f.a.SSHD(t)
	inState(t, f.b, "renew", past)
	inState(t, f.b, "next", past)
	reread(t, f.b)
	bed.Wait(t, "the certificate of the client", func() error {
		out, code := f.b.Run("sh", "-c", "openssl x509 -noout -issuer -in /etc/mail/certs/client.cert")
		if code != 0 || !strings.Contains(out, "mailcertd CA") {
			return errors.New(out)
		}
		return nil
	})
}
