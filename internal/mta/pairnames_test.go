package mta

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The names of two pairs are split as sendmail 8.17 does; test/secondpair_test.go compares with it.
func TestNamePairs(t *testing.T) {
	for _, c := range []struct {
		name, cert, key string
		certs, keys     []string
		problem         string
	}{
		{"one pair", "/a.cert", "/a.key", []string{"/a.cert"}, []string{"/a.key"}, ""},
		{"two pairs", "/a.cert,/b.cert", "/a.key,/b.key", []string{"/a.cert", "/b.cert"},
			[]string{"/a.key", "/b.key"}, ""},
		{"no certificate", "", "/a.key,/b.key", nil, []string{"/a.key,/b.key"}, ""},
		{"no key", "/a.cert,/b.cert", "", []string{"/a.cert", "/b.cert"}, nil, ""},
		{"one key", "/a.cert,/b.cert", "/a.key", []string{"/a.cert", "/b.cert"}, []string{"/a.key"},
			"ServerKeyFile: names one file, and ServerCertFile two: the second certificate is not used"},
		{"one certificate", "/a.cert", "/a.key,/b.key", []string{"/a.cert"}, []string{"/a.key,/b.key"},
			`ServerKeyFile: sendmail takes "/a.key,/b.key" for one name, because ServerCertFile has no comma: sendmail offers no STARTTLS`},
		{"a blank", "/a.cert, /b.cert", "/a.key,/b.key", []string{"/a.cert", " /b.cert"}, []string{"/a.key", "/b.key"},
			`ServerCertFile: the blank in " /b.cert" is a part of the name for sendmail: write the two names with a comma alone between them`},
		{"a blank before", "/a.cert,/b.cert", "/a.key ,/b.key", []string{"/a.cert", "/b.cert"},
			[]string{"/a.key ", "/b.key"},
			`ServerKeyFile: the blank in "/a.key "`},
		{"three", "/a.cert,/b.cert,/c.cert", "/a.key,/b.key", []string{"/a.cert", "/b.cert,/c.cert"},
			[]string{"/a.key", "/b.key"},
			`ServerCertFile: names more than two files: sendmail takes "/b.cert,/c.cert" for one name`},
		{"nothing after the comma", "/a.cert,", "/a.key,", []string{"/a.cert", ""}, []string{"/a.key", ""},
			"ServerCertFile: there is no name on one side of the comma: sendmail offers no STARTTLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cf := ParseCF([]byte("O ServerCertFile=" + c.cert + "\nO ServerKeyFile=" + c.key + "\nO ClientCertFile=" +
				c.cert + "\nO ClientKeyFile=" + c.key + "\n"))
			if diff := cmp.Diff([][]string{c.certs, c.keys, c.certs, c.keys},
				[][]string{cf.ServerCert, cf.ServerKey, cf.ClientCert, cf.ClientKey}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			told := strings.Join(cf.Problems, "\n")
			if (c.problem == "") != (told == "") || !strings.Contains(told, c.problem) {
				t.Errorf("there is no %q in:\n%s", c.problem, told)
			}
		})
	}
}
