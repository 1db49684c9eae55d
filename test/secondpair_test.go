package test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// second is a sendmail.cf with a second pair in some state, and what the real sendmail does with it.
type second struct {
	name   string
	cf     string // the values of ServerCertFile and ServerKeyFile, in that order, without their directory
	damage string // shell commands in the certs directory, before sendmail starts; b.key, b.cert: an ECDSA pair
	// What sendmail serves, and what mailcertd must report.
	rsa, ecdsa bool
	offered    bool   // sendmail offers STARTTLS, and a handshake succeeds
	log        string // a regular expression for sendmail's log; "" if no line may complain about a file
	says       string // a problem that mailcertd must report; "" for none
}

var seconds = []second{
	{name: "two pairs", rsa: true, ecdsa: true, offered: true},
	{name: "the other order", cf: "b.cert,host.cert b.key,host.key", rsa: true, ecdsa: true, offered: true},
	{name: "a blank behind the comma", cf: "host.cert, b.cert host.key, b.key", log: "ServerCertFile missing",
		says: "the blank in"},
	{name: "a blank before the comma", cf: "host.cert ,b.cert host.key ,b.key", log: "host.cert  unsafe: No such file",
		says: "the blank in"},
	{name: "one key for two certificates", cf: "host.cert,b.cert host.key", rsa: true, offered: true,
		says: "the second certificate is not used"},
	{name: "two keys for one certificate", cf: "host.cert host.key,b.key", log: "unsafe: No such file",
		says: "because ServerCertFile has no comma"},
	{name: "nothing behind the comma", cf: "host.cert, host.key,", log: "ServerCertFile missing",
		says: "no name on one side"},
	{name: "three pairs", cf: "host.cert,b.cert,b.cert host.key,b.key,b.key", log: "unsafe: No such file",
		says: "more than two files"},
	{name: "two of one family",
		damage: "openssl req -x509 -nodes -subj /CN=mail-a.example.test -newkey rsa:2048 -keyout b.key -out b.cert",
		log:    "use_PrivateKey_file", says: "of the same kind"},
	{name: "key 0644", damage: "chmod 644 b.key", log: "b.key unsafe: Group readable file",
		says: "Group readable|World readable"},
	{name: "certificate 0666", damage: "chmod 666 b.cert", log: "b.cert unsafe: Group writable file",
		says: "writable file"},
	{name: "key of another owner", damage: "chown 2001 b.key", log: "b.key unsafe: Permission denied",
		says: "Permission denied"},
	{name: "certificate garbage", damage: "echo hello > b.cert", rsa: true, offered: true,
		log: `use_certificate_file\(.*b.cert\) failed`, says: "use_certificate_file"},
	{name: "key garbage", damage: "echo hello > b.key", rsa: true, offered: true,
		log: `use_PrivateKey_file\(.*b.key\) failed`, says: "use_PrivateKey_file"},
	{name: "neither file can be loaded", damage: "echo hello > b.key; echo hello > b.cert", rsa: true, offered: true,
		log: `(?s)use_PrivateKey_file\(.*b.key\) failed.*use_certificate_file\(.*b.cert\) failed`, says: "use_PrivateKey_file"},
	{name: "they do not belong together", damage: "openssl ecparam -name prime256v1 -genkey -noout -out b.key",
		rsa: true, offered: true,
		log: "check_private_key 2 failed", says: "check_private_key"},
	{name: "certificate missing", damage: "rm b.cert", log: "b.cert unsafe: No such file or directory",
		says: "No such file"},
	{name: "key missing", damage: "rm b.key", log: "b.key unsafe: No such file or directory", says: "No such file"},
}

// What mailcertd reports about a second pair in sendmail.cf must be what the real sendmail then serves.
func TestSecondPairRules(t *testing.T) {
	bed.Need(t, true, "openssl")
	for _, c := range seconds {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.cf == "" {
				c.cf = "host.cert,b.cert host.key,b.key"
			}
			i := max(strings.LastIndex(c.cf, " host."), strings.LastIndex(c.cf, " b.key,host."))
			full := func(s string) string {
				return regexp.MustCompile(`[a-z]+\.(cert|key)`).ReplaceAllString(s, "/etc/mail/certs/$0")
			}
			h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1",
				"ServerCertFile=/etc/mail/certs/host.cert=>ServerCertFile="+full(c.cf[:i]),
				"ServerKeyFile=/etc/mail/certs/host.key=>ServerKeyFile="+full(c.cf[i+1:]))
			m := bed.Binary(t, "")
			h.Run(m, "ensure") // its status is not checked, because it cannot make the second pair
			h.Must(t, "sh", "-ec", `cd /etc/mail/certs; openssl req -x509 -nodes -subj /CN=mail-a.example.test -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
				-keyout b.key -out b.cert 2>/dev/null; chmod 600 b.key; { :; `+c.damage+"\n} 2>/dev/null")
			var rep struct {
				Offered  bool `json:"starttls_offered"`
				Problems []struct{ Text string }
			}
			out, _ := h.Run(m, "status", "--json")
			if err := json.Unmarshal([]byte(out), &rep); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			told := false
			for _, p := range rep.Problems {
				told = told || c.says != "" && regexp.MustCompile(c.says).MatchString(p.Text)
			}
			if rep.Offered != c.offered || told != (c.says != "") {
				t.Errorf("mailcertd says offered=%v, want %v; and %q: %v\n%s", rep.Offered, c.offered,
					c.says, told, out)
			}
			h.Start(t)
			log := h.Log()
			for kind, want := range map[string]bool{"rsa": c.rsa, "ecdsa": c.ecdsa} {
				if got := handshake(h, kind); got != want {
					t.Errorf("sendmail serves %s: %v, want %v", kind, got, want)
				}
			}
			h.Stop()
			var lines []string
			for line := range strings.SplitSeq(log, "\n") {
				if tlsComplaint.MatchString(line) || strings.Contains(line, "ServerCertFile missing") {
					lines = append(lines, line)
				}
			}
			if got := strings.Join(lines, "\n"); (c.log == "") != (got == "") ||
				!regexp.MustCompile(c.log).MatchString(got) {
				t.Errorf("sendmail's log, want %q:\n%s", c.log, got)
			}
		})
	}
}

// handshake reports whether a client that accepts only certificates of this kind can connect.
func handshake(h *bed.Host, kind string) bool {
	algorithms := map[string]string{"rsa": "RSA-PSS+SHA256:RSA+SHA256", "ecdsa": "ECDSA+SHA256"}[kind]
	out, _ := h.Run("sh", "-c",
		"echo QUIT | timeout 20 openssl s_client -starttls smtp -connect 127.0.0.1:25 -sigalgs "+algorithms+" 2>&1")
	return strings.Contains(out, "BEGIN CERTIFICATE")
}
