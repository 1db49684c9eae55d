package test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"mailcertd/test/bed"
)

// pair is a certificate and its key. A nil pair means that there is none.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

var peerSerial int64 = 1000

// sign makes a certificate for name, issued by the CA `by` or, where by is nil, self-signed. It is valid from an hour
// ago for a day and for both purposes; changes alter the template.
func sign(t *testing.T, name string, by *pair, changes ...func(*x509.Certificate)) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	peerSerial++
	c := &x509.Certificate{SerialNumber: big.NewInt(peerSerial), Subject: pkix.Name{CommonName: name},
		DNSNames:  []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	for _, change := range changes {
		change(c)
	}
	if by == nil {
		by = &pair{c, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &pair{c, key}
}

func isCA(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid, c.DNSNames, c.ExtKeyUsage = true, true, nil, nil
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
}

func expired(c *x509.Certificate)   { c.NotBefore, c.NotAfter = c.NotBefore.Add(-time.Hour), c.NotBefore }
func inFuture(c *x509.Certificate)  { c.NotBefore = c.NotBefore.Add(2 * time.Hour) }
func forClient(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }

// put writes a host's files; where p is nil, the host gets no certificate.
func (p *pair) put(t *testing.T, h *bed.Host, trust ...*pair) {
	t.Helper()
	if err := os.RemoveAll(h.Path("/etc/mail/certs")); err != nil {
		t.Fatal(err)
	}
	if p == nil {
		return
	}
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	var bundle strings.Builder
	for _, c := range trust {
		bundle.WriteString(certPEM(c))
	}
	write(t, h.Path("/etc/mail/certs/host.key"),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), 0o600)
	write(t, h.Path("/etc/mail/certs/host.cert"), certPEM(p), 0o644)
	write(t, h.Path("/etc/mail/certs/cacert.pem"), bundle.String(), 0o644)
}

func certPEM(p *pair) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}))
}

// peerSaid holds what the test reads from the output of check --peer --json.
type peerSaid struct {
	Version   int
	STARTTLS  bool
	Verify    string
	Reason    string
	Error     string
	TLS       string
	Named     bool
	Presented bool `json:"presented_ours"`
	ListsOurs bool `json:"lists_our_issuer"`
	Own       struct{ Serial, Verify, Reason string }
	OwnServer []struct{ Serial, Issuer, Verify, Reason string } `json:"own_server"`
}

func checkPeer(t *testing.T, h *bed.Host, m, target string) peerSaid {
	t.Helper()
	cmd := h.Command(m, "check", "--json", "--peer", target)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	var said peerSaid
	if jerr := json.Unmarshal(out, &said); jerr != nil || said.Version != 1 {
		t.Fatalf("%s: check --peer %s: %v, %v\n%s%s", h.Name, target, err, jerr, out, errs.String())
	}
	if v, err := jsonschema.UnmarshalJSON(bytes.NewReader(out)); err != nil {
		t.Error(err)
	} else if err := schemas(t)["peer"].Validate(v); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if (err == nil) != (said.Verify == "OK") || cmd.ProcessState.ExitCode() > 1 {
		t.Errorf("%s: check --peer %s: %v with verify=%s", h.Name, target, err, said.Verify)
	}
	return said
}

var (
	verifyLine = regexp.MustCompile(`STARTTLS=(client|server), relay=.*, version=([^,]*), verify=([A-Z]+),`)
	reasonLine = regexp.MustCompile(`STARTTLS=client, cert-subject=.*, verifymsg=(.*)`)
)

// logged is what the sendmails on both sides have logged about one mail.
type logged struct{ version, verify, msg string }

// mailed sends a mail and returns what the client's log says about TLS, and the server's verify=. Where the log has no
// such line the mail went in clear, and verify is NONE.
func mailed(t *testing.T, from, to *bed.Host) (client logged, server string) {
	t.Helper()
	before, there := len(from.Log()), len(to.Log())
	cmd := from.Command(bed.Sendmail, "-Am", "-oi", "-f", "root@"+from.Name, "alice@"+to.Name)
	cmd.Stdin = strings.NewReader("Subject: hello\n\nhello\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sent := regexp.MustCompile(`to=alice@` + to.Name + `,.*mailer=esmtp,.*stat=Sent`)
	var lines string
	bed.Wait(t, "the mail to be sent by "+from.Name, func() error {
		if lines = from.Log()[before:]; sent.MatchString(lines) {
			return nil
		}
		return fmt.Errorf("not yet:\n%s", lines)
	})
	client.verify = "NONE"
	if f := verifyLine.FindStringSubmatch(lines); f != nil {
		client.version, client.verify = f[2], f[3]
	}
	if f := reasonLine.FindStringSubmatch(lines); f != nil && f[1] != "ok" {
		client.msg = f[1]
	}
	if client.verify == "NONE" {
		return client, "NONE"
	}
	bed.Wait(t, "verify= in the log of "+to.Name, func() error {
		for _, f := range verifyLine.FindAllStringSubmatch(to.Log()[there:], -1) {
			if f[1] == "server" {
				server = f[3]
				return nil
			}
		}
		return fmt.Errorf("not yet:\n%s", to.Log()[there:])
	})
	return client, server
}

// check --peer must predict what the real sendmail then logs about the other host, in both directions.
func TestPeerVerdict(t *testing.T) {
	t.Parallel()
	a, b := bed.NewHost(t, "mail-a.example.test", "10.99.0.1"), bed.NewHost(t, "mail-b.example.test", "10.99.0.2")
	m := bed.Binary(t, "")
	bed.Connect(t, a, b)
	root, other := sign(t, "Test CA", nil, isCA), sign(t, "Other CA", nil, isCA)
	oldRoot := sign(t, "Old CA", nil, isCA, expired)
	middle := sign(t, "Middle CA", root, isCA)
	far := sign(t, "Far CA", other, isCA)
	nameA, nameB := a.Name, b.Name
	own := sign(t, nameB, nil)
	const selfInChain, noIssuer = "self-signed certificate in certificate chain",
		"unable to get local issuer certificate"
	for _, c := range []struct {
		name     string
		b        *pair
		bTrusts  []*pair
		aTrusts  []*pair  // what a trusts, besides root
		toB, toA []string // the expected verify= and verifymsg= of each direction
		aLinks   []*pair  // linked under their hash as .0, .1 and so on; nil leaves a gap in the numbers
		ownB     string   // why b's own CAs do not verify b's chain, "" if they do
		unnamed  bool     // b's certificate does not contain b's name
	}{
		{name: "same CA", b: sign(t, nameB, root), bTrusts: []*pair{root}, toB: []string{"OK", ""},
			toA: []string{"OK", ""}},
		{name: "different CAs, sent along", b: sign(t, nameB, other), bTrusts: []*pair{other},
			toB: []string{"FAIL", selfInChain}, toA: []string{"FAIL", selfInChain}},
		{name: "different CAs, not sent", b: sign(t, nameB, other), bTrusts: []*pair{root},
			toB: []string{"FAIL", noIssuer}, toA: []string{"OK", ""}, ownB: noIssuer},
		{name: "both trust both", b: sign(t, nameB, other), bTrusts: []*pair{other, root}, aTrusts: []*pair{other},
			toB: []string{"OK", ""}, toA: []string{"OK", ""}},
		{name: "trusted by hash link", b: sign(t, nameB, other), bTrusts: []*pair{other, root}, aLinks: []*pair{other},
			toB: []string{"OK", ""}, toA: []string{"OK", ""}},
		{name: "second of its hash", b: sign(t, nameB, other), bTrusts: []*pair{other, root},
			aLinks: []*pair{sign(t, "Other CA", nil, isCA), other}, toB: []string{"OK", ""}, toA: []string{"OK", ""}},
		{name: "hash link behind a gap", b: sign(t, nameB, other), bTrusts: []*pair{other, root},
			aLinks: []*pair{nil, other}, toB: []string{"FAIL", selfInChain}, toA: []string{"OK", ""}},
		{name: "expired", b: sign(t, nameB, root, expired), bTrusts: []*pair{root},
			toB: []string{"FAIL", "certificate has expired"}, toA: []string{"OK", ""}, ownB: "certificate has expired"},
		{name: "expired, of another CA", b: sign(t, nameB, other, expired), bTrusts: []*pair{root},
			toB: []string{"FAIL", noIssuer}, toA: []string{"OK", ""}, ownB: noIssuer},
		{name: "of an expired CA", b: sign(t, nameB, oldRoot), bTrusts: []*pair{root}, aTrusts: []*pair{oldRoot},
			toB: []string{"FAIL", "certificate has expired"}, toA: []string{"OK", ""}, ownB: noIssuer},
		{name: "not yet valid", b: sign(t, nameB, root, inFuture), bTrusts: []*pair{root},
			toB: []string{"FAIL", "certificate is not yet valid"}, toA: []string{"OK", ""},
			ownB: "certificate is not yet valid"},
		{name: "self-signed", b: own, bTrusts: []*pair{root}, toB: []string{"FAIL", "self-signed certificate"},
			toA: []string{"OK", ""}, ownB: "self-signed certificate"},
		{name: "self-signed and trusted", b: own, bTrusts: []*pair{root}, aTrusts: []*pair{own},
			toB: []string{"OK", ""}, toA: []string{"OK", ""}, ownB: "self-signed certificate"},
		{name: "for clients only", b: sign(t, nameB, root, forClient), bTrusts: []*pair{root},
			toB: []string{"FAIL", "unsuitable certificate purpose"}, toA: []string{"OK", ""}},
		{name: "intermediate sent along", b: sign(t, nameB, middle), bTrusts: []*pair{root, middle},
			toB: []string{"OK", ""}, toA: []string{"OK", ""}},
		{name: "intermediate not sent", b: sign(t, nameB, middle), bTrusts: []*pair{root},
			toB: []string{"FAIL", noIssuer}, toA: []string{"OK", ""}, ownB: noIssuer},
		{name: "intermediate of ours", b: sign(t, nameB, middle), bTrusts: []*pair{root}, aTrusts: []*pair{middle},
			toB: []string{"OK", ""}, toA: []string{"OK", ""}, ownB: noIssuer},
		{name: "intermediate trusted, its root unknown", b: sign(t, nameB, far), bTrusts: []*pair{root},
			aTrusts: []*pair{far}, toB: []string{"FAIL", "unable to get issuer certificate"}, toA: []string{"OK", ""},
			ownB: noIssuer},
		{name: "another name", b: sign(t, "else.example.test", root), bTrusts: []*pair{root}, toB: []string{"OK", ""},
			toA: []string{"OK", ""}, unnamed: true},
		{name: "no files", toB: []string{"NONE", ""}, toA: []string{"FAIL", selfInChain}, unnamed: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			sign(t, nameA, root).put(t, a, append([]*pair{root}, c.aTrusts...)...)
			c.b.put(t, b, c.bTrusts...)
			for n, p := range c.aLinks {
				if p != nil {
					write(t, a.Path("/etc/mail/certs/linked.pem"), certPEM(p), 0o644)
					a.Must(t, "sh", "-ec",
						fmt.Sprintf(`cd /etc/mail/certs; mv linked.pem $(openssl x509 -noout -hash -in linked.pem).%d`,
							n))
				}
			}
			for _, h := range []*bed.Host{a, b} {
				h.Start(t)
				defer h.Stop()
			}
			for _, d := range []struct {
				from, to *bed.Host
				want     []string
				named    bool
				own      string
			}{{a, b, c.toB, !c.unnamed, ""}, {b, a, c.toA, true, c.ownB}} {
				said := checkPeer(t, d.from, m, d.to.Name)
				log, server := mailed(t, d.from, d.to)
				if log.verify != d.want[0] || log.msg != d.want[1] {
					t.Errorf("%s logs %+v, want %q", d.from.Name, log, d.want)
				}
				if said.Verify != log.verify || said.Reason != log.msg || said.TLS != log.version ||
					said.STARTTLS != (log.verify != "NONE") {
					t.Errorf("%s: check says %+v, sendmail %+v", d.from.Name, said, log)
				}
				if said.Own.Reason != d.own || said.Presented != (server == "OK" || server == "FAIL") {
					t.Errorf("%s: of our own %+v, the peer logs verify=%s", d.from.Name, said, server)
				}
				if c.toA[0] == "OK" && c.toB[0] == "OK" && server != "OK" {
					t.Errorf("%s logs verify=%s", d.to.Name, server)
				}
				if said.Presented && said.ListsOurs && said.Own.Verify == "OK" && server != "OK" {
					t.Errorf("%s: check says that the peer should log verify=OK, and it logs %s", d.from.Name, server)
				}
				if said.Named != d.named {
					t.Errorf("%s: named %v", d.from.Name, said.Named)
				}
			}
		})
	}
}

// check --peer tells a host that it cannot reach from one that does not offer STARTTLS, ends within its time limit, and
// prints readable text.
func TestPeerText(t *testing.T) {
	t.Parallel()
	a, b := bed.NewHost(t, "mail-a.example.test", "10.99.0.1"), bed.NewHost(t, "mail-b.example.test", "10.99.0.2")
	m := bed.Binary(t, "")
	bed.Connect(t, a, b)
	root := sign(t, "Test CA", nil, isCA)
	sign(t, a.Name, root).put(t, a, root)
	sign(t, b.Name, root).put(t, b, root)
	b.Start(t)
	for _, c := range []struct {
		target string
		code   int
		says   []string
	}{
		{b.Name, 0, []string{"verify=OK", "TLSv1.3, TLS_", "issued by /CN=Test CA", "it names the host",
			"our issuer is among", "our own certificate, checked with our CAs: verify=OK", "is in its own log",
			"so the peer should log verify=OK", "a host with our CAs logs verify=OK"}},
		{b.Name + ":25", 0, []string{b.Name + ":25, answered by 10.99.0.2:25"}},
		{"10.99.0.2", 0, []string{"notice it does not name the host", "verify=OK"}},
		{b.Name + ":26", 1, []string{"not reachable", "connection refused"}},
		{"10.99.0.9", 1, []string{"not reachable", "no route to host"}},
		{"nowhere.example.test", 1, []string{"not reachable", "no such host"}},
		{"", 2, []string{"must be the name"}},
		{b.Name + ":smtp", 2, []string{"port \"smtp\": must be a number"}},
		{"fe80::1:x:y", 2, []string{"must be HOST or HOST:PORT"}},
	} {
		begin := time.Now()
		out, code := a.Run(m, "check", "--peer", c.target)
		if code != c.code || time.Since(begin) > 30*time.Second {
			t.Errorf("%q: status %d after %s", c.target, code, time.Since(begin))
		}
		for _, want := range c.says {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), want) { // wherever the lines are broken
				t.Errorf("%q: %q is not said:\n%s", c.target, want, out)
			}
		}
	}
}
