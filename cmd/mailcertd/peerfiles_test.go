package main

import (
	"os"
	"path/filepath"
	"testing"

	"mailcertd/internal/certdir"
	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
)

// check --peer uses the files that sendmail uses as a client: those that sendmail.cf names, whatever is in the certs
// directory.
func TestClientFiles(t *testing.T) {
	dir := t.TempDir()
	ours := filepath.Join(dir, "certs")
	if err := os.Mkdir(ours, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, n := range []string{"host.cert", "host.key", "cacert.pem"} {
		write("certs/"+n, "x")
	}
	ca, cert, key := write("ca", "x"), write("c", "x"), write("k", "x")
	all := "O ServerCertFile=" + ours + "/host.cert\n"
	for _, c := range []struct {
		name, cf, root     string
		byCF               bool
		ca, cert, key, dir string
	}{
		{"others", all + "O CACertFile=" + ca + "\nO CACertPath=" + dir + "\nO ClientCertFile=" + cert +
			"\nO ClientKeyFile=" + key + "\n", "", true, ca, cert, key, dir},
		{"no client's pair", all + "O CACertFile=" + ca + "\n", "", true, ca, "", "", ""},
		{"below a root, unnamed", "O ServerCertFile=/etc/x\nO CACertFile=" + ca + "\n", dir, false,
			ours + "/cacert.pem", ours + "/host.cert", ours + "/host.key", ours},
		{"below a root, named", all + "O CACertFile=" + ca + "\n", dir, true, ca, "", "", ""},
	} {
		d, byCF := clientFiles(plan.Observed{CF: mta.ParseCF([]byte(c.cf)), Certs: certdir.Observe(ours)}, c.root)
		if byCF != c.byCF || d.CA.Node.Path != c.ca || d.Cert.Node.Path != c.cert || d.Key.Node.Path != c.key ||
			d.Path != c.dir {
			t.Errorf("%s: %v, CA %q in %q, certificate %q, key %q", c.name, byCF, d.CA.Node.Path, d.Path,
				d.Cert.Node.Path, d.Key.Node.Path)
		}
	}
	if d, byCF := clientFiles(plan.Observed{CF: mta.CF{Missing: true}, Certs: certdir.Observe(ours)}, ""); byCF ||
		d.Path != ours {
		t.Errorf("without a sendmail.cf: %v %q", byCF, d.Path)
	}
}
