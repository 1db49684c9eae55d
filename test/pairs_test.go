package test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// namesPairs makes the host's sendmail.cf name the second pair and the client pair, and makes sendmail write into each
// message the MD5 fingerprint of the certificate that its peer showed.
func namesPairs(t *testing.T, h *bed.Host) {
	t.Helper()
	inCF(t, h, "ServerCertFile=/etc/mail/certs/host.cert=>"+
		"ServerCertFile=/etc/mail/certs/host.cert,/etc/mail/certs/host-ecdsa.cert",
		"ServerKeyFile=/etc/mail/certs/host.key=>ServerKeyFile=/etc/mail/certs/host.key,/etc/mail/certs/host-ecdsa.key",
		"verify=${verify})=>verify=${verify} shown=${cert_md5})")
	namesClient(t, h)
}

// namesClient makes the host's sendmail.cf name the client pair.
func namesClient(t *testing.T, h *bed.Host) {
	t.Helper()
	inCF(t, h, "ClientCertFile=/etc/mail/certs/host.cert=>ClientCertFile=/etc/mail/certs/client.cert",
		"ClientKeyFile=/etc/mail/certs/host.key=>ClientKeyFile=/etc/mail/certs/client.key")
}

// inCF makes changes "old=>new" in the host's sendmail.cf.
func inCF(t *testing.T, h *bed.Host, changes ...string) {
	t.Helper()
	path := h.Path("/etc/mail/sendmail.cf")
	cf, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(cf)
	for _, c := range changes {
		was, is, _ := strings.Cut(c, "=>")
		if !strings.Contains(text, was) {
			t.Fatalf("sendmail.cf lacks %s", was)
		}
		text = strings.ReplaceAll(text, was, is)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// pairSerial returns the serial number of a certificate in the host's certs directory, and shownAs, the value that
// ${cert_md5} has for it.
func pairSerial(t *testing.T, h *bed.Host, file string) string {
	t.Helper()
	return strings.TrimSpace(
		strings.TrimPrefix(h.Must(t, "openssl", "x509", "-noout", "-serial", "-in",
			"/etc/mail/certs/"+file), "serial="))
}

func shownAs(t *testing.T, h *bed.Host, file string) string {
	t.Helper()
	out := h.Must(t, "openssl", "x509", "-noout", "-fingerprint", "-md5", "-in", "/etc/mail/certs/"+file)
	_, sum, _ := strings.Cut(strings.TrimSpace(out), "=")
	return sum
}

// servedTo returns the serial number that the host serves to a client that accepts only certificates of this kind.
func servedTo(h *bed.Host, kind string) string {
	algorithms := map[string]string{"rsa": "RSA-PSS+SHA256:RSA+SHA256", "ecdsa": "ECDSA+SHA256"}[kind]
	out, _ := h.Run("sh", "-c",
		"echo QUIT | timeout 20 openssl s_client -starttls smtp -connect 127.0.0.1:25 -sigalgs "+algorithms+
			" 2>/dev/null | openssl x509 -noout -serial 2>/dev/null")
	return strings.TrimSpace(strings.TrimPrefix(out, "serial="))
}

// bothServed waits until the host serves the certificates on its disk to both kinds of clients, and status says that
// this was seen or proven.
func bothServed(t *testing.T, o *owner, h *bed.Host, when, seen string) {
	t.Helper()
	bed.Wait(t, when+": both pairs are served and proven", func() error {
		for kind, file := range map[string]string{"rsa": "host.cert", "ecdsa": "host-ecdsa.cert"} {
			if got, want := servedTo(h, kind), pairSerial(t, h, file); got != want {
				return fmt.Errorf("%s: to %s it serves %q, in %s is %s", h.Name, kind, got, file, want)
			}
		}
		var rep struct {
			Pairs []struct {
				Name, Seen  string
				Named       bool `json:"named_by_sendmail"`
				Wanted      bool
				TLSA        string
				Certificate *struct{ Serial, Renewal string }
			}
		}
		out, _ := h.Run(o.m, memberConf, "status", "--json")
		if err := json.Unmarshal([]byte(out), &rep); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		var names []string
		for _, p := range rep.Pairs {
			names = append(names, p.Name)
			server := p.Name != "client"
			if p.Certificate == nil || p.Certificate.Renewal == "" || !p.Wanted || !p.Named ||
				server != (p.Seen == seen || p.Seen == "proven") || server != (p.TLSA != "") {
				return fmt.Errorf("%s: %+v", h.Name, p)
			}
		}
		if !slices.Equal(names, []string{"host", "host-ecdsa", "client"}) {
			return fmt.Errorf("%s: pairs %v\n%s", h.Name, names, out)
		}
		return nil
	})
}

var peerShown = regexp.MustCompile(`verify=(\w+) shown=([0-9A-F:]*)`)

// showsClientPair sends a mail and checks that the receiving sendmail has verified the sender's client certificate.
func showsClientPair(t *testing.T, from, to *bed.Host, n int) {
	t.Helper()
	if err := mail(from, to, n); err != nil {
		t.Fatal(err)
	}
	want := shownAs(t, from, "client.cert")
	bed.Wait(t, from.Name+" to show its client pair", func() error {
		box, err := os.ReadFile(to.Path("/var/mail/alice"))
		if err != nil {
			retry(from, to)
			return err
		}
		all := peerShown.FindAllStringSubmatch(string(box), -1)
		if len(all) == 0 || all[len(all)-1][1] != "OK" || all[len(all)-1][2] != want {
			retry(from, to)
			return fmt.Errorf("want verify=OK shown=%s, got %v", want, all)
		}
		return nil
	})
	if v := verdicts(to); v["server verify=OK"] == 0 {
		t.Errorf("%s has no verify=OK in its log: %v", to.Name, v)
	}
}

// Two hosts have three pairs each, one host from its own CA and the other over ssh. sendmail serves both server pairs
// and shows the client pair to its peer, and all three are renewed and proven.
func TestPairs(t *testing.T) {
	bed.Need(t, true, "openssl", "ssh", "/usr/sbin/sshd")
	o := newOwner(t)
	a, b := o.a, o.b
	const second = "key: {second: ecdsa-p256}\n"
	appendFile(t, a.Path("/etc/mail/mailcertd.yaml"), second+"client: {issuer: local}\n")
	appendFile(t, b.Path("/etc/mail/mailcertd.yaml"),
		second+
			"client: {issuer: {ssh: {target: mailcertd@10.99.0.1, identity: /etc/mail/ssh/id, known_hosts: "+
			"/etc/mail/ssh/known_hosts}}}\n")
	// As long as sendmail.cf does not name them, check prints the lines for the .mc file.
	a.Must(t, o.m, memberConf, "ensure")
	out, _ := a.Run(o.m, memberConf, "check")
	out = strings.Join(strings.Fields(out), " ")
	for _, line := range []string{
		"define(`confSERVER_CERT', `/etc/mail/certs/host.cert,/etc/mail/certs/host-ecdsa.cert')",
		"define(`confSERVER_KEY', `/etc/mail/certs/host.key,/etc/mail/certs/host-ecdsa.key')",
		"define(`confCLIENT_CERT', `/etc/mail/certs/client.cert')",
		"define(`confCLIENT_KEY', `/etc/mail/certs/client.key')"} {
		if !strings.Contains(out, line) {
			t.Errorf("check does not say %s:\n%s", line, out)
		}
	}
	namesPairs(t, a)
	namesPairs(t, b)
	b.Run(o.m, memberConf, "ensure") // makes interim certificates, because the CA host's daemon does not run yet
	a.Start(t)
	b.Start(t)
	o.daemons(t)
	bothServed(t, o, a, "first start", "started-later")
	bothServed(t, o, b, "first start", "proven")
	showsClientPair(t, a, b, 1)
	showsClientPair(t, b, a, 2)
	for _, h := range []*bed.Host{a, b} {
		before := map[string]string{}
		files := []string{"host.cert", "host-ecdsa.cert", "client.cert"}
		for _, f := range files {
			before[f] = pairSerial(t, h, f)
		}
		out := h.Must(t, o.m, memberConf, "renew")
		for _, f := range files {
			if pairSerial(t, h, f) == before[f] {
				t.Errorf("%s: renew left %s as it was:\n%s", h.Name, f, out)
			}
		}
		bothServed(t, o, h, "renewed", "proven")
	}
	showsClientPair(t, a, b, 3)
	showsClientPair(t, b, a, 4)
	for _, h := range []*bed.Host{a, b} {
		if out, code := h.Run(o.m, memberConf, "check"); code != 0 {
			t.Errorf("%s: check: %d\n%s", h.Name, code, out)
		}
		if shownAs(t, h, "client.cert") == shownAs(t, h, "host.cert") {
			t.Errorf("%s: the client's certificate is the host's", h.Name)
		}
	}
}
