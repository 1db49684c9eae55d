package plan

import (
	"strings"
	"testing"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
)

// Each TLS option of sendmail.cf that names another file, or no file, is reported with its consequence. An option that
// leads to our file by another path is not reported.
func TestCFOptions(t *testing.T) {
	const d = "/etc/mail/certs"
	whole := map[string]string{"ServerCertFile": d + "/host.cert", "ServerKeyFile": d + "/host.key",
		"ClientCertFile": d + "/host.cert",
		"ClientKeyFile":  d + "/host.key", "CACertFile": d + "/cacert.pem", "CACertPath": d,
		"DHParameters": d + "/dh.param"}
	for _, c := range []struct {
		name     string
		change   map[string]string
		resolved map[string]string
		severity Severity
		says     []string // parts of the problems; nil for no problem
	}{
		{name: "all ours"},
		{name: "other spellings", change: map[string]string{"CACertPath": d + "/",
			"ServerCertFile": "/etc/mail/../mail/certs/host.cert", "ServerKeyFile": "/data/certs/host.key"}},
		{name: "through links", change: map[string]string{"CACertPath": "/x/certs", "CACertFile": "/x/ca"},
			resolved: map[string]string{"/x/certs": "/data/certs", "/x/ca": "/data/certs/cacert.pem"}},
		{name: "the certificate", change: map[string]string{"ServerCertFile": "/etc/ssl/c.pem"}, severity: Error,
			says: []string{"ServerCertFile is /etc/ssl/c.pem, not " + d + "/host.cert"}},
		{name: "the key", change: map[string]string{"ServerKeyFile": "/etc/ssl/k.pem"}, severity: Error,
			says: []string{"ServerKeyFile is /etc/ssl/k.pem"}},
		{name: "the CAs", change: map[string]string{"CACertFile": "/usr/local/share/certs/ca-root-nss.crt",
			"CACertPath": "/etc/ssl/certs"}, severity: Warning,
			says: []string{"CACertFile is /usr/local", "CACertPath is /etc/ssl/certs"}},
		{name: "no CAs", change: map[string]string{"CACertFile": "", "CACertPath": ""}, severity: Error,
			says: []string{"there is no CACertFile", "there is no CACertPath"}},
		{name: "the client's pair", change: map[string]string{"ClientCertFile": "/c", "ClientKeyFile": "/k"},
			severity: Warning, says: []string{"ClientCertFile is /c", "ClientKeyFile is /k"}},
		{name: "no client's pair", change: map[string]string{"ClientCertFile": "", "ClientKeyFile": ""},
			severity: Notice, says: []string{"verify=NO"}},
		{name: "no DH parameters", change: map[string]string{"DHParameters": ""}},
		{name: "sendmail's own DH group", change: map[string]string{"DHParameters": "2048"}},
		{name: "other DH parameters", change: map[string]string{"DHParameters": "/etc/dh"}, severity: Warning,
			says: []string{"DHParameters is /etc/dh"}},
	} {
		var text strings.Builder
		for name, value := range whole {
			if v, ok := c.change[name]; ok {
				value = v
			}
			text.WriteString("O " + name + "=" + value + "\n")
		}
		cf := mta.ParseCF([]byte(text.String()))
		cf.Path, cf.Resolved = "/etc/mail/sendmail.cf", c.resolved
		a := &assessment{obs: Observed{CF: cf,
			Certs: certdir.Dir{Path: d, Node: durable.Node{Resolved: "/data/certs"}}}, cfg: config.Default("")}
		p := cfProblems(a)
		if len(c.says) == 0 {
			if len(p.problems) != 0 {
				t.Errorf("%s: %+v", c.name, p.problems)
			}
			continue
		}
		if len(p.problems) != len(c.says) || p.problems[0].Hint == "" {
			t.Errorf("%s: %+v", c.name, p.problems)
			continue
		}
		for i, s := range c.says {
			if pr := p.problems[i]; pr.Reason != CFOther || pr.Severity != c.severity || !strings.Contains(pr.Text, s) {
				t.Errorf("%s: %+v lacks %q", c.name, pr, s)
			}
		}
	}
}

// A sendmail that was started with another cf or with other options is reported.
func TestRunningCF(t *testing.T) {
	const d = "/etc/mail/certs"
	var ours strings.Builder
	for _, o := range []string{"ServerCertFile=/host.cert", "ServerKeyFile=/host.key", "ClientCertFile=/host.cert",
		"ClientKeyFile=/host.key", "CACertFile=/cacert.pem", "CACertPath="} {
		ours.WriteString("O " + strings.Replace(o, "=", "="+d, 1) + "\n")
	}
	for name, c := range map[string]struct {
		cf, running string
		argv        []string
		says        string
	}{
		"the same": {ours.String(), ours.String(), nil, ""},
		"another leaf by -O": {ours.String(), ours.String(), []string{"sendmail", "-OServerCertFile=/x.cert"},
			"ServerCertFile is /x.cert"},
		"another cf":  {ours.String(), strings.ReplaceAll(ours.String(), d, "/x"), nil, "CACertFile is /x/cacert.pem"},
		"none at all": {ours.String(), "V10\n", nil, "names no TLS files"},
		"told already": {strings.ReplaceAll(ours.String(), d, "/x"),
			strings.ReplaceAll(ours.String(), d, "/x"), nil, ""},
		"another port": {ours.String(), ours.String(), []string{"sendmail", "-ODaemonPortOptions=Port=26"}, ""},
	} {
		running := mta.ParseCF([]byte(c.running), c.argv...)
		p := runningCF(
			&assessment{obs: Observed{CF: mta.ParseCF([]byte(c.cf)), RunningCF: &running, Certs: certdir.Dir{Path: d}}})
		if (len(p.problems) == 1) != (c.says != "") || c.says != "" && !strings.Contains(p.problems[0].Text, c.says) {
			t.Errorf("%s: %+v", name, p.problems)
		}
	}
}

// A submit.cf without a CA is reported where sendmail serves our set.
func TestSubmission(t *testing.T) {
	const d = "/etc/mail/certs"
	ours := "O ServerCertFile=" + d + "/host.cert\n"
	for _, c := range []struct {
		cf, submit string
		told       bool
	}{
		{ours, "O CACertFile=" + d + "/cacert.pem\n", false}, {ours, "O CACertPath=/etc/ssl/certs\n", false},
		{ours, "V10\n", true}, {"V10\n", "V10\n", false}, {ours, "", false},
	} {
		obs := Observed{CF: mta.ParseCF([]byte(c.cf)), Certs: certdir.Dir{Path: d}}
		if c.submit != "" {
			s := mta.ParseCF([]byte(c.submit))
			obs.Submit = &s
		}
		p := submission(&assessment{obs: obs})
		told := len(p.problems) == 1 && p.problems[0].Severity == Notice &&
			strings.Contains(p.problems[0].Hint, "define(`confCACERT', `"+d+"/cacert.pem')") &&
			strings.Contains(p.problems[0].Hint, "define(`confCACERT_PATH', `"+d+"')")
		if told != c.told {
			t.Errorf("%q %q: %+v", c.cf, c.submit, p.problems)
		}
	}
}
