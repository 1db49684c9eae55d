package test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"mailcertd/test/bed"
)

// The addresses of this test: the name server of all zones, one on which nobody listens, and the mail host.
const (
	senderDNS  = "127.0.0.2"
	senderGone = "10.99.0.7"
	senderMX   = "10.99.0.1"
)

func sha(b []byte) string { sum := sha256.Sum256(b); return hex.EncodeToString(sum[:]) }

// signedWorld are a signed root zone, a signed zone example., one whose signatures have expired and one that is not
// signed, all served by BIND, and unbound as the host's resolver. rows has each mail domain: its mail host's TLSA
// records, as in a zone file.
func signedWorld(t *testing.T, h *bed.Host, zone string) {
	t.Helper()
	bed.Need(t, true, "named", "unbound", "dnssec-signzone", "dnssec-keygen", "dnssec-dsfromkey")
	for _, a := range []string{senderDNS, senderMX, "10.99.0.2"} {
		h.Must(t, "ip", "addr", "add", a+"/32", "dev", "lo")
	}
	keys := t.TempDir()
	ago := func(days int) string { return time.Now().UTC().AddDate(0, 0, -days).Format("20060102150405") }
	plain := soa + "match MX 10 mx.match\nmx.match A " + senderMX + "\n_25._tcp.mx.match TLSA 3 1 1 " + sha(nil) + "\n"
	write(t, filepath.Join(keys, "expired.zone"), plain, 0o644)
	key := strings.TrimSpace(h.Must(t, "dnssec-keygen", "-q", "-K", keys, "-a", "ECDSAP256SHA256", "-f", "KSK",
		"expired"))
	h.Must(t, "dnssec-signzone", "-q", "-P", "-S", "-z", "-K", keys, "-s", ago(30), "-e", ago(1), "-o", "expired", "-f",
		filepath.Join(keys, "expired.signed"), filepath.Join(keys, "expired.zone"))
	expired, err := os.ReadFile(filepath.Join(keys, "expired.signed"))
	if err != nil {
		t.Fatal(err)
	}
	policy := signing(keys)
	root := soa + "ns A " + senderDNS + "\nexample NS ns.\nplain NS ns.\nexpired NS ns.\n"
	named := bed.NewNamed(t, h.Command, []string{senderDNS}, "recursion no;", "",
		bed.NamedZone{Name: ".", Statements: policy, Text: root},
		bed.NamedZone{Name: "example.", Statements: policy, Text: soa + zone},
		bed.NamedZone{Name: "plain.", Statements: "type primary; notify no;", Text: plain},
		bed.NamedZone{Name: "expired.", Statements: "type primary; notify no;", Text: string(expired)})
	delegate(t, named, root, h.Must(t, "dnssec-dsfromkey", "-2", zoneKey(t, keys, "example"))+
		h.Must(t, "dnssec-dsfromkey", "-2", filepath.Join(keys, key+".key")))
	anchor, err := os.ReadFile(zoneKey(t, keys, ""))
	if err != nil {
		t.Fatal(err)
	}
	bed.NewUnbound(t, h.Command, []string{"127.0.0.1", "10.99.0.2"}, senderDNS, string(anchor))
	h.Must(t, "sh", "-c", "echo nameserver 127.0.0.1 >/etc/resolv.conf; echo 'smtp 25/tcp' >>/etc/services")
}

// daneSaid is what the test reads of check --dane --json.
type daneSaid struct {
	Version         int
	Verdict, Reason string
	Text            string
	Fine, Checked   bool
	Signed          string `json:"mx_signed"`
	Hosts           []struct {
		Name, Demand string
		Addresses    []struct{ Address, Verdict, Reason, Text, Matched string }
	}
	STS      *struct{ ID, Mode string } `json:"mta_sts"`
	TLSRPT   *struct{ Rua []string }
	Problems []struct{ Reason, Severity, Host, Text string }
}

func checkDANE(t *testing.T, h *bed.Host, m string, args ...string) daneSaid {
	t.Helper()
	cmd := h.Command(append([]string{m, "--config", "/etc/mail/mailcertd.yaml", "check", "--json", "--dane"},
		args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	var said daneSaid
	if jerr := json.Unmarshal(out, &said); jerr != nil || said.Version != 1 {
		t.Fatalf("check --dane %q: %v, %v\n%s%s", args, err, jerr, out, errs.String())
	}
	if v, err := jsonschema.UnmarshalJSON(bytes.NewReader(out)); err != nil {
		t.Error(err)
	} else if err := schemas(t)["domain"].Validate(v); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if (err == nil) != said.Fine || cmd.ProcessState.ExitCode() > 1 {
		t.Errorf("check --dane %q: %v with fine %v", args, err, said.Fine)
	}
	return said
}

// finger asks Postfix's client, at its level dane, what it says about a mail domain.
func finger(t *testing.T, h *bed.Host, domain string) string {
	t.Helper()
	out, _ := h.Run("sh", "-c", "mkdir -p /run/finger && printf 'mail_owner = alice\\nsetgid_group = smmsp\\n' "+
		">/run/finger/main.cf && MAIL_CONFIG=/run/finger "+
		"timeout 60 posttls-finger -c -t 20 -T 20 -l dane -L summary,certmatch '"+domain+"' 2>&1")
	return out
}

// check --dane says of each mail domain what Postfix's client does, in a world of signed, unsigned and wrongly signed
// zones with the real BIND, unbound and sendmail.
func TestDANESender(t *testing.T) {
	t.Parallel()
	bed.Need(t, true, "posttls-finger")
	h := bed.NewHost(t, "mail-a.example.test", senderMX, "@DAEMON_OPTIONS(`Name=IPv6, Family=inet6, Addr=::1')")
	m := bed.Binary(t, "")
	root, other := sign(t, "Test CA", nil, isCA), sign(t, "Other CA", nil, isCA)
	leaf := sign(t, "mx.match.example", root, func(c *x509.Certificate) {
		c.DNSNames = append(c.DNSNames, "mx.ta.example")
	})
	leaf.put(t, h, root)
	key, foreign := sha(leaf.cert.RawSubjectPublicKeyInfo), sha(other.cert.RawSubjectPublicKeyInfo)
	anchor := sha(root.cert.RawSubjectPublicKeyInfo)
	type row struct {
		domain  string
		records []string
		verdict string
		reason  string
		finger  string // in the output of posttls-finger
	}
	const verified, unverified = "Verified TLS connection", "Untrusted TLS connection"
	rows := []row{
		{"match.example", []string{"3 1 1 " + key}, "verified", "dane-matched", verified},
		{"two.example", []string{"3 1 1 " + foreign, "3 1 1 " + key}, "verified", "dane-matched", verified},
		{"wrong.example", []string{"3 1 1 " + foreign}, "refused", "dane-mismatch", "no matching DANE TLSA records"},
		{"ta.example", []string{"2 1 1 " + anchor}, "verified", "dane-matched",
			"Matched DANE TA certificate at depth 1"},
		{"unnamed.example", []string{"2 1 1 " + anchor}, "refused", "dane-name", unverified},
		{"unusable.example", []string{"1 1 1 " + key, "3 1 1 " + key[:62]}, "encrypted", "dane-unusable",
			"all TLSA records unusable, fallback to unauthenticated TLS"},
		{"none.example", nil, "opportunistic", "dane-no-records", unverified},
	}
	var zone strings.Builder
	for _, r := range rows {
		d := strings.TrimSuffix(r.domain, ".example")
		fmt.Fprintf(&zone, "%s MX 10 mx.%s\nmx.%s A %s\n", d, d, d, senderMX)
		for _, rec := range r.records {
			zone.WriteString("_25._tcp.mx." + d + " TLSA " + rec + "\n")
		}
	}
	zone.WriteString("alias MX 10 cname.alias\ncname.alias CNAME mx.match\n" +
		"null MX 0 .\nimplicit A " + senderMX + "\n_25._tcp.implicit TLSA 3 1 1 " + key + "\n" +
		"gone MX 10 mx.match\ngone MX 20 mx.gone\nmx.gone A " + senderGone + "\n" +
		"mixed MX 10 mx.match.plain.\n" +
		"six MX 10 mx.six\nmx.six AAAA ::1\n_25._tcp.mx.six TLSA 3 1 1 " + key + "\n" +
		"six-wrong MX 10 mx.six-wrong\nmx.six-wrong AAAA ::1\n_25._tcp.mx.six-wrong TLSA 3 1 1 " + foreign + "\n" +
		"both MX 10 mx.both\nmx.both A " + senderMX + "\nmx.both AAAA ::1\n_25._tcp.mx.both TLSA 3 1 1 " + key + "\n" +
		"_mta-sts.match TXT \"v=STSv1; id=20260701;\"\nmta-sts.match A " + senderMX + "\n" +
		"_smtp._tls.match TXT \"v=TLSRPTv1; rua=mailto:tls@match.example\"\n")
	signedWorld(t, h, zone.String())
	h.Start(t)
	write(t, h.Path("/etc/mail/mailcertd.yaml"), "host: {name: mx.match.example}\n", 0o644)

	rows = append(rows, row{"match.plain", nil, "opportunistic", "dane-unsigned", unverified},
		row{"match.expired", nil, "refused", "dane-bogus", "Host not found, try again"},
		row{"alias.example", nil, "verified", "dane-matched", verified},
		row{"implicit.example", nil, "verified", "dane-matched", verified},
		row{"mixed.example", nil, "opportunistic", "dane-unsigned", unverified},
		row{"six.example", nil, "verified", "dane-matched", "established to mx.six.example[::1]:25"},
		row{"six-wrong.example", nil, "refused", "dane-mismatch", "no matching DANE TLSA records"},
		row{"both.example", nil, "verified", "dane-matched", verified})
	for _, r := range rows {
		t.Run(r.domain, func(t *testing.T) {
			said, out := checkDANE(t, h, m, r.domain), finger(t, h, r.domain)
			if said.Verdict != r.verdict || said.Reason != r.reason || !said.Checked ||
				said.Fine && said.Verdict != "verified" {
				t.Errorf("%+v, want %s [%s]", said, r.verdict, r.reason)
			}
			if !strings.Contains(out, r.finger) || strings.Contains(out, verified) != (said.Verdict == "verified") {
				t.Errorf("posttls-finger does not say %q:\n%s", r.finger, out)
			}
		})
	}
	if said := checkDANE(t, h, m, "null.example"); said.Verdict != "no-mail" || !said.Fine {
		t.Errorf("a domain that takes no mail: %+v", said)
	}
	if said := checkDANE(t, h, m, "gone.example"); said.Verdict != "verified" || said.Fine || len(said.Hosts) != 2 ||
		said.Hosts[1].Addresses[0].Verdict != "unreachable" {
		t.Errorf("a domain whose second mail host is away: %+v", said)
	}
	if said := checkDANE(t, h, m, "both.example"); len(said.Hosts) != 1 || len(said.Hosts[0].Addresses) != 2 ||
		said.Hosts[0].Addresses[0].Verdict != "verified" || said.Hosts[0].Addresses[1].Verdict != "verified" ||
		said.Hosts[0].Addresses[0].Address == said.Hosts[0].Addresses[1].Address {
		t.Errorf("a mail host with an IPv4 and an IPv6 address: %+v", said)
	}
	t.Run("MTA-STS", func(t *testing.T) { policies(t, h, m, root) })
	t.Run("forms", func(t *testing.T) {
		write(t, h.Path("/etc/mail/mailcertd.yaml"), "host: {name: implicit.example}\n", 0o644)
		conf := []string{m, "--config", "/etc/mail/mailcertd.yaml", "check", "--dane"}
		out, code := h.Run(conf...) // no MX record above the host's name
		if text := strings.Join(strings.Fields(out), " "); code != 0 ||
			!strings.Contains(text, "MX none, so the domain is its own mail host; signed verdict verified: a DANE "+
				"sender "+
				"delivers with verified TLS [dane-matched]") {
			t.Errorf("status %d:\n%s", code, out)
		}
		out, code = h.Run(append(conf, "two.example", "--format", "prometheus")...)
		problems, err := promlint.New(strings.NewReader(out)).Lint()
		if code != 0 || err != nil || len(problems) > 0 {
			t.Errorf("status %d, promlint: %v %v\n%s", code, problems, err, out)
		}
		if all := families(t, out); sample(all["mailcertd_domain_address_info"], "domain", "two.example", "host",
			"mx.two.example", "address", senderMX, "verdict", "verified", "reason", "dane-matched") == nil ||
			all["mailcertd_domain_fine"].Metric[0].Gauge.GetValue() != 1 {
			t.Errorf("metrics:\n%s", out)
		}
	})
	t.Run("resolvers", func(t *testing.T) {
		for resolver, says := range map[string]string{"10.99.0.2": "is not on this host",
			senderDNS: "does not check signatures"} {
			write(t, h.Path("/etc/mail/mailcertd.yaml"), "host: {name: mx.match.example}\ndns: {resolver: "+
				""+resolver+"}\n",
				0o644)
			said := checkDANE(t, h, m, "two.example")
			if said.Verdict != "verified" || said.Checked || said.Fine || said.Problems[0].Reason != "dane-unchecked" ||
				!strings.Contains(said.Problems[0].Text, says) {
				t.Errorf("%s: %+v", resolver, said)
			}
		}
	})
}

// policies serves the policy of match.example in several forms, which check --dane without a name compares with the
// mail host, because this host's name is mx.match.example.
func policies(t *testing.T, h *bed.Host, m string, root *pair) {
	web := sign(t, "mta-sts.match.example", root)
	l, err := h.Listen("tcp", senderMX+":443")
	if err != nil {
		t.Fatal(err)
	}
	answer := func(http.ResponseWriter) {}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/mta-sts.txt" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		answer(w)
	}), TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{web.cert.Raw},
		PrivateKey: web.key}}}}
	go func() { _ = server.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	write(t, h.Path("/var/roots.pem"), certPEM(root), 0o644)
	const good = "version: STSv1\r\nmode: enforce\r\nmx: *.match.example\r\nmax_age: 86400\r\n"
	text := func(s string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, s)
		}
	}
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter)
		roots  string
		reason string // of the one problem; "": there is none
		says   string
	}{
		{"fits", text(good), "/var/roots.pem", "", ""},
		{"another mail host", text(strings.Replace(good, "*.match", "mx.other", 1)), "/var/roots.pem", "sts-mx",
			"no mx line of the MTA-STS policy names this host"},
		{"a mode that is not known", text(strings.Replace(good, "enforce", "always", 1)), "/var/roots.pem", "sts-wrong",
			"MTA-STS: the mode of the policy is \"always\""},
		{"not found", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, "/var/roots.pem", "sts-wrong",
			"404 Not Found"},
		{"a redirect", func(w http.ResponseWriter) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusFound)
		}, "/var/roots.pem", "sts-wrong", "302 Found"},
		{"a long policy", text(good + strings.Repeat("x: y\n", 20000)), "/var/roots.pem", "sts-wrong",
			"more than 65536 octets"},
		{"a CA that is not public", text(good), "/dev/null", "sts-wrong", "certificate"},
	} {
		answer = c.answer
		cmd := h.Command("env", "SSL_CERT_DIR=/nonexistent", "SSL_CERT_FILE="+c.roots, m, "--config",
			"/etc/mail/mailcertd.yaml", "check", "--dane", "--json")
		out, err := cmd.Output()
		var said daneSaid
		if jerr := json.Unmarshal(out, &said); jerr != nil {
			t.Fatalf("%s: %v, %v\n%s", c.name, err, jerr, out)
		}
		fine := c.reason == "" && len(said.Problems) == 0 && said.Fine && said.STS.Mode == "enforce"
		wrong := len(said.Problems) == 1 && said.Problems[0].Reason == c.reason && !said.Fine &&
			strings.Contains(said.Problems[0].Text, c.says)
		if !fine && !wrong || said.TLSRPT == nil || said.TLSRPT.Rua[0] != "mailto:tls@match.example" {
			t.Errorf("%s: %s", c.name, out)
		}
	}
}
