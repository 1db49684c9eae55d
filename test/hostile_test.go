package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailcertd/test/bed"
)

// login runs a command on the CA host over ssh, with the member's key, as a hostile member could.
func (o *owner) login(stdin []byte, before []string, words ...string) (string, int) {
	args := append([]string{"timeout", "20", "ssh", "-i", "/etc/mail/ssh/id", "-o", "BatchMode=yes", "-o",
		"StrictHostKeyChecking=yes",
		"-o", "UserKnownHostsFile=/etc/mail/ssh/known_hosts"}, before...)
	cmd := o.b.Command(append(append(args, "mailcertd@10.99.0.1"), words...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

// csr makes a certificate request with openssl; extensions are lines for its configuration.
func csr(t *testing.T, key, subject, extensions string, more ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "conf"),
		"[req]\ndistinguished_name=dn\nreq_extensions=ext\nprompt=no\nstring_mask=utf8only\n[dn]\n"+subject+"\n[ext]\n"+
			extensions+"\n", 0o600)
	args := append([]string{"req", "-new", "-config", "conf", "-nodes", "-newkey", key, "-keyout", "k", "-out",
		"r"}, more...)
	cmd := exec.Command("openssl", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "r"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A hostile member uses its own key with the real sshd and can get a certificate for its own name only. Each other
// request must be refused and logged with its reason, and the CA directory must not change.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	o := newOwner(t)
	o.daemons(t)
	bed.Wait(t, "the member's first certificate", func() error {
		got, _ := o.b.Run("openssl", "x509", "-noout", "-issuer", "-in", "/etc/mail/certs/host.cert")
		if !strings.Contains(got, "mailcertd CA") {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	bed.Wait(t, "the CA to rest", func() error {
		if out := o.a.Must(t, o.m, memberConf, "ca", "show"); strings.Contains(out, "never seen") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	const rsa, own, name = "rsa:2048", "CN=" + memberName, "subjectAltName=DNS:" + memberName
	good := csr(t, rsa, own, name)
	mail := func(body ...[]byte) []byte { return bytes.Join(body, nil) }
	before := requests(t, o)
	for _, c := range []struct {
		what string
		body []byte
		says string
	}{
		{"another host", csr(t, rsa, "CN=mail-c.example.test", "subjectAltName=DNS:mail-c.example.test"),
			"may not have a certificate"},
		{"the CA host", csr(t, rsa, "CN=mail-a.example.test", name), "may not have a certificate"},
		{"one name more", csr(t, rsa, own, name+",DNS:mail-a.example.test"), "may not have a certificate"},
		{"an address", csr(t, rsa, own, name+",IP:10.99.0.1"), "may not have a certificate"},
		{"a wildcard", csr(t, rsa, own, "subjectAltName=DNS:*.example.test"), "wildcard"},
		{"a CA", csr(t, rsa, own, name+"\nbasicConstraints=critical,CA:TRUE"), "CA"},
		{"a weak key", csr(t, "rsa:1024", own, name), "1024"},
		{"SHA-1", csr(t, rsa, own, name, "-sha1"), "SHA"},
		{"an unknown curve", csr(t, "ec", own, name, "-pkeyopt", "ec_paramgen_curve:secp256k1"), "refused"},
		{"an e-mail address", csr(t, rsa, own, name+",email:root@example.test"), "refused"},
		{"a URI", csr(t, rsa, own, name+",URI:http://example.test/"), "refused"},
		{"a slash for index.txt", csr(t, rsa, "CN=x/CN=mail-a.example.test", name), "refused"},
		{"a tab for index.txt", csr(t, rsa, "CN=x\\x09V", name), "refused"},
		{"a broken signature", mail([]byte(strings.Replace(string(good), "A", "B", 40))), "refused"},
		{"two requests", mail(good, good), "refused"},
		{"a key in it", mail(good, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")),
			"refused"},
		{"100 KB", bytes.Repeat([]byte("x"), 100<<10), "larger than"},
		{"nothing", nil, "refused"},
		{"garbage", bytes.Repeat([]byte{0, 255, 27, '\n'}, 300), "refused"},
		{"another sender", mail([]byte("from: mail-a.example.test\n"), good), "refused"},
		{"ten thousand digests", mail([]byte("mailcertd-request 1\n"),
			bytes.Repeat([]byte("trusts: "+strings.Repeat("a", 64)+"\n"), 700), []byte("\n")), "refused"},
	} {
		out, _ := o.login(c.body, nil, "whatever", ";", "cat", "/etc/passwd")
		if !strings.Contains(out, c.says) || strings.Contains(out, "BEGIN CERTIFICATE") ||
			strings.Contains(out, "root:") {
			t.Errorf("%s: %.600q", c.what, out)
		}
		if diff := cmp.Diff(before, requests(t, o)); diff != "" {
			t.Fatalf("%s: the CA's directory changed:\n%s", c.what, diff)
		}
	}
	if n := strings.Count(o.aLog(), "request refused"); n < 18 {
		t.Errorf("%d refusals in the log", n)
	}
	for what, c := range map[string]struct {
		before []string
		words  []string
	}{
		"a shell":      {nil, []string{"id; cat /etc/mail/CA/cakey.pem"}},
		"a terminal":   {[]string{"-tt"}, []string{"id"}},
		"a subsystem":  {[]string{"-s"}, []string{"sftp"}},
		"agent and X":  {[]string{"-A", "-X"}, []string{"id"}},
		"port forward": {[]string{"-o", "ExitOnForwardFailure=yes", "-R", "2525:127.0.0.1:25"}, []string{"id"}},
		"stdio":        {[]string{"-W", "127.0.0.1:25"}, nil},
	} {
		out, code := o.login([]byte("x\n"), c.before, c.words...)
		if strings.Contains(out, "uid=") || strings.Contains(out, "KEY") || strings.Contains(out, "220 ") ||
			code == 0 && !strings.Contains(out, "status: refused") {
			t.Errorf("%s: %d, %.400q", what, code, out)
		}
	}
	// The member gets certificates for its own name: four unexpired ones at most.
	got := 0
	for range 6 {
		if out, _ := o.login(csr(t, "ec", own, name, "-pkeyopt", "ec_paramgen_curve:P-256"), nil); strings.Contains(out,
			"status: signed") {
			got++
		} else if !strings.Contains(out, "status: refused") || !strings.Contains(out, "mailcertd revoke") {
			t.Errorf("another key: %.500q", out)
		}
	}
	if got != 0 {
		t.Errorf("%d certificates over other keys", got)
	}
}

// requests is a snapshot of the CA directory, without the notes about members.
func requests(t *testing.T, o *owner) map[string]string {
	all := tree(t, o.a.Path("/etc/mail/CA"))
	delete(all, "members.json")
	return all
}

// The account that members log in to is not trusted either. It must not be able to read the CA, nor make the daemon
// follow, wait for or read a file that belongs to somebody else.
func TestHostileAccount(t *testing.T) {
	t.Parallel()
	o := newOwner(t)
	o.daemons(t)
	a := o.a
	as := func(command string) (string, int) { return a.Run(a.AsAccount("sh", "-c", command)...) }
	for _, command := range []string{"ls /etc/mail/CA", "cat /etc/mail/CA/cakey.pem", "cat /etc/mail/CA/cacert.pem",
		"ls /var/spool/mailcertd/in", "touch /var/spool/mailcertd/out/x",
		"rm -rf /var/spool/mailcertd/out/* && test -e /nonexistent",
		"mv /var/spool/mailcertd/in /var/spool/mailcertd/old", "ls /var/db/mailcertd", "cat /etc/mail/certs/host.key"} {
		if out, code := as(command); code == 0 {
			t.Errorf("%s: %s", command, out)
		}
	}
	id := func(n int) string { return fmt.Sprintf("/var/spool/mailcertd/in/%032x.req", n) }
	for i, command := range []string{"ln -s /etc/mail/CA/cakey.pem %s", "mkfifo %s", "mkdir %s", "truncate -s 1G %s",
		"ln /etc/mail/sendmail.cf %s", ": > %s", "printf 'from: ../../x\\nx' > %s",
		"printf 'from: " + memberName + "\\n' > %s; head -c 200000 /dev/zero >> %[1]s"} {
		if out, _ := as(fmt.Sprintf(command, id(i+1))); strings.Contains(out, "not found") {
			t.Fatalf("%s: %s", command, out)
		}
	}
	as("i=0; while [ $i -lt 2000 ]; do : > /var/spool/mailcertd/in/junk$i; i=$((i+1)); done")
	if out, code := a.Run(a.AsAccount(o.m, memberConf, "sign", "--submit", "../../x")...); code != 2 {
		t.Errorf("--submit ../../x: %d\n%s", code, out)
	}
	if out, _ := a.Run(a.AsAccount("timeout", "20", o.m, memberConf, "sign", "--submit",
		"mail-c.example.test")...); !strings.Contains(out, "is not a member of this CA") {
		t.Errorf("a host that is not a member: %s", out)
	}
	if out, code := o.b.Run(o.m, memberConf, "renew"); code != 0 {
		t.Errorf("a real request after all that: %d\n%s\n%s", code, out, o.aLog())
	}
	if strings.Contains(o.aLog(), "PRIVATE KEY") {
		t.Error("the log has a key")
	}
}

// Whatever fails on the CA host, the member goes on serving its present certificate, reports the reason, and can renew
// when the fault is gone.
func TestFailingCA(t *testing.T) {
	t.Parallel()
	o := newOwner(t)
	a, b := o.a, o.b
	log := a.Daemon(t, o.m, memberConf, "run")
	_ = log
	b.Run(o.m, memberConf, "ensure")
	b.Start(t)
	b.Must(t, o.m, memberConf, "renew")
	keys := a.Path("/etc/mail/ssh/authorized_keys")
	line, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	real := o.m + " --config /etc/mail/mailcertd.yaml sign --submit " + memberName
	if !bytes.Contains(line, []byte(real)) {
		t.Fatalf("%s", line)
	}
	write(t, a.Path("/etc/mail/bin/fault"), "", 0o755)
	for _, c := range []struct {
		what, command, says string
	}{
		{"refuses to run", "echo no such luck >&2; exit 1", "no such luck"},
		{"says nothing", "cat >/dev/null", "not a message"},
		{"garbage", "head -c 5000 /dev/urandom", "not a message"},
		{"half a reply", real + " | head -c 900", "incomplete"},
		{"a reply that ends between two parts", real + " | sed '/END CERTIFICATE/q'", "incomplete"},
		{"a whole reply, and then a failure", real + "; exit 3", "exit status 3"},
		{"too much", "head -c 2000000 /dev/zero", "more than"},
		{"a certificate alone", "cat /etc/mail/host.pem", "not a message"},
		{"text before it", "echo Welcome; " + real, "not a message"},
		{"somebody else's certificate", real +
			" >/dev/null; printf 'mailcertd-reply 1\\nstatus: signed\\nparts: 2\\n\\n'; cat /etc/mail/host.pem " +
			"/etc/mail/CA.pem", "another key"},
	} {
		before := b.Serial("127.0.0.1:25")
		write(t, a.Path("/etc/mail/bin/fault"), "#!/bin/sh\n"+c.command+"\n", 0o755)
		ca, err := os.ReadFile(a.Path("/etc/mail/CA/cacert.pem"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, a.Path("/etc/mail/CA.pem"), string(ca), 0o644)
		a.Must(t, "cp", "/etc/mail/certs/host.cert", "/etc/mail/host.pem")
		write(t, keys, strings.Replace(string(line), real, "/etc/mail/bin/fault", 1), 0o644)
		out, code := b.Run("timeout", "30", o.m, memberConf, "renew")
		if code != 1 || !strings.Contains(out, c.says) {
			t.Errorf("%s: %d\n%s", c.what, code, out)
		}
		if got := b.Serial("127.0.0.1:25"); got != before {
			t.Errorf("%s: serves %s, and served %s", c.what, got, before)
		}
		if out, _ := b.Run(o.m, memberConf, "check"); !strings.Contains(out, "issuer-away") {
			t.Errorf("%s: check says\n%s", c.what, out)
		}
	}
	write(t, keys, string(line), 0o644)
	known, err := os.ReadFile(b.Path("/etc/mail/ssh/known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	other := a.SSHKey(t, "/etc/mail/ssh/other")
	write(t, b.Path("/etc/mail/ssh/known_hosts"), "10.99.0.1 "+other+"\n", 0o644)
	if out, code := b.Run(o.m, memberConf, "renew"); code != 1 ||
		!strings.Contains(out, "Host key verification failed") && !strings.Contains(out, "IDENTIFICATION") {
		t.Errorf("another host key: %d\n%s", code, out)
	}
	write(t, b.Path("/etc/mail/ssh/known_hosts"), string(known), 0o644)
	a.StopSSHD()
	if out, code := b.Run(o.m, memberConf, "renew"); code != 1 || !strings.Contains(out, "refused") {
		t.Errorf("the CA host does not answer: %d\n%s", code, out)
	}
	a.SSHD(t)
	before := b.Serial("127.0.0.1:25")
	if out, code := b.Run(o.m, memberConf, "renew"); code != 0 || b.Serial("127.0.0.1:25") == before {
		t.Errorf("after all: %d\n%s", code, out)
	}
}
