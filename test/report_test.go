package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"mailcertd/test/bed"
)

// schemas compiles the schemas of docs/, with checks of their formats switched on.
func schemas(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	out := map[string]*jsonschema.Schema{}
	for _, name := range []string{"status", "check", "list", "ca", "peer", "due", "domain"} {
		path, err := filepath.Abs("../docs/" + name + ".schema.json")
		if err != nil {
			t.Fatal(err)
		}
		if out[name], err = c.Compile(path); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// theStates are states that a host may be in. Each is made by commands of mailcertd and of a shell, in a root that is
// complete and has a CA.
var theStates = []struct {
	name, origin string // origin is that of the certificate; "" where there is none
	yaml         string
	args         []string // one mailcertd command in each element
	sh           string
}{
	{name: "nothing there", sh: "rm -r etc/mail var"},
	{name: "complete", origin: "issued-here"},
	{name: "issued and revoked", origin: "issued-here",
		args: []string{"issue a.example.test -o a.pem --yes", "issue b.example.test --alt 192.0.2.1 -o b.pem --yes",
			"revoke a.example.test --reason superseded", "ca enrol c.example.test --from 192.0.2.7"}},
	{name: "next generation waits", origin: "issued-here",
		args: []string{"ca enrol c.example.test --from 192.0.2.7", "ca rollover", "ensure"}},
	{name: "older generation", origin: "issued-here",
		args: []string{"ca rollover --now", "ensure", "ca rollover --now"}},
	{name: "strange subjects", origin: "issued-here",
		yaml: "ca: {subject: {organization: \"a \\\"quoted\\\" \\\\ 株式会社\"}}\n"},
	{name: "self-signed, lies there", origin: "self-signed", yaml: "issuer: none\n",
		sh: "cd etc/mail/certs && openssl req -x509 -newkey rsa:2048 -nodes -keyout host.key -out host.cert -days 9 " +
			"-subj /CN=mail.example.test -addext subjectAltName=DNS:mail.example.test 2>/dev/null && chmod 600 " +
			"host.key"},
	{name: "installed by hand", origin: "installed-by-hand", yaml: "issuer: none\n",
		sh: `openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 9 -subj /CN=mail.example.test -addext subjectAltName=DNS:mail.example.test 2>/dev/null &&
			cat k.pem c.pem > both.pem && rm -rf etc/mail/CA && $MAILCERTD install both.pem`},
	{name: "of another CA", origin: "another-ca", yaml: "issuer: none\n",
		sh: `openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 99 -subj '/O=Others/CN=Others CA' 2>/dev/null &&
			openssl req -newkey rsa:2048 -nodes -keyout etc/mail/certs/host.key -out r.pem -subj /CN=mail.example.test 2>/dev/null &&
			openssl x509 -req -in r.pem -CA ca.pem -CAkey ca.key -set_serial 0x1234 -days 9 -out etc/mail/certs/host.cert 2>/dev/null && cp ca.pem etc/mail/certs/cacert.pem`},
	{name: "CA gone", origin: "made-by-mailcertd", sh: "mv etc/mail/CA etc/mail/gone"},
	{name: "damaged",
		sh: "echo garbage > etc/mail/certs/host.cert; chmod 644 etc/mail/certs/host.key; rm etc/mail/certs/dh.param; " +
			"echo x >> etc/mail/CA/index.txt; rm -r var"},
	{name: "encrypted CA key", origin: "issued-here",
		sh: "cd etc/mail/CA && openssl pkcs8 -topk8 -v2 aes-256-cbc -in cakey.pem -out k -passout pass:secret && mv " +
			"k cakey.pem && chmod 600 cakey.pem"},
	{name: "CA on another host", origin: "made-by-mailcertd",
		yaml: "issuer: {ssh: {target: mailcertd@krb5.example.test}}\n", sh: "rm -r etc/mail/CA"},
	{name: "the same CA twice", origin: "issued-here",
		sh: "cd etc/mail/certs && cat cacert.pem cacert.pem > x && mv x cacert.pem"},
	{name: "CRL in the certs directory", origin: "issued-here", yaml: "crl: {install: true}\n",
		args: []string{"ensure"}},
}

// In each state the program's JSON must be valid by the schemas of docs/, and Prometheus must read its metrics with the
// same values as the JSON.
func TestReports(t *testing.T) {
	t.Parallel()
	bed.Need(t, false, "openssl")
	m, valid := bed.Binary(t, ""), schemas(t)
	for _, c := range theStates {
		t.Run(c.name, func(t *testing.T) {
			root := site(t)
			conf := filepath.Join(root, "usr/local/etc/mailcertd.yaml")
			before, _ := os.ReadFile(conf)
			configure := func() {
				if err := os.WriteFile(conf, append(slices.Clone(before), c.yaml...), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if strings.HasPrefix(c.yaml, "ca:") {
				configure()
			}
			if out, st := run(t, m, root, nil, "ensure"); !st.Success() {
				t.Fatal(out)
			}
			configure()
			for _, line := range c.args {
				args := strings.Fields(line)
				if i := slices.Index(args, "-o"); i > 0 {
					args[i+1] = filepath.Join(root, args[i+1])
				}
				if out, st := run(t, m, root, nil, args...); !st.Success() {
					t.Fatalf("%s: %s", line, out)
				}
			}
			if c.sh != "" {
				if out, code := sh(t, root, "MAILCERTD='"+m+" --root "+root+"'; "+c.sh); code != 0 {
					t.Fatalf("%d: %s", code, out)
				}
			}
			var status map[string]any
			for _, args := range []string{"status --json", "status --json --probe", "status --format json",
				"check --json", "list --json", "ca show --json", "status --due 400 --json"} {
				out, st := run(t, m, root, nil, strings.Fields(args)...)
				if strings.HasPrefix(args, "list") && !strings.HasPrefix(out, "{") && !st.Success() {
					continue // list needs a whole CA
				}
				v, err := jsonschema.UnmarshalJSON(strings.NewReader(out))
				if err != nil {
					t.Fatalf("%s: %v\n%s", args, err, out)
				}
				verb, _, _ := strings.Cut(args, " ")
				if strings.Contains(args, "--due") {
					verb = "due"
				}
				if err := valid[verb].Validate(v); err != nil {
					t.Errorf("%s: %v\n%s", args, err, out)
				}
				if verb == "status" {
					status = v.(map[string]any)
				}
			}
			origin := ""
			if cert, ok := status["certificate"].(map[string]any); ok {
				origin = cert["origin"].(string)
			}
			if origin != c.origin {
				t.Errorf("the certificate is %q, want %q", origin, c.origin)
			}
			checkMetrics(t, m, root, status)
			for _, verb := range []string{"status", "check", "list", "ca show", "status --due 400"} { // for people
				out, _ := run(t, m, root, nil, strings.Fields(verb)...)
				for line := range strings.SplitSeq(out, "\n") {
					if n := len([]rune(line)); n > 80 && !strings.Contains(line, " CERTIssuer:/") &&
						!strings.Contains(line, " CERTSubject:/") && !strings.HasPrefix(line, "mailcertd: ") {
						t.Errorf("%s has a line of %d characters: %q", verb, n, line)
					}
				}
			}
		})
	}
}

// families parses metrics as Prometheus does.
func families(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	got, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return got
}

// sample returns the sample with these labels, given as name and value in turn, or nil.
func sample(f *dto.MetricFamily, labels ...string) *dto.Metric {
	for _, s := range f.GetMetric() {
		have := map[string]string{}
		for _, l := range s.Label {
			have[l.GetName()] = l.GetValue()
		}
		same := true
		for i := 0; i < len(labels); i += 2 {
			same = same && have[labels[i]] == labels[i+1]
		}
		if same {
			return s
		}
	}
	return nil
}

func checkMetrics(t *testing.T, m, root string, status map[string]any) {
	t.Helper()
	out, st := run(t, m, root, nil, "status", "--format", "prometheus")
	if !st.Success() || !strings.HasSuffix(out, "\n") {
		t.Fatalf("%v\n%s", st, out)
	}
	problems, err := promlint.New(strings.NewReader(out)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	all := families(t, out)
	for name, f := range all {
		if !strings.HasPrefix(name, "mailcertd_") || f.GetHelp() == "" || f.GetType() != dto.MetricType_GAUGE ||
			len(f.Metric) == 0 {
			t.Errorf("%s: help %q, type %v, %d samples", name, f.GetHelp(), f.GetType(), len(f.Metric))
		}
		for _, s := range f.Metric {
			if s.TimestampMs != nil {
				t.Errorf("%s has a timestamp: the textfile collector refuses it", name)
			}
		}
	}
	want := func(value float64, name string, labels ...string) {
		t.Helper()
		s := sample(all[name], labels...)
		if s == nil || s.GetGauge().GetValue() != value {
			t.Errorf("%s %q: %v, want %v\n%s", name, labels, s, value, out)
		}
	}
	seconds := func(v any) float64 {
		at, err := time.Parse(time.RFC3339, v.(string))
		if err != nil {
			t.Error(err)
		}
		return float64(at.Unix())
	}
	if c, ok := status["certificate"].(map[string]any); ok {
		which := []string{"file", c["path"].(string), "serial", c["serial"].(string)}
		want(seconds(c["not_after"]), "mailcertd_certificate_not_after_timestamp_seconds", which...)
		want(1, "mailcertd_certificate_info",
			append(which, "issuer", c["issuer_text"].(string), "origin", c["origin"].(string))...)
		if c["renewal"] != nil {
			want(seconds(c["renewal"]), "mailcertd_certificate_renewal_timestamp_seconds", which...)
		}
	}
	ca := status["ca"].(map[string]any)
	for _, g := range ca["generations"].([]any) {
		g := g.(map[string]any)
		want(seconds(g["not_after"]), "mailcertd_ca_not_after_timestamp_seconds", "sha256", g["sha256"].(string),
			"subject", g["subject_text"].(string))
	}
	if is, ok := status["issued"].(map[string]any); ok {
		for _, word := range []string{"valid", "expired", "revoked"} {
			n, _ := is[word].(json.Number).Float64()
			want(n, "mailcertd_issued_certificates", "status", word)
		}
	}
	if crl, ok := status["crl"].(map[string]any); ok {
		want(seconds(crl["next_update"]), "mailcertd_crl_next_update_timestamp_seconds", "file", crl["path"].(string))
	}
	count := map[string]float64{}
	for _, p := range status["problems"].([]any) {
		count[p.(map[string]any)["severity"].(string)]++
	}
	for _, s := range []string{"error", "warning", "notice"} {
		want(count[s], "mailcertd_problems", "severity", s)
	}
	pending := 0.0
	if status["sendmail"].(map[string]any)["pickup_pending"] == true {
		pending = 1
	}
	want(pending, "mailcertd_pickup_pending")
	if all["mailcertd_build_info"] == nil || all["mailcertd_status_timestamp_seconds"] == nil {
		t.Error("no build info, or no time")
	}
}

// A CA has five hundred certificates: list prints all of them, status names a few, and both are fast.
func TestManyIssued(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("signs 500 certificates")
	}
	m, root := bed.Binary(t, ""), site(t)
	if out, st := run(t, m, root, nil, "ensure"); !st.Success() {
		t.Fatal(out)
	}
	args := []string{"issue", "--yes", "--key", "ecdsa-p256", "-o", filepath.Join(root, "out")}
	if err := os.Mkdir(filepath.Join(root, "out"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		args = append(args, fmt.Sprintf("host%d.example.test", i))
	}
	if out, st := run(t, m, root, nil, args...); !st.Success() {
		t.Fatal(out)
	}
	out, _ := run(t, m, root, nil, "list")
	if n := strings.Count(out, "valid "); n != 501 {
		t.Errorf("%d rows, want 501", n)
	}
	out, _ = run(t, m, root, nil, "status")
	if !strings.Contains(words(out), "501 valid") || !strings.Contains(out, "and 496 more,") ||
		strings.Count(out, "\n") > 45 {
		t.Error(out)
	}
	if _, st := run(t, m, root, nil, "status", "--format", "prometheus"); !st.Success() ||
		st.UserTime()+st.SystemTime() > 2*time.Second {
		t.Errorf("%v after %v of a processor's time", st, st.UserTime()+st.SystemTime())
	}
}

// On a terminal the page has the terminal's width, within limits, and has colour unless the user wants none. In a pipe
// it has neither.
func TestTerminalPage(t *testing.T) {
	t.Parallel()
	bed.Need(t, false, "script", "stty")
	m, root := bed.Binary(t, ""), site(t)
	if out, st := run(t, m, root, nil, "ensure"); !st.Success() {
		t.Fatal(out)
	}
	long := "\033[31m" + strings.Repeat("word ", 60) // an escape sequence in the name of the configuration file
	if err := os.WriteFile(filepath.Join(root, "etc/mail/sendmail.cf"),
		[]byte("O ServerCertFile=/other/"+strings.TrimSpace(long)+"\nO ServerKeyFile=/other/key\n"),
		0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, command string
		width         int
		colour        bool
	}{
		{"80", "stty cols 80; TERM=xterm NO_COLOR= ", 80, true},
		{"60", "stty cols 60; TERM=xterm NO_COLOR= ", 60, true},
		{"narrower than it goes", "stty cols 20; TERM=xterm NO_COLOR= ", 60, true},
		{"wider than it is read", "stty cols 250; TERM=xterm NO_COLOR= ", 100, true},
		{"NO_COLOR", "stty cols 80; TERM=xterm NO_COLOR=1 ", 80, false},
		{"dumb", "stty cols 80; TERM=dumb NO_COLOR= ", 80, false},
	} {
		for _, verb := range []string{"status", "check", "list"} {
			out, _ := onTerminal(t, c.command+m+" --root "+root+" "+verb)
			widest := 0
			for line := range strings.SplitSeq(strings.ReplaceAll(out, "\r", ""), "\n") {
				widest = max(widest, len(terminalCodes.ReplaceAllString(line, "")))
			}
			if coloured := terminalCodes.MatchString(out); coloured != c.colour && verb != "list" || widest > c.width ||
				verb == "check" && widest < c.width*2/3 {
				t.Errorf("%s, %s: colour %v, %d columns, want %v and %d\n%q", c.name, verb, coloured, widest, c.colour,
					c.width, out)
			}
			if rest := terminalCodes.ReplaceAllString(out, ""); strings.Contains(rest, "\033") ||
				strings.Contains(out, "\033[31mword") {
				t.Errorf("%s, %s: an escape of sendmail.cf got through: %q", c.name, verb, out)
			}
		}
	}
}

// terminalCodes matches the escape sequences that mailcertd itself prints.
var terminalCodes = regexp.MustCompile("\033\\[[0-9]+m")
