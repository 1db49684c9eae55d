package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// accept is one state of the files, with what the real sendmail does in that state and what mailcertd must report and
// repair.
type accept struct {
	name    string
	damage  string // shell commands that run in the certs directory
	changes []string
	offered bool
	log     string // a regular expression that sendmail's log must match; "" if no line may complain about a file
	keeps   bool   // ensure must not change the files: they are foreign, or nothing is wrong with them
}

const self = `openssl req -x509 -nodes -subj /CN=mail-a.example.test -addext subjectAltName=DNS:mail-a.example.test -keyout host.key -out host.cert `

// accepted is the table of facts about sendmail's rules for files: one row for each fact.
var accepted = []accept{
	{name: "as made", offered: true, keeps: true},
	{name: "key 0640", damage: "chmod 0640 host.key", log: `host.key unsafe: Group readable file`},
	{name: "key 0644", damage: "chmod 0644 host.key", log: `host.key unsafe: Group readable file`},
	{name: "key 0604", damage: "chmod 0604 host.key", log: `host.key unsafe: World readable file`},
	{name: "key 0620", damage: "chmod 0620 host.key", log: `host.key unsafe: Group writable file`},
	{name: "cert 0664", damage: "chmod 0664 host.cert", log: `host.cert unsafe: Group writable file`},
	{name: "cacert 0664", damage: "chmod 0664 cacert.pem", log: `cacert.pem unsafe: Group writable file`},
	{name: "cacert 0666", damage: "chmod 0666 cacert.pem", log: `cacert.pem unsafe: `},
	{name: "key of another owner", damage: "chown 2001 host.key", log: `host.key unsafe: Permission denied`},
	{name: "cert of another owner", damage: "chown 2001 host.cert", log: `host.cert unsafe: Permission denied`},
	{name: "directory 0775", damage: "chmod 0775 .", log: `unsafe: Group writable directory`},
	{name: "directory 0777", damage: "chmod 0777 .", log: `unsafe: World writable directory`},
	{name: "sticky directory", damage: "chmod 1777 .", log: `unsafe: World writable directory`},
	// /etc/mail itself with mode 0775 has no row, because sendmail does not start then.
	{name: "key 0400", damage: "chmod 0400 host.key", offered: true, keeps: true},
	{name: "cert 0600", damage: "chmod 0600 host.cert", offered: true, keeps: true},
	{name: "key inside a cert 0600", offered: true, keeps: true,
		damage: "cat host.key host.cert > x && cat x > host.cert; rm x; chmod 0600 host.cert"},
	{name: "directory 0700", damage: "chmod 0700 .", offered: true, keeps: true},
	{name: "hard link", damage: "ln host.key /etc/mail/other.key", offered: true, keeps: true},
	{name: "links to files",
		damage:  "mkdir ../real; for f in host.key host.cert cacert.pem; do mv $f ../real/; ln -s ../real/$f $f; done",
		offered: true, keeps: true},
	{name: "directory is a link", damage: "cd ..; mv certs real; ln -s real certs", offered: true, keeps: true},
	{name: "key missing", damage: "rm host.key", log: `host.key unsafe: No such file or directory`},
	{name: "cert missing", damage: "rm host.cert", log: `host.cert unsafe: No such file or directory`},
	{name: "cacert missing", damage: "rm cacert.pem", log: `cacert.pem unsafe: No such file or directory`},
	{name: "cacert empty", damage: ": > cacert.pem", log: `load verify locs .* failed`},
	{name: "cacert garbage", damage: "echo hello > cacert.pem", log: `load verify locs .* failed`},
	{name: "cert empty", damage: ": > host.cert", log: `use_certificate_file\(.*\) failed`},
	{name: "cert truncated", damage: "head -c 300 host.cert > x; cat x > host.cert; rm x",
		log: `use_certificate_file\(.*\) failed`},
	{name: "cert DER", damage: "openssl x509 -in host.cert -outform DER -out x; cat x > host.cert; rm x",
		log: `use_certificate_file\(.*\) failed`},
	{name: "key empty", damage: ": > host.key", log: `use_PrivateKey_file\(.*\) failed`},
	{name: "key encrypted", damage: "openssl pkey -in host.key -aes256 -passout pass:x -out x; cat x > host.key; rm x",
		log: `use_PrivateKey_file\(.*\) failed`},
	{name: "key of another certificate", damage: "openssl genrsa 2048 > host.key", log: `check_private_key failed`},
	{name: "RSA 512", damage: self + "-newkey rsa:512", log: `use_certificate_file\(.*\) failed|too small`},
	{name: "foreign", damage: self + "-newkey rsa:2048 && chmod 600 host.key", offered: true, keeps: true},
	{name: "expired", damage: `openssl req -new -nodes -newkey rsa:2048 -subj /CN=mail-a.example.test -keyout host.key -out /run/x.csr && chmod 600 host.key
		mkdir -p /run/x/newcerts; cd /run/x; : > index.txt; echo 01 > serial
		openssl ca -config /etc/mail/CA/openssl.cnf -batch -notext -selfsign -keyfile /etc/mail/certs/host.key -in ../x.csr -startdate 200101000000Z -enddate 200201000000Z -out /etc/mail/certs/host.cert`,
		offered: true, keeps: true},
	{name: "clientAuth only",
		damage: self + "-newkey rsa:2048 -addext extendedKeyUsage=clientAuth && chmod 600 host.key", offered: true,
		keeps: true},
	{name: "certificate inside the key", damage: "cat host.cert >> host.key", offered: true},
	{name: "CRLF", damage: "for f in host.key host.cert cacert.pem; do sed -i 's/$/\\r/' $f; done; chmod 600 host.key",
		offered: true, keeps: true},
	{name: "PKCS#1", damage: "openssl rsa -traditional -in host.key -out x && cat x > host.key; rm x", offered: true,
		keeps: true},
	{name: "P-256, SEC1",
		damage: "openssl ecparam -name prime256v1 -genkey -out host.key && openssl req -x509 -key host.key -subj " +
			"/CN=mail-a.example.test -out host.cert && chmod 600 host.key", offered: true, keeps: true},
	{name: "P-384", damage: self + "-newkey ec -pkeyopt ec_paramgen_curve:P-384 && chmod 600 host.key", offered: true,
		keeps: true},
	{name: "Ed25519", damage: self + "-newkey ed25519 && chmod 600 host.key", offered: true, keeps: true},
	{name: "dh.param missing", damage: "rm dh.param", offered: true, log: `dh.param unsafe: No such file or directory`},
	{name: "dh.param empty", damage: ": > dh.param", offered: true, log: `cannot read DH parameters`},
	{name: "dh.param garbage", damage: "echo hello > dh.param", offered: true, log: `cannot read DH parameters`},
	{name: "two pairs",
		damage: self +
			"-newkey ec -pkeyopt ec_paramgen_curve:P-256 && mv host.key b.key && mv host.cert b.cert && chmod 600 " +
			"b.key && cp -p ../keep/* .",
		changes: []string{
			"ServerCertFile=/etc/mail/certs/host.cert=>ServerCertFile=/etc/mail/certs/host.cert,/etc/mail/certs/b.cert",
			"ServerKeyFile=/etc/mail/certs/host.key=>ServerKeyFile=/etc/mail/certs/host.key,/etc/mail/certs/b.key"},
		offered: true, keeps: true},
	{name: "second pair missing",
		changes: []string{
			"ServerCertFile=/etc/mail/certs/host.cert=>ServerCertFile=/etc/mail/certs/host.cert,/etc/mail/certs/b.cert",
			"ServerKeyFile=/etc/mail/certs/host.key=>ServerKeyFile=/etc/mail/certs/host.key,/etc/mail/certs/b.key"},
		log: `init=0|unsafe`, keeps: true},
	{name: "CRL missing", changes: []string{"+O CRLFile=/etc/mail/certs/crl.pem"}, offered: true,
		log: `X509_CRL|crl.pem unsafe`, keeps: true},
	{name: "key 0640 allowed", damage: "chmod 0640 host.key",
		changes: []string{"+O DontBlameSendmail=GroupReadableKeyFile"}, offered: true, keeps: true},
	{name: "no CACertFile", changes: []string{"O CACertFile=/etc/mail/certs/cacert.pem=>#"}, log: "CACertFile missing",
		keeps: true},
	{name: "no CACertPath", changes: []string{"O CACertPath=/etc/mail/certs=>#"}, log: "CACertPath missing",
		keeps: true},
	{name: "CACertPath leads nowhere", changes: []string{"CACertPath=/etc/mail/certs=>CACertPath=/etc/mail/nowhere"},
		offered: true, keeps: true},
	{name: "CACertFile elsewhere",
		changes: []string{"CACertFile=/etc/mail/certs/cacert.pem=>CACertFile=/etc/mail/other.pem"},
		damage:  "cp cacert.pem ../other.pem", offered: true, keeps: true},
	{name: "CACertFile elsewhere, by a link here",
		changes: []string{"CACertFile=/etc/mail/certs/cacert.pem=>CACertFile=/etc/mail/other.pem"},
		damage:  "ln -s certs/cacert.pem ../other.pem", offered: true, keeps: true},
	{name: "CACertFile elsewhere, missing",
		changes: []string{"CACertFile=/etc/mail/certs/cacert.pem=>CACertFile=/etc/mail/other.pem"},
		log:     `other.pem unsafe: No such file or directory`, keeps: true},
	{name: "CACertFile elsewhere, garbage",
		changes: []string{"CACertFile=/etc/mail/certs/cacert.pem=>CACertFile=/etc/mail/other.pem"},
		damage:  "echo hello > ../other.pem", log: `load verify locs .*other.pem failed`, keeps: true},
	{name: "CACertFile elsewhere, writable by everybody",
		changes: []string{"CACertFile=/etc/mail/certs/cacert.pem=>CACertFile=/etc/mail/other.pem"},
		damage:  "cp cacert.pem ../other.pem; chmod 666 ../other.pem", log: `other.pem unsafe: `, keeps: true},
	{name: "sticky directory allowed", damage: "chmod 1777 .", changes: []string{"+O DontBlameSendmail=TrustStickyBit"},
		offered: true, keeps: true},
	{name: "sticky for a group, allowed", damage: "chmod 1775 .",
		changes: []string{"+O DontBlameSendmail=TrustStickyBit"}, offered: true, keeps: true},
	{name: "directory 0777, sticky ones allowed", damage: "chmod 0777 .",
		changes: []string{"+O DontBlameSendmail=TrustStickyBit"}, log: `unsafe: World writable directory`},
	{name: "directory 0775 allowed", damage: "chmod 0775 .",
		changes: []string{"+O DontBlameSendmail=GroupWritableDirPathSafe"}, offered: true, keeps: true},
}

// For each state, mailcertd must predict what the real sendmail does. After ensure, sendmail must have no complaint, or
// mailcertd must report the problem that it cannot repair.
func TestAcceptance(t *testing.T) {
	for _, c := range accepted {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1", c.changes...)
			m := bed.Binary(t, "")
			h.Run(m, "ensure") // the status is not checked: ensure cannot make a second pair complete
			if c.damage != "" {
				h.Must(t, "sh", "-ec", "cd /etc/mail/certs; mkdir ../keep; cp -p host.key host.cert ../keep; { "+
					c.damage+"; } >/dev/null 2>&1")
			}
			judge(t, h, m, c, c.offered, c.log)
			before := snapshot(t, h.Path("/etc/mail/certs"))
			out, code := h.Run(m, "ensure")
			if c.keeps {
				for name, text := range snapshot(t, h.Path("/etc/mail/certs")) {
					if was, ok := before[name]; ok && was != text {
						t.Errorf("ensure changed %s:\n%s", name, out)
					}
				}
				return
			}
			if code != 0 {
				t.Errorf("ensure: status %d\n%s", code, out)
			}
			judge(t, h, m, c, true, "")
		})
	}
}

// judge compares mailcertd's prediction with what sendmail does.
func judge(t *testing.T, h *bed.Host, m string, c accept, offered bool, log string) {
	t.Helper()
	out, _ := h.Run(m, "status", "--json")
	var rep struct {
		Offered  bool `json:"starttls_offered"`
		Problems []struct{ Text string }
	}
	if err := json.Unmarshal([]byte(out), &rep); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if rep.Offered != offered {
		t.Errorf("mailcertd says offered=%v, want %v\n%s", rep.Offered, offered, out)
	}
	start := len(h.Log())
	h.Start(t)
	if got := h.Offers(t); got != offered {
		t.Errorf("sendmail offers STARTTLS: %v, want %v\n%s", got, offered, h.Log()[start:])
	}
	h.Stop()
	var lines []string
	for line := range strings.SplitSeq(h.Log()[start:], "\n") {
		if tlsComplaint.MatchString(line) {
			lines = append(lines, line)
		}
	}
	got := strings.Join(lines, "\n")
	switch {
	case log == "" && got != "":
		t.Errorf("sendmail complains:\n%s", got)
	case log != "" && !regexp.MustCompile(log).MatchString(got):
		t.Errorf("sendmail's log lacks %q:\n%s", log, got)
	case log != "" && len(rep.Problems) == 0:
		t.Errorf("mailcertd reports nothing, sendmail says:\n%s", got)
	}
}

var tlsComplaint = regexp.MustCompile(`STARTTLS.*(unsafe|error|init=0|failed|cannot|CACert.* missing)`)

// snapshot returns the content, mode and link target of every file in dir, by name.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		p := filepath.Join(dir, e.Name())
		st, err := os.Lstat(p)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := os.Readlink(p)
		if st.Mode().IsRegular() {
			b, _ := os.ReadFile(p)
			text = string(b)
		}
		out[e.Name()] = st.Mode().String() + " " + text
	}
	return out
}
