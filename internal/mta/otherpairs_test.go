package mta

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/internal/pki"
)

// The second and the client pair are read if the cf names them, and judged by their purpose: a second server pair must
// be safe, a client pair never costs STARTTLS, and neither is a problem of the host's own pair.
func TestOtherPairs(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, mode os.FileMode, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	leaf := testPair(t)
	cert := put("x.cert", 0o644, pki.EncodeCertificate(leaf.Certificate[0]))
	key := put("x.key", 0o644, []byte("garbage"))
	base := "O CACertFile=" + cert + "\nO CACertPath=" + dir + "\n"
	for _, c := range []struct {
		name, options  string
		second, client bool
		fatal          bool
		says           []string
	}{
		{"one pair for both", "O ServerCertFile=/a\nO ServerKeyFile=/b\nO ClientCertFile=/a\nO ClientKeyFile=/b\n",
			false, false, false, nil},
		{"no client pair", "O ServerCertFile=/a\nO ServerKeyFile=/b\n", false, false, false, nil},
		{"a second pair", "O ServerCertFile=/a," + cert + "\nO ServerKeyFile=/b," + key + "\n", true, false, true,
			[]string{"x.key unsafe: World readable file", "x.key SSL_CTX_use_PrivateKey_file"}},
		{"a client pair", "O ServerCertFile=/a\nO ServerKeyFile=/b\nO ClientCertFile=" + cert + "\nO ClientKeyFile=" +
			key + "\n", false, true, false,
			[]string{"x.key unsafe: World readable file", "x.key SSL_CTX_use_PrivateKey_file"}},
		{"a client pair that does not exist",
			"O ServerCertFile=/a\nO ServerKeyFile=/b\nO ClientCertFile=/c\nO ClientKeyFile=/d\n", false, true, false,
			[]string{"/c unsafe: No such file", "/d unsafe: No such file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cf := ReadCF(put("x.cf", 0o644, []byte(base+c.options)))
			f := Files{OwnersOK: []uint32{uint32(os.Getuid())}}
			if cf.Second.Cert.Path != "" {
				f.Second = &cf.Second
			}
			if cf.Client.Cert.Path != "" {
				f.Client = &cf.Client
			}
			if (f.Second != nil) != c.second || (f.Client != nil) != c.client {
				t.Fatalf("read: second %v, client %v", f.Second, f.Client)
			}
			said, fatal := "", false
			for _, m := range Judge(cf, f).Complaints {
				if m.Of != FirstServer {
					said, fatal = said+m.Path+" "+m.Text+"\n", fatal || m.Fatal
				}
			}
			for _, s := range c.says {
				if !strings.Contains(said, s) {
					t.Errorf("there is no %q in:\n%s", s, said)
				}
			}
			if fatal != c.fatal || (said == "") != (c.says == nil) {
				t.Errorf("fatal %v:\n%s", fatal, said)
			}
		})
	}
}
