package plan

import (
	"strings"
	"testing"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
)

// A sendmail.cf that does not name the configured pairs is reported, with the lines for the .mc file.
func TestCFPairs(t *testing.T) {
	const d = "/etc/mail/certs"
	second := func(c *config.Config) { c.Key.Second = pki.ECDSAP256 }
	own := func(c *config.Config) { c.Client.Kind = config.ClientOwn }
	none := func(c *config.Config) { c.Client.Kind = config.ClientNone }
	server := func(cert, key string) string {
		return strings.ReplaceAll("O ServerCertFile="+cert+"\nO ServerKeyFile="+key+"\n", "=host", "="+d+"/host")
	}
	client := func(cert, key string) string {
		return "O ClientCertFile=" + d + "/" + cert + "\nO ClientKeyFile=" + d + "/" + key + "\n"
	}
	plain, comma := server("host.cert", "host.key"),
		server("host.cert,"+d+"/host-ecdsa.cert", "host.key,"+d+"/host-ecdsa.key")
	same := client("host.cert", "host.key")
	const two = "write define(`confSERVER_CERT', `/etc/mail/certs/host.cert,/etc/mail/certs/host-ecdsa.cert') and " +
		"define(`confSERVER_KEY', `/etc/mail/certs/host.key,/etc/mail/certs/host-ecdsa.key') in"
	const clients = "write define(`confCLIENT_CERT', `/etc/mail/certs/client.cert') and " +
		"define(`confCLIENT_KEY', `/etc/mail/certs/client.key') in"
	for _, c := range []struct {
		name     string
		cfg      func(*config.Config)
		cf       string
		severity Severity
		text     string // "" for no problem
		hint     string
	}{
		{"one pair", func(*config.Config) {}, plain + same, 0, "", ""},
		{"two pairs", second, comma + same, 0, "", ""},
		{"the second is not named", second, plain + same, Warning, "do not name /etc/mail/certs/host-ecdsa.cert", two},
		{"the second is named first", second,
			server("host-ecdsa.cert,"+d+"/host.cert", "host-ecdsa.key,"+d+"/host.key") + same, 0, "", ""},
		{"its files are named alone", second, server("host-ecdsa.cert", "host-ecdsa.key") + same, Error,
			"ServerCertFile is", two},
		{"its key is named first alone", second,
			server("host.cert,"+d+"/host-ecdsa.cert", "host-ecdsa.key,"+d+"/host.key") + same, Warning,
			"after a comma", two},
		{"a client pair that is not asked for", func(*config.Config) {}, plain + client("client.cert", "client.key"),
			Warning, "ClientCertFile is", "write `client: {issuer: local}` into mailcertd.yaml"},
		{"its key is not named", second, server("host.cert,"+d+"/host-ecdsa.cert", "host.key") + same, Warning,
			"do not name", two},
		// [pair-unwanted] reports its files
		{"nobody asks for the second", func(*config.Config) {}, comma + same, 0, "", ""},
		{"neither is named", second, server("/x.cert", "/x.key") + same, Error, "ServerCertFile is /x.cert", two},
		{"a client pair", own, plain + client("client.cert", "client.key"), 0, "", ""},
		{"the client's is the host's", own, plain + same, Warning,
			"ClientCertFile is /etc/mail/certs/host.cert, not /etc/mail/certs/client.cert", clients},
		{"the client has none", own, plain, Notice, "there is no ClientCertFile", clients},
		{"no client pair", none, plain, 0, "", ""},
		{"no client pair, and one is shown", none, plain + same, Warning,
			"client in mailcertd.yaml is none: sendmail presents that", "or correct mailcertd.yaml"},
		{"both", func(c *config.Config) { second(c); own(c) }, plain + same, Warning, "do not name",
			"host-ecdsa.key') and define(`confCLIENT_CERT'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cf := mta.ParseCF([]byte(c.cf + "O CACertFile=" + d + "/cacert.pem\nO CACertPath=" + d + "\n"))
			cfg := config.Default("")
			c.cfg(&cfg)
			others, hint := cfOthers(cf, certdir.Dir{Path: d}, cfg)
			text, worst := joined(others)
			if (c.text == "") != (text == "") || !strings.Contains(text, c.text) || worst != c.severity ||
				text != "" && !strings.Contains(hint, c.hint) {
				t.Errorf("%v %q\nhint: %s", worst, text, hint)
			}
		})
	}
}
