package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// periodicConf takes the place of the part of /etc/defaults/periodic.conf that scripts use, as periodic.conf(5)
// describes it.
const periodicConf = `source_periodic_confs() { [ ! -r "$PERIODIC_CONF" ] || . "$PERIODIC_CONF"; }
check_yesno_period() {
	eval "_on=\$$1 _period=\$${1%enable}period"
	case $_on in [Yy][Ee][Ss]) ;; *) return 1 ;; esac
	case $PERIODIC in "" | security | "security $_period") return 0 ;; esac
	return 1
}
`

// periodic is a host with 480.mailcertd below a prefix of its own.
type periodic struct {
	t      *testing.T
	h      *bed.Host
	m      string // path of mailcertd
	prefix string
	script string
	env    []string
	shells []string
}

func newPeriodic(t *testing.T) *periodic {
	t.Helper()
	bed.Need(t, true, "dash", "bash")
	p := &periodic{t: t, h: bed.NewHost(t, "mail-a.example.test", "10.99.0.1"), prefix: t.TempDir(),
		shells: []string{"dash", "bash"}}
	if _, err := exec.LookPath("busybox"); err == nil {
		p.shells = append(p.shells, "busybox sh")
	}
	src, err := os.ReadFile("../etc/periodic/security/480.mailcertd")
	if err != nil {
		t.Fatal(err)
	}
	subr, _ := filepath.Abs("rcsubr/rc.subr")
	p.script, p.m = p.prefix+"/480.mailcertd", p.prefix+"/sbin/mailcertd"
	write(t, p.script, strings.NewReplacer("%%PREFIX%%", p.prefix, "/etc/defaults/periodic.conf", p.prefix+"/defaults",
		"/etc/rc.subr", subr).Replace(string(src)), 0o755)
	write(t, p.prefix+"/defaults", periodicConf, 0o644)
	if err := os.MkdirAll(p.prefix+"/sbin", 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", bed.Binary(t, ""), p.m).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p.env = []string{"PATH=/sbin:/bin:/usr/sbin:/usr/bin", "PERIODIC=security daily",
		"PERIODIC_CONF=" + p.prefix + "/periodic.conf", "RCSUBR_CONF=" + p.prefix + "/rc.conf"}
	p.rcConf(`mailcertd_enable="YES"`)
	return p
}

func (p *periodic) rcConf(lines ...string) {
	write(p.t, p.prefix+"/rc.conf", strings.Join(lines, "\n")+"\n", 0o644)
}

func (p *periodic) conf(lines ...string) {
	write(p.t, p.prefix+"/periodic.conf", strings.Join(lines, "\n")+"\n", 0o644)
}

func (p *periodic) yaml(text string) {
	write(p.t, p.prefix+"/etc/mailcertd.yaml", text, 0o644)
}

func (p *periodic) verb(args ...string) []string {
	return append([]string{p.m, "--config", p.prefix + "/etc/mailcertd.yaml"}, args...)
}

// want runs the script with every shell and checks its status and that its output has these words. Without words, there
// must be no output.
func (p *periodic) want(code int, words ...string) (text string) {
	p.t.Helper()
	for _, shell := range p.shells {
		cmd := p.h.Command(append(strings.Fields(shell), p.script)...)
		cmd.Env = p.env
		b, err := cmd.CombinedOutput()
		got := 0
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			got = exit.ExitCode()
		} else if err != nil {
			p.t.Fatal(err)
		}
		text = string(b)
		if got != code || len(words) == 0 && text != "" {
			p.t.Errorf("%s: status %d, want %d:\n%s", shell, got, code, text)
		}
		flat := strings.Join(strings.Fields(text), " ") // because the script breaks long reasons into lines
		for _, w := range words {
			if !strings.Contains(flat, w) {
				p.t.Errorf("%s: it does not say %q:\n%s", shell, w, text)
			}
		}
		for line := range strings.SplitSeq(text, "\n") {
			if len(line) > 80 && code != 2 { // a path may have any length
				p.t.Errorf("%d columns: %s", len(line), line)
			}
		}
	}
	return text
}

// bought installs a set of another issuer that expires at ends.
func bought(t *testing.T, h *bed.Host, ends time.Time) {
	t.Helper()
	sign := func(c, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) []byte {
		c.NotBefore, c.NotAfter = ends.AddDate(0, 0, -90), ends
		if parent == nil {
			parent, parentKey = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	caKey, leafKey := key(), key()
	root := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Somebody"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	rootPEM := sign(root, nil, caKey, nil)
	leaf := sign(&x509.Certificate{SerialNumber: big.NewInt(0xB2), Subject: pkix.Name{CommonName: h.Name},
		DNSNames: []string{h.Name}}, root, leafKey, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := h.Path("/etc/mail/certs")
	write(t, dir+"/host.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), 0o600)
	write(t, dir+"/host.cert", string(leaf), 0o644)
	write(t, dir+"/cacert.pem", string(rootPEM), 0o644)
}

// The daily mail says nothing when all is well; otherwise it says what a person has to do.
func TestPeriodic(t *testing.T) {
	t.Parallel()
	p := newPeriodic(t)
	h := p.h

	p.yaml("key: {type: ecdsa-p256}\n")
	h.Must(t, p.verb("ensure")...)
	h.Start(t)
	p.want(0)

	// The same certificate is issued for a few days. mailcertd renews it in time by itself, so the mail says nothing
	// until a renewal has failed.
	p.yaml("key: {type: ecdsa-p256}\nvalidity: {days: 6}\n")
	h.Must(t, p.verb("renew")...)
	p.want(0)

	// This certificate was carried to another host by hand, and expires soon.
	utc := func(d time.Duration) string { return time.Now().Add(d).UTC().Format("060102150405Z") }
	h.Must(t, "sh", "-ec", `cd /etc/mail/CA
openssl req -config openssl.cnf -newkey rsa:2048 -nodes -keyout /var/db/other.key -out /var/db/other.csr -subj /CN=other.example.test -addext subjectAltName=DNS:other.example.test
openssl ca -config openssl.cnf -batch -notext -startdate `+utc(-40*24*time.Hour)+` -enddate `+utc(132*time.Hour)+` -in /var/db/other.csr -out /var/db/other.pem`)
	got := p.want(1, "warning issued", "other.example.test serial ", "carried by hand")
	const text = `
sendmail's certificates need attention (within 30 days):
SEVERITY  WHAT    ENDS        DAYS  NAME
warning   issued  DATE  5     other.example.test
          serial SERIAL, carried by hand: make
          ` + "the next one with `mailcertd sign` or `mailcertd issue --replace`\n"
	if got = regexp.MustCompile(`\d{4}-\d\d-\d\d`).ReplaceAllString(got,
		"DATE"); regexp.MustCompile(`[0-9A-F]{16,}`).ReplaceAllString(got, "SERIAL") != text {
		t.Errorf("got:\n%s\nwant:\n%s", got, text)
	}
	p.conf(`security_status_mailcertd_days="3"`)
	p.want(0)
	p.conf(`security_status_mailcertd_days="soon"`)
	p.want(2, `security_status_mailcertd_days is "soon"`)
	p.conf(`security_status_mailcertd_enable="NO"`)
	p.want(0)
	p.conf(`security_status_mailcertd_period="weekly"`)
	p.want(0)
	p.conf()
	p.rcConf(`mailcertd_enable="NO"`)
	p.want(0)
	p.rcConf(`mailcertd_enable="YES"`)
	out := h.Must(t, "sh", "-c", p.m+" --config "+p.prefix+"/etc/mailcertd.yaml status --due 30 --json || :")
	var rep struct {
		Version int
		Due     []struct{ Severity, What, Name string }
	}
	if err := json.Unmarshal([]byte(out), &rep); err != nil || rep.Version != 1 || len(rep.Due) != 1 ||
		rep.Due[0].What != "issued" || rep.Due[0].Severity != "warning" {
		t.Errorf("%v, %+v:\n%s", err, rep, out)
	}
	p.yaml("key: {type: ecdsa-p256}\n")
	h.Must(t, p.verb("issue", "other.example.test", "--yes", "--replace", "-o", "/var/db/other2.pem")...)
	p.want(0) // the new certificate replaces it

	// The CA's key is lost long before a certificate expires.
	caKey := h.Path("/etc/mail/CA/cakey.pem")
	if err := os.Rename(caKey, caKey+".away"); err != nil {
		t.Fatal(err)
	}
	p.want(3, "error ca-damaged", "/etc/mail/CA")
	if err := os.Rename(caKey+".away", caKey); err != nil {
		t.Fatal(err)
	}
	p.want(0)

	// Another set was installed, and sendmail got no HUP.
	bought(t, h, time.Now().AddDate(0, 0, 60))
	p.want(3, "error sendmail", "127.0.0.1:25 serves serial ", "which is not the certificate on disk")
	p.conf(`security_status_mailcertd_probe="NO"`)
	p.want(0)
	p.conf()
	h.Must(t, p.verb("ensure")...)
	p.want(0)

	// A certificate of another issuer expires.
	bought(t, h, time.Now().AddDate(0, 0, 9))
	h.Must(t, p.verb("ensure")...)
	p.want(1, "warning host", " 8 mail-a.example.test", "issued by another CA, so mailcertd does not renew it")
	bought(t, h, time.Now().AddDate(0, 0, -3))
	h.Must(t, "sh", "-c", strings.Join(p.verb("ensure"), " ")+" || :")
	p.want(3, "error host", "mail-a.example.test expired; issued by another CA")
	p.yaml("issuer: none\n")
	p.want(3, "error host", "issuer is none")

	// A sendmail that its owner has stopped is not reported.
	h.Stop()
	bought(t, h, time.Now().AddDate(0, 0, 60))
	h.Must(t, p.verb("ensure")...)
	p.want(0)

	// A HUP would end this sendmail, so the pickup stays pending.
	h.Start(t, "sh", "-c", "cd /usr/sbin && exec ./sendmail -L sm-mta -bd -q30m")
	bought(t, h, time.Now().AddDate(0, 0, 61))
	if out, code := h.Run(p.verb("ensure")...); code != 1 {
		t.Fatalf("ensure: %d\n%s", code, out)
	}
	p.want(3, "error sendmail - - pickup has not picked up the files on disk since", "a relative path")
	h.Stop()
	h.Start(t)
	h.Must(t, p.verb("ensure")...)
	p.want(0)

	// The configuration is wrong, or a program is missing.
	p.yaml("dh: ffdhe9999\n")
	p.want(2, "mailcertd's settings or its configuration have errors:", "ffdhe9999")
	p.rcConf(`mailcertd_enable="YES"`, `mailcertd_config="`+p.prefix+`/own.yaml"`)
	p.want(2, "own.yaml: no such file")
	write(t, p.prefix+"/own.yaml", "issuer: none\n", 0o644)
	p.want(0)
	p.rcConf(`mailcertd_enable="YES"`)
	_ = os.Remove(p.prefix + "/etc/mailcertd.yaml")
	p.want(0)
	_ = os.Remove(p.m)
	p.want(2, "sbin/mailcertd does not exist")
}

// shellcheck must accept the script as it is installed.
func TestPeriodicShellcheck(t *testing.T) {
	bed.Need(t, false, "shellcheck")
	// SC1091: periodic.conf and rc.subr are not here. SC2154: they set the rest. SC2223: as base scripts write
	// defaults.
	out, err := exec.Command("shellcheck", "-s", "sh", "-e", "SC1091,SC2154,SC2223",
		"../etc/periodic/security/480.mailcertd").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
