package test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// postDoc is the page that puts openssl's commands beside ours.
const postDoc = "../docs/from-the-post.md"

// instead are the only differences between what the page says and what is run,
// each for a reason.
var instead = []struct{ why, says, runs string }{
	{"finding parameters takes minutes", "openssl dhparam ", "openssl dhparam -dsaparam "},
	{"nobody is there to type the passphrase", "-keyout cakey.pem", "-keyout cakey.pem -passout pass:secret"},
	{"nor to type it, and y twice", "openssl ca -config openssl.cnf -in", "openssl ca -config openssl.cnf -batch -passin pass:secret -in"},
	{"nor to type y", "mailcertd issue ", "mailcertd issue --yes "},
	{"root's key and known hosts lie elsewhere", "scp ", "scp -q -i /etc/mail/ssh/id -o BatchMode=yes -o UserKnownHostsFile=/etc/mail/ssh/known_hosts "},
	{"root's key and known hosts lie elsewhere", "ssh root@", "ssh -i /etc/mail/ssh/id -o BatchMode=yes -o UserKnownHostsFile=/etc/mail/ssh/known_hosts root@"},
	{"sshd's PATH is not the bench's", ".example mailcertd sign", ".example /etc/mail/bin/mailcertd sign"},
	{"no service(8): TestRC runs the script", "service sendmail restart", "/etc/mail/bin/restart"},
	{"no service(8): TestRC runs the script", "service sendmail start", "/etc/mail/bin/restart"},
	{"no service(8): TestRC runs the script", "service mailcertd start", "mailcertd ensure"},
	{"no service(8): TestRC runs the script", "service mailcertd reload", "mailcertd config"},
	{"no service(8): TestRC runs the script", "service mailcertd renew", "mailcertd renew"},
	{"no service(8): TestRC runs the script", "service mailcertd stop", ":"},
	{"no sysrc(8)", "sysrc mailcertd_enable=YES", ":"},
	{"the package with the bundle is FreeBSD's", "/usr/local/share/certs/ca-root-nss.crt", "/etc/ssl/certs/ca-certificates.crt"},
	{"the submission sendmail takes a sender that it may use", "| sendmail ", "| sendmail -Am -oi -f root@$(hostname) "},
}

// block is one code block of the page.
type block struct {
	info, text string
	line       int
}

func blocks(t *testing.T, path string) []block {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []block
	var open *block
	for i, line := range strings.Split(string(data), "\n") {
		switch {
		case open == nil && strings.HasPrefix(line, "```"):
			open = &block{info: strings.TrimPrefix(line, "```"), line: i + 1}
		case open != nil && line == "```":
			out = append(out, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	return out
}

// household is krb5 and dhcp, connected, with root's ssh between them.
func household(t *testing.T) map[string]*bed.Host {
	t.Helper()
	names := bed.Names
	t.Cleanup(func() { bed.Names = names })
	bed.Names = map[string]string{"10.99.0.1": "krb5.home.example", "10.99.0.2": "dhcp.home.example"}
	hosts := map[string]*bed.Host{}
	for ip, name := range bed.Names {
		hosts[strings.TrimSuffix(name, ".home.example")] = bed.NewHost(t, name, ip)
	}
	bed.Connect(t, hosts["krb5"], hosts["dhcp"])
	m, known, keys := bed.Binary(t, ""), "", ""
	for _, h := range hosts {
		line := h.SSHD(t)
		known += line + strings.Replace(line, h.IP, h.Name, 1)
		keys += h.SSHKey(t, "/etc/mail/ssh/id") + "\n"
		write(t, h.Path("/etc/mail/mailcertd.yaml"), "", 0o644)
		write(t, h.Path("/etc/mail/bin/mailcertd"), "#!/bin/sh\nexec "+m+" --config=/etc/mail/mailcertd.yaml \"$@\"\n", 0o755)
		write(t, h.Path("/etc/mail/bin/restart"), `#!/bin/sh
pid=$(head -1 /var/run/sendmail.pid 2>/dev/null) && kill $pid && while kill -0 $pid 2>/dev/null; do sleep 0.05; done
/usr/sbin/sendmail -L sm-mta -bd -q30m
until (exec 3<>/dev/tcp/127.0.0.1/25) 2>/dev/null; do sleep 0.05; done
`, 0o755)
		b, err := os.ReadFile(h.Path("/etc/mail/bin/restart"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, h.Path("/etc/mail/bin/restart"), strings.Replace(string(b), "#!/bin/sh", "#!/bin/bash", 1), 0o755)
	}
	for _, h := range hosts {
		write(t, h.Path("/etc/mail/ssh/known_hosts"), known, 0o644)
		write(t, h.Path("/etc/mail/ssh/authorized_keys"), keys, 0o644)
	}
	bought(t, hosts["dhcp"].Path("/etc/mail/bought"))
	return hosts
}

// bought is a certificate for dhcp of a CA with an intermediate.
func bought(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-ec", `
openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -subj "/O=Public CA/CN=Root" -days 3650
openssl req -newkey rsa:2048 -nodes -keyout i.key -out i.csr -subj "/O=Public CA/CN=Intermediate"
printf 'basicConstraints=critical,CA:TRUE\n' > i.ext
openssl x509 -req -in i.csr -CA root.pem -CAkey root.key -CAcreateserial -extfile i.ext -days 1800 -out intermediate.pem
openssl req -newkey rsa:2048 -nodes -keyout host.key -out h.csr -subj /CN=dhcp.home.example
printf 'subjectAltName=DNS:dhcp.home.example\nextendedKeyUsage=serverAuth,clientAuth\n' > h.ext
openssl x509 -req -in h.csr -CA intermediate.pem -CAkey i.key -CAcreateserial -extfile h.ext -days 300 -out host.cert
chmod 600 host.key`)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// Every command of the page is run, on one pair of hosts by hand and on another
// with mailcertd; both end with verify=OK in both logs.
func TestPost(t *testing.T) {
	all := blocks(t, postDoc)
	for _, way := range []string{"by-hand", "mailcertd"} {
		t.Run(way, func(t *testing.T) {
			hosts := household(t)
			ran, mailed := 0, false
			for i, b := range all {
				f := strings.Fields(b.info)
				switch {
				case len(f) == 1 && f[0] == "yaml":
					continue
				case len(f) == 2 && f[0] == "yaml" && hosts[f[1]] != nil:
					if way == "mailcertd" {
						write(t, hosts[f[1]].Path("/etc/mail/mailcertd.yaml"), swap(b.text), 0o644)
					}
					continue
				case len(f) != 3 || f[0] != "sh" || f[1] != "by-hand" && f[1] != "mailcertd" || hosts[f[2]] == nil:
					t.Fatalf("%s:%d: a block %q that nobody would run", postDoc, b.line, b.info)
				case f[1] != way:
					continue
				}
				h := hosts[f[2]]
				text := swap(b.text)
				if before, after, found := strings.Cut(text, "grep verify=OK /var/log/maillog"); found {
					page(t, h, b, before)
					bed.Wait(t, "verify=OK in the log of "+h.Name, func() error {
						if !regexp.MustCompile(`STARTTLS=client, relay=\w+\.home[^\n]*verify=OK`).MatchString(h.Log()) {
							return fmt.Errorf("%v", h.Log())
						}
						return nil
					})
					write(t, h.Path("/var/log/maillog"), h.Log(), 0o644)
					text = "grep verify=OK /var/log/maillog" + after
					mailed = true
				}
				page(t, h, b, text)
				ran++
				if way == "mailcertd" && !mailed && strings.Contains(b.text, "check --peer dhcp") {
					mailed = true
					for _, pair := range [][2]string{{"krb5", "dhcp"}, {"dhcp", "krb5"}} {
						if v := verdict(t, hosts[pair[0]], hosts[pair[1]], i); v != "OK" {
							t.Errorf("%s about %s: verify=%s", pair[1], pair[0], v)
						}
					}
				}
			}
			if ran < 10 || !mailed {
				t.Errorf("%d blocks, mail was exchanged: %t", ran, mailed)
			}
		})
	}
}

func swap(text string) string {
	for _, s := range instead {
		text = strings.ReplaceAll(text, s.says, s.runs)
	}
	return text
}

func page(t *testing.T, h *bed.Host, b block, text string) {
	t.Helper()
	if out, code := h.Run("env", "PATH=/etc/mail/bin:/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-ec", text); code != 0 {
		t.Fatalf("%s:%d on %s: status %d\n%s\n%s", postDoc, b.line, h.Name, code, text, out)
	}
}

// Every mailcertd command that the README shows is one that the program knows.
func TestReadmeCommands(t *testing.T) {
	data, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m, n := bed.Binary(t, ""), 0
	for _, line := range regexp.MustCompile("(?m)^    .*$").FindAllString(string(data), -1) {
		for _, part := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune("|&;<>#", r) }) {
			f := strings.Fields(part)
			for i, w := range f {
				if w != "mailcertd" || i > 0 && (f[i-1] == "service" || strings.HasSuffix(f[i-1], "=")) {
					continue
				}
				n++
				args := append(append([]string{}, f[i+1:]...), "--help")
				if out, err := exec.Command(m, args...).CombinedOutput(); err != nil || !strings.Contains(string(out), "Usage:") || len(f) > i+1 && !strings.Contains(string(out), "mailcertd "+f[i+1]) {
					t.Errorf("%s: %v\n%s", strings.TrimSpace(line), err, out)
				}
				break
			}
		}
	}
	if n < 8 {
		t.Errorf("only %d commands were found", n)
	}
}
