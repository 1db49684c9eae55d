package test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailcertd/test/bed"
)

// postCA makes a CA by the manual steps that docs/from-the-post.md describes: in etc/mail/CA, with the stanza's
// openssl.cnf, an RSA key whose passphrase is encrypted in the given form, serial, and an empty index.txt. The host's
// certificate has the same DN as the CA and no SAN. Another certificate is for dhcp. The host's set is in
// etc/mail/certs.
const postCA = `set -e
mkdir -p "$1/etc/mail/CA/newcerts" "$1/etc/mail/certs"; cd "$1/etc/mail/CA"
cat > openssl.cnf <<END
[ ca ]
default_ca = d
[ d ]
dir = .
database = \$dir/index.txt
new_certs_dir = \$dir/newcerts
certificate = \$dir/cacert.pem
serial = \$dir/serial
private_key = \$dir/cakey.pem
x509_extensions = usr
default_days = 365
default_crl_days = 30
default_md = sha256
policy = any
[ any ]
countryName = optional
stateOrProvinceName = optional
localityName = optional
organizationName = optional
commonName = supplied
[ req ]
distinguished_name = dn
prompt = no
x509_extensions = v3_ca
[ dn ]
C = XX
ST = Some-state
L = Some-city
O = Some-org
CN = krb5.home.example
[ usr ]
basicConstraints = CA:FALSE
nsComment = "OpenSSL Generated Certificate"
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid,issuer
[ v3_ca ]
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always,issuer
basicConstraints = critical,CA:true
END
: > index.txt; echo 01 > serial
openssl req -batch -config openssl.cnf -newkey rsa:2048 -nodes -keyout plain.key -new -x509 -days 3650 -out cacert.pem
openssl $2 -in plain.key -out cakey.pem -passout pass:secret
rm plain.key
openssl req -batch -config openssl.cnf -newkey rsa:2048 -nodes -keyout host.key -new -out host.csr
openssl ca -batch -config openssl.cnf -passin pass:secret -notext -in host.csr -out host.cert
openssl req -batch -config openssl.cnf -subj /CN=dhcp.home.example -newkey rsa:2048 -nodes -keyout dhcp.key -new -out dhcp.csr
openssl ca -batch -config openssl.cnf -passin pass:secret -notext -in dhcp.csr -out dhcp.cert
chmod 700 . ; chmod 600 cakey.pem *.key
cp host.cert host.key cacert.pem ../certs; ln -s cacert.pem ../certs/$(openssl x509 -noout -hash -in cacert.pem).0
`

const adoptedYAML = "host: {name: krb5.home.example}\nlog: {target: stderr}\n"

func adopted(t *testing.T, form string) (root, m string) {
	t.Helper()
	bed.Need(t, false, "openssl", "script")
	root = t.TempDir()
	if out, err := exec.Command("sh", "-c", postCA, "sh", root, form).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	write(t, filepath.Join(root, "usr/local/etc/mailcertd.yaml"), adoptedYAML, 0o644)
	return root, bed.Binary(t, "")
}

// onTerminal runs a command on a terminal of its own. typed alternates between a text to wait for and the line to type
// after it.
func onTerminal(t *testing.T, command string, typed ...string) (string, int) {
	t.Helper()
	cmd := exec.Command("script", "-qefc", command, "/dev/null")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	expire := time.AfterFunc(bed.Patience, func() { _ = cmd.Process.Kill() })
	defer expire.Stop()
	b := make([]byte, 4096)
	from := 0
	for {
		n, err := out.Read(b)
		seen.Write(b[:n])
		for len(typed) >= 2 && strings.Contains(seen.String()[from:], typed[0]) {
			from = seen.Len()
			if _, err := io.WriteString(in, typed[1]+"\n"); err != nil {
				t.Fatal(err)
			}
			typed = typed[2:]
		}
		if err != nil {
			break
		}
	}
	_ = cmd.Wait()
	if len(typed) > 0 {
		t.Errorf("never asked %q:\n%s", typed[0], seen.String())
	}
	return seen.String(), cmd.ProcessState.ExitCode()
}

// tree is snapshot of dir and of every directory below it.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := snapshot(t, dir)
	for name, what := range snapshot(t, dir) {
		if strings.HasPrefix(what, "d") {
			for sub, w := range tree(t, filepath.Join(dir, name)) {
				out[name+"/"+sub] = w
			}
		}
	}
	return out
}

func command(m, root string, args ...string) (string, int) {
	out, err := exec.Command(m, append([]string{"--root", root}, args...)...).CombinedOutput()
	if err == nil {
		return string(out), 0
	}
	var code int
	if _, scan := fmt.Sscanf(err.Error(), "exit status %d", &code); scan != nil {
		return string(out) + err.Error(), -1
	}
	return string(out), code
}

// ensure adopts a CA that was made by hand, for each form of an encrypted key. It changes no file without need, list
// shows the CA's certificates, the installed certificate stays until its renewal, and the passphrase opens the key,
// read from a file or typed.
func TestAdoptedCA(t *testing.T) {
	t.Parallel()
	for form, args := range map[string]string{
		"PBES2":       "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256",
		"PBES2 SHA-1": "pkcs8 -topk8 -v2 aes-128-cbc -v2prf hmacWithSHA1",
		"scrypt":      "pkcs8 -topk8 -scrypt",
		"Proc-Type":   "rsa -traditional -aes256",
		"DES3":        "rsa -traditional -des3",
	} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			root, m := adopted(t, args)
			before := tree(t, filepath.Join(root, "etc/mail"))
			out, code := command(m, root, "ensure")
			if code != 0 || !strings.Contains(out, "ca-locked") {
				t.Errorf("ensure: %d\n%s", code, out)
			}
			after := tree(t, filepath.Join(root, "etc/mail"))
			for path, was := range before {
				if after[path] != was {
					t.Errorf("%s changed: %s, %s", path, was, after[path])
				}
			}
			for path := range after {
				if before[path] == "" && path != "certs/dh.param" && !strings.HasPrefix(path, "certs/.mailcertd") {
					t.Errorf("%s is new", path)
				}
			}
			if out, code := command(m, root, "list"); code != 0 || !strings.Contains(out, "krb5.home.example") ||
				!strings.Contains(out, "dhcp.home.example") {
				t.Errorf("list: %d\n%s", code, out)
			}
			if out, _ := command(m, root, "ca", "show"); !strings.Contains(out, "with a passphrase") {
				t.Errorf("ca show:\n%s", out)
			}
			if out, code := command(m, root, "renew"); code != 1 || !strings.Contains(out, "passphrase") {
				t.Errorf("renew without a terminal: %d\n%s", code, out)
			}
			wrong := []string{"Passphrase of", "one", "Passphrase of", "two", "Passphrase of", "three"}
			if out, code := onTerminal(t, m+" --root "+root+" renew", wrong...); code != 1 ||
				!strings.Contains(out, "and nothing was changed") || strings.Contains(out, "three") {
				t.Errorf("three wrong passphrases: %d\n%s", code, out)
			}
			if diff := cmp.Diff(after, tree(t, filepath.Join(root, "etc/mail"))); diff != "" {
				t.Errorf("a wrong passphrase changed something:\n%s", diff)
			}
			if out, code := onTerminal(t, m+" --root "+root+" renew", "Passphrase of", "oops", "Passphrase of",
				"secret"); code != 0 || !strings.Contains(out, "issued a certificate for krb5.home.example") ||
				strings.Contains(out, "secret") {
				t.Errorf("renew on a terminal: %d\n%s", code, out)
			}
			// Without a terminal the passphrase comes from a file, which is refused while others can read it.
			pass := filepath.Join(root, "root/pass")
			write(t, pass, "secret\n", 0o644)
			write(t, filepath.Join(root, "usr/local/etc/mailcertd.yaml"),
				adoptedYAML+"ca: {passphrase_file: /root/pass}\n", 0o644)
			if out, code := command(m, root, "renew"); code != 1 ||
				!strings.Contains(out, "others must not be able to read it") {
				t.Errorf("a loose passphrase file: %d\n%s", code, out)
			}
			write(t, pass, "secret\n", 0o600)
			if out, code := command(m, root, "renew"); code != 0 {
				t.Errorf("renew with a passphrase file: %d\n%s", code, out)
			}
			if got, err := os.ReadFile(filepath.Join(root, "etc/mail/CA/serial")); err != nil ||
				strings.TrimSpace(string(got)) != "03" || len(serialOf(root)) != 16 {
				t.Errorf("serial %s, and openssl's count is %q, want 03 as before: %v", serialOf(root), got, err)
			}
			if out, code := command(m, root, "ca", "rollover"); code != 0 || strings.Contains(out, "secret") {
				t.Errorf("rollover: %d\n%s", code, out)
			}
			if out, err := exec.Command("openssl", "pkey", "-in", filepath.Join(root, "etc/mail/CA/cakey.pem"),
				"-passin", "pass:secret", "-noout").CombinedOutput(); err != nil {
				t.Errorf("the next generation's key has another passphrase: %s", out)
			}
			if out, err := exec.Command("openssl", "pkey", "-in", filepath.Join(root, "etc/mail/CA/cakey.pem"),
				"-passin", "pass:", "-noout").CombinedOutput(); err == nil {
				t.Errorf("the next generation's key has none: %s", out)
			}
			write(t, pass, "another\n", 0o600)
			if out, code := command(m, root, "check"); code != 1 || !strings.Contains(out, "ca-passphrase") ||
				strings.Contains(out, "another\n") {
				t.Errorf("check with a wrong passphrase: %d\n%s", code, out)
			}
		})
	}
}

// ca init --encrypt asks for the passphrase twice and never writes the key to the disk in clear.
func TestEncryptedCA(t *testing.T) {
	t.Parallel()
	bed.Need(t, false, "script", "openssl")
	m, root := bed.Binary(t, ""), t.TempDir()
	write(t, filepath.Join(root, "usr/local/etc/mailcertd.yaml"),
		adoptedYAML+"ca: {subject: {country: jp, organization: Home}}\n", 0o644)
	if out, code := onTerminal(t, m+" --root "+root+" ca init --encrypt", "New passphrase", "a",
		"Repeat the passphrase", "b", "New passphrase", "s3cret", "Repeat the passphrase", "s3cret"); code != 0 ||
		!strings.Contains(out, "with a passphrase") || strings.Contains(out, "s3cret") {
		t.Fatalf("%d\n%s", code, out)
	}
	key, err := os.ReadFile(filepath.Join(root, "etc/mail/CA/cakey.pem"))
	if err != nil || !bytes.Contains(key, []byte("ENCRYPTED PRIVATE KEY")) {
		t.Fatalf("%v, %.40s", err, key)
	}
	if out, err := exec.Command("openssl", "pkey", "-in", filepath.Join(root, "etc/mail/CA/cakey.pem"), "-passin",
		"pass:s3cret", "-noout").CombinedOutput(); err != nil {
		t.Errorf("openssl: %s", out)
	}
	if out, code := command(m, root, "ensure"); code != 0 || len(serialOf(root)) != 16 {
		t.Errorf("ensure: %d\n%s", code, out)
	}
	if out, code := command(m, root, "issue", "--yes", "dhcp.home.example", "-o",
		filepath.Join(root, "x")); code != 1 || !strings.Contains(out, "passphrase") {
		t.Errorf("issue without a terminal: %d\n%s", code, out)
	}
	if _, err := os.Stat(filepath.Join(root, "x")); err == nil {
		t.Error("a file was left")
	}
	if out, code := onTerminal(t, m+" --root "+root+" issue --encrypt dhcp.home.example -o "+root+"/x", "Passphrase of",
		"s3cret", "Sign the certificate?", "y", "New passphrase", "k3y", "Repeat the passphrase", "k3y"); code != 0 {
		t.Errorf("issue: %d\n%s", code, out)
	}
	other := t.TempDir()
	write(t, filepath.Join(other, "usr/local/etc/mailcertd.yaml"),
		"host: {name: dhcp.home.example}\nissuer: none\n", 0o644)
	if out, code := onTerminal(t, m+" --root "+other+" install "+root+"/x", "Passphrase of", "no", "Passphrase of",
		"k3y"); code != 0 || len(serialOf(other)) != 16 {
		t.Errorf("install: %d\n%s", code, out)
	}
	if out, code := command(m, other, "check"); code != 0 {
		t.Errorf("check: %d\n%s", code, out)
	}
	if key, _ := os.ReadFile(filepath.Join(other, "etc/mail/certs/host.key")); bytes.Contains(key,
		[]byte("ENCRYPTED")) || !bytes.Contains(key, []byte("PRIVATE KEY")) {
		t.Error("sendmail cannot use an encrypted key")
	}
}
