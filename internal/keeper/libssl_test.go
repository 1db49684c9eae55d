package keeper

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The security level is also found where openssl.cnf includes the file or directory that sets it.
func TestLibsslIncludes(t *testing.T) {
	const chain = "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n"
	const level = "[c]\nCipherString = DEFAULT@SECLEVEL=3\n"
	for _, c := range []struct {
		what  string
		files map[string]string // DIR in the contents stands for the directory
		want  int               // -1 means the level of the system's build
	}{
		{"none", map[string]string{"openssl.cnf": chain + level}, 3},
		{"a file", map[string]string{"openssl.cnf": chain + ".include DIR/more.cnf\n", "more.cnf": level}, 3},
		{"with an equals sign, quotes and a comment",
			map[string]string{"openssl.cnf": chain + "  .include = \"DIR/more.cnf\" # here\n", "more.cnf": level}, 3},
		{"a file within a file", map[string]string{"openssl.cnf": ".include DIR/x\n", "x": chain + ".include DIR/y",
			"y": level}, 3},
		{"a directory", map[string]string{"openssl.cnf": chain + ".include DIR/conf.d\n", "conf.d/10.conf": "[z]\n",
			"conf.d/20.cnf": level}, 3},
		{"another kind of file in it", map[string]string{"openssl.cnf": chain + ".include DIR/conf.d\n",
			"conf.d/20.cnf.bak": level}, -1},
		{"a later setting",
			map[string]string{"openssl.cnf": chain + ".include DIR/more.cnf\n[c]\nCipherString = DEFAULT@SECLEVEL=4\n",
				"more.cnf": level}, 4},
		{"missing", map[string]string{"openssl.cnf": chain + ".include DIR/gone.cnf\n" + level}, 3},
		{"itself", map[string]string{"openssl.cnf": chain + level + ".include DIR/openssl.cnf\n"}, 3},
		{"a longer word that begins with .include", map[string]string{"openssl.cnf": chain + ".includes DIR/more.cnf\n",
			"more.cnf": level}, -1},
	} {
		dir := t.TempDir()
		for name, text := range c.files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want := libssl()
		if c.want >= 0 {
			want = want.AtLevel(c.want)
		}
		if got := systemLibssl(filepath.Join(dir, "openssl.cnf")); got != want {
			t.Errorf("%s: %+v, want %+v", c.what, got, want)
		}
	}
}
