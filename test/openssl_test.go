package test

import (
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"

	"mailcertd/test/bed"
)

// ossl runs openssl in dir and returns its output.
func ossl(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// openssl must accept what ensure and renew make, for every type of key.
func TestOpensslTakesIt(t *testing.T) {
	t.Parallel()
	bed.Need(t, false, "openssl")
	for _, kt := range []string{"rsa-2048", "rsa-3072", "ecdsa-p256", "ecdsa-p384"} {
		t.Run(kt, func(t *testing.T) {
			t.Parallel()
			root := site(t)
			write(t, filepath.Join(root, "usr/local/etc/mailcertd.yaml"),
				"host: {name: mail.example.test, altnames: [192.0.2.1, smtp.example.test]}\nkey: {type: "+kt+
					"}\nca: {key: "+kt+", subject: {country: JP, organization: 'Home, Ltd'}}\n", 0o644)
			m := bed.Binary(t, "")
			for _, verb := range []string{"ensure", "renew"} {
				if out, st := run(t, m, root, nil, verb); !st.Success() {
					t.Fatalf("%v\n%s", st, out)
				}
			}
			certs, ca := filepath.Join(root, "etc/mail/certs"), filepath.Join(root, "etc/mail/CA")
			for _, how := range [][]string{{"-CAfile", "cacert.pem"}, {"-no-CAfile", "-CApath", "."}} {
				for _, purpose := range []string{"sslserver", "sslclient"} {
					ossl(t, certs, append(append([]string{"verify", "-x509_strict", "-purpose", purpose}, how...),
						"host.cert")...)
				}
			}
			for flag, name := range map[string]string{"-checkhost": "mail.example.test", "-checkip": "192.0.2.1"} {
				if out := ossl(t, certs, "x509", "-noout", flag, name, "-in", "host.cert"); !strings.Contains(out,
					"does match") {
					t.Errorf("%s", out)
				}
			}
			ossl(t, certs, "pkey", "-check", "-noout", "-in", "host.key")
			if out := ossl(t, certs, "dhparam", "-check", "-noout", "-in", "dh.param"); !strings.Contains(out,
				"appear to be ok") {
				t.Errorf("%s", out)
			}
			if out := ossl(t, certs, "rehash", "-v", "."); !strings.Contains(out, "cacert.pem") {
				t.Errorf("%s", out)
			}
			if out, st := run(t, m, root, nil, "check"); !st.Success() {
				t.Errorf("after openssl rehash: %v\n%s", st, out)
			}
			// After a renewal two valid rows have the same subject, and openssl must still work.
			ossl(t, ca, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
			ossl(t, ca, "req", "-config", "openssl.cnf", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null",
				"-out", "x.csr", "-subj", "/CN=dhcp.example.test")
			ossl(t, ca, "ca", "-config", "openssl.cnf", "-batch", "-notext", "-in", "x.csr", "-out", "x.pem")
			if out, st := run(t, m, root, nil, "renew"); !st.Success() {
				t.Fatalf("after openssl ca: %v\n%s", st, out)
			}
			if s := serialOf(root); len(s) != 16 {
				t.Errorf("serial %s, want 64 bits", s)
			}
			linted(t, filepath.Join(certs, "host.cert"))
			linted(t, filepath.Join(certs, "cacert.pem"))
		})
	}
}

// linted runs zlint, without the rules that are for certificates of the public web.
func linted(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := pem.Decode(data)
	c, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := lint.GlobalRegistry().Filter(
		lint.FilterOptions{IncludeSources: lint.SourceList{lint.RFC5280, lint.RFC5480, lint.RFC5891, lint.RFC6962,
			lint.RFC8813, lint.Community}})
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for name, r := range zlint.LintCertificateEx(c, rules).Results {
		if r.Status == lint.Pass {
			ran++
		}
		if r.Status >= lint.Warn && !slices.Contains([]string{"w_sub_cert_aia_does_not_contain_issuing_ca_url"}, name) {
			t.Errorf("%s: %s: %v %s", filepath.Base(path), name, r.Status, r.Details)
		}
	}
	if ran < 20 {
		t.Errorf("%s: only %d rules applied", path, ran)
	}
}

// The system calls are those that the comment of Commit claims: each renamed file was synced before, the journal is
// written before the first rename into the certs directory, and the directory is synced after the last rename.
func TestSystemCalls(t *testing.T) {
	t.Parallel()
	bed.Need(t, false, "strace")
	root := site(t)
	m := bed.Binary(t, "")
	run(t, m, root, nil, "ensure")
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command("strace", "-f", "-y", "-s", "200", "-e",
		"trace=openat,fsync,rename,renameat,renameat2,unlink,unlinkat,symlinkat,mkdirat,fchmod,write,chmod,fchmodat",
		"-o", trace, m, "--root", root, "renew", "--rekey")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	certs := filepath.Join(root, "etc/mail/certs")
	synced, created := map[string]bool{}, map[string]string{}
	journal, committed, last := false, 0, ""
	rename := regexp.MustCompile(`rename\w*\((?:AT_FDCWD<[^>]*>, )?"([^"]+)", (?:AT_FDCWD<[^>]*>, )?"([^"]+)"`)
	for line := range strings.SplitSeq(string(data), "\n") {
		if strings.Contains(line, "PRIVATE KEY") {
			if !strings.Contains(line, "host.key.mailcertd") &&
				!regexp.MustCompile(`/backups/[^/]+/host\.key>`).MatchString(line) {
				t.Errorf("a key is written elsewhere: %.200s", line)
			}
		}
		if m := regexp.MustCompile(`openat\(.*"([^"]+)", ([A-Z_|]*O_CREAT[A-Z_|]*), (0\d+)`).FindStringSubmatch(
			line); m != nil {
			created[m[1]] = m[3]
			if !strings.Contains(m[2], "O_EXCL") || !strings.Contains(m[2], "O_NOFOLLOW") || m[3] != "0600" {
				t.Errorf("a file is created with a mode that is too wide: %s", line)
			}
		}
		if m := regexp.MustCompile(`fsync\(\d+<([^>]+)>\)\s+= 0`).FindStringSubmatch(line); m != nil {
			synced[m[1]] = true
			last = m[1]
		}
		if m := rename.FindStringSubmatch(line); m != nil && strings.Contains(line, "= 0") {
			from, to := m[1], m[2]
			if !synced[from] {
				t.Errorf("renamed before it was synced: %s", line)
			}
			synced[to] = true
			switch filepath.Dir(to) {
			case certs:
				if !journal {
					t.Errorf("installed before the journal: %s", line)
				}
				committed++
			case filepath.Join(certs, ".mailcertd"):
				journal = journal || filepath.Base(to) == "journal"
			}
			last = ""
		}
		if strings.Contains(line, "unlink") && strings.Contains(line, ".mailcertd/journal") && last != certs {
			t.Errorf("the journal goes before the directory is synced, after fsync of %q", last)
		}
	}
	if committed != 2 || len(created) < 6 {
		t.Errorf("%d files were installed, %d created\n%s", committed, len(created), data)
	}
}
