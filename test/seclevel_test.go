package test

import (
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// systemLevel makes the host's openssl.cnf set a security level for every program.
func systemLevel(t *testing.T, h *bed.Host, level string) {
	h.Must(t, "sh", "-ec", `printf '[ssl_sect]\nsystem_default = all\n[all]\nCipherString = DEFAULT@SECLEVEL=%s # a comment\n[init]\nssl_conf = ssl_sect\n' `+level+` > /run/o
		{ echo openssl_conf = init; cat /run/o; } > /run/openssl.cnf; mount --bind /run/openssl.cnf "$(readlink -f /etc/ssl/openssl.cnf)"`)
}

// chained makes a chain of root, intermediate and leaf, with the host's key, in the certs directory. root is the key
// size of the root in bits, middle and leaf are the digests of those two signatures, and cacert is the content of
// cacert.pem.
func chained(root, middle, leaf, cacert string) string {
	return `cd /run; openssl req -x509 -newkey rsa:` + root + ` -nodes -days 900 -subj /CN=Root -keyout root.key -out root.pem
printf 'basicConstraints=critical,CA:true\nkeyUsage=keyCertSign\n' > ca.ext
openssl req -newkey rsa:2048 -nodes -subj /CN=Middle -keyout middle.key -out middle.csr
openssl x509 -req -` + middle + ` -in middle.csr -CA root.pem -CAkey root.key -set_serial 5 -days 800 -extfile ca.ext -out middle.pem
printf 'subjectAltName=DNS:mail-a.example.test\n' > leaf.ext
openssl req -new -key /etc/mail/certs/host.key -subj /CN=mail-a.example.test -out leaf.csr
openssl x509 -req -` + leaf + ` -in leaf.csr -CA middle.pem -CAkey middle.key -set_serial 6 -days 700 -extfile leaf.ext -out /etc/mail/certs/host.cert
cat ` + cacert + ` > /etc/mail/certs/cacert.pem; cd /etc/mail/certs`
}

// The security level decides which files sendmail can load and which certificates it can send: openssl.cnf's level when
// it loads its files, CipherList's level in handshakes. mailcertd must report what the real sendmail does.
func TestSecurityLevel(t *testing.T) {
	const rsa1024 = self + "-newkey rsa:1024; chmod 600 host.key"
	const both = "/run/middle.pem /run/root.pem"
	for _, c := range []struct {
		name, system, list string // levels of openssl.cnf and CipherList; "" sets none
		files              string
		serves             bool
		says               string // what check must report
	}{
		{"level 1 loads RSA 1024", "1", "", rsa1024, true, ""},
		{"CipherList refuses it later", "1", "2", rsa1024, false, "ee key too small"},
		{"level 0 loads SHA-1", "0", "", chained("2048", "sha256", "sha1", both), true, ""},
		{"level 1 does not: ensure puts its own certificate there", "1", "0",
			chained("2048", "sha256", "sha1", both), true, ""},
		{"CipherList refuses SHA-1 later", "0", "1", chained("2048", "sha256", "sha1", both), false, "ca md too weak"},
		{"a good chain", "2", "", chained("2048", "sha256", "sha256", both), true, ""},
		{"a root of 512 bits", "1", "", chained("512", "sha256", "sha256", both), false, "ca key too small"},
		{"a root of 1024 bits, at level 1", "1", "", chained("1024", "sha256", "sha256", both), true, ""},
		{"a root of 1024 bits, at level 2", "2", "", chained("1024", "sha256", "sha256", both), false,
			"ca key too small"},
		{"it is not here", "2", "", chained("1024", "sha256", "sha256", "/run/middle.pem"), true, ""},
		{"an intermediate with SHA-1", "1", "", chained("2048", "sha1", "sha256", both), false, "ca md too weak"},
		{"an intermediate with SHA-1 behind a hash link", "1", "", chained("2048", "sha1", "sha256", "/run/root.pem") +
			"; cp /run/middle.pem m.pem; ln -s m.pem $(openssl x509 -noout -hash -in m.pem).0", false,
			"ca md too weak"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var cf []string
			if c.list != "" {
				cf = append(cf, "+O CipherList=DEFAULT@SECLEVEL="+c.list)
			}
			h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1", cf...)
			m := bed.Binary(t, "")
			systemLevel(t, h, c.system)
			h.Run(m, "ensure")
			h.Must(t, "sh", "-ec", "cd /etc/mail/certs; { "+c.files+"; } >/dev/null 2>&1")
			h.Run(m, "ensure") // it makes the hash links
			h.Start(t)
			if served := h.Serial("127.0.0.1:25"); (served != "") != c.serves {
				t.Fatalf("sendmail serves %q\n%s", served, h.Log())
			}
			status, _ := h.Run(m, "status", "--json")
			if said := strings.Contains(status, `"starttls_offered": true`); said != c.serves {
				t.Errorf("we say %v\n%s", said, status)
			}
			if out, code := h.Run(m, "check"); c.says != "" && (code != 1 || !strings.Contains(out, c.says)) ||
				c.says == "" && code != 0 {
				t.Errorf("check: %d\n%s", code, out)
			}
		})
	}
}
