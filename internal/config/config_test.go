package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mailcertd/internal/durable"

	"github.com/google/go-cmp/cmp"
)

const sample = "../../etc/mailcertd.yaml.sample"

// The installed sample gives the defaults, with each of its lines commented out or not.
func TestSample(t *testing.T) {
	data, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	want := Default("")
	want.Path = "sample"
	got, err := Parse(data, "sample", "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("as installed (-want +got):\n%s", diff)
	}
	open := regexp.MustCompile(`(?m)^#( *[a-z_]+:.*)$`).ReplaceAll(data, []byte("$1"))
	if n := strings.Count(string(open), "\n") - strings.Count(string(data), "\n"); n != 0 {
		t.Fatal("lines were lost")
	}
	want.Key.TypeSet = true
	got, err = Parse(open, "sample", "")
	if err != nil {
		t.Fatalf("uncommented:\n%v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("uncommented (-want +got):\n%s", diff)
	}
	for f := range strings.FieldsSeq(
		"altnames rotate_after renew_before warn_days passphrase_file permitted_domains pid_file start_command " +
			"notify keep facility install") {
		if !strings.Contains(string(data), f+":") {
			t.Errorf("%s is not documented", f)
		}
	}
}

// Each testdata/NAME.yaml gives exactly the errors in NAME.errors; without such a file it must load.
func TestFiles(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.yaml")
	if len(files) < 10 {
		t.Fatalf("only %d files", len(files))
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			want, _ := os.ReadFile(strings.TrimSuffix(f, ".yaml") + ".errors")
			got := ""
			c, err := Parse(data, "c.yaml", "")
			if err != nil {
				var list Errors
				if !errors.As(err, &list) {
					t.Fatalf("not a list of errors: %v", err)
				}
				got = err.Error() + "\n"
			}
			if os.Getenv("UPDATE") != "" {
				if got != "" {
					_ = os.WriteFile(strings.TrimSuffix(f, ".yaml")+".errors", []byte(got), 0o644)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err == nil {
				again(t, c)
			}
		})
	}
}

// again checks that what `mailcertd config` prints gives the same configuration.
func again(t *testing.T, c Config) {
	t.Helper()
	d, err := Parse(c.YAML(), c.Path, c.Root)
	if err != nil {
		t.Fatalf("what was printed does not load:\n%s\n%v", c.YAML(), err)
	}
	if diff := cmp.Diff(c, d, cmp.FilterValues(func(a, b []string) bool { return len(a) == 0 && len(b) == 0 },
		cmp.Ignore())); diff != "" {
		t.Errorf("printed and read again (-first +second):\n%s", diff)
	}
}

func TestRoot(t *testing.T) {
	c, err := Parse(
		[]byte(
			"sendmail: {pid_file: /run/sm.pid, program: /opt/sendmail}\nca: {passphrase_file: /root/pp}\ntrust: "+
				"[system, /x.pem]\n"), "c.yaml", "/srv/demo")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{c.Certs.Dir, c.CA.Dir, c.State.Dir, c.Sendmail.CF, c.Sendmail.PidFile,
		c.CA.PassphraseFile, c.Trust[1]} {
		if !strings.HasPrefix(p, "/srv/demo/") {
			t.Errorf("%s is not below the root", p)
		}
	}
	if c.Sendmail.Program != "/opt/sendmail" || c.Trust[0] != "system" {
		t.Errorf("moved what must stay: %q %q", c.Sendmail.Program, c.Trust[0])
	}
	again(t, c)
}

// With --root, the files of an ACME CA and of the DNS are found as in a chroot(2) too, and nothing is written into a
// webroot that leads to nothing.
func TestFollowPublic(t *testing.T) {
	c, err := Parse([]byte("dns: {key_file: /x/1}\nissuer:\n  acme: {agree_tos: true, ca_file: /x/2, "+
		"http: {webroot: /x/3}, eab: {kid: a, hmac_file: /x/4}, "+
		"fallback: {directory: 'https://b.example/', agree_tos: true, ca_file: /x/5, eab: {kid: b, "+
		"hmac_file: /x/6}}}\n"), "c.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	a := &c.Issuer.ACME
	paths := []*string{&c.DNS.KeyFile, &a.CAFile, &a.HTTP.Webroot, &a.EAB.HMACFile, &a.Fallback.CAFile,
		&a.Fallback.EAB.HMACFile}
	lost := ""
	inside := func(p string) (string, error) {
		if p == lost {
			return "", durable.ErrNowhere
		}
		if rest, is := strings.CutPrefix(p, "/x/"); is {
			return "/in/" + rest, nil
		}
		return p, nil
	}
	if err := c.Follow(inside); err != nil {
		t.Fatal(err)
	}
	for i, p := range paths {
		if *p != fmt.Sprintf("/in/%d", i+1) {
			t.Errorf("%d: %s", i+1, *p)
		}
	}
	lost = a.HTTP.Webroot
	if err := c.Follow(inside); err == nil || !strings.Contains(err.Error(), "webroot") {
		t.Errorf("a webroot that leads to nothing: %v", err)
	}
}

func TestLoadMissing(t *testing.T) {
	c, err := Load(filepath.Join(t.TempDir(), "none.yaml"), "")
	if err != nil || !c.Missing {
		t.Fatalf("%v, %v", c.Missing, err)
	}
	if _, err := Load(t.TempDir(), ""); err == nil {
		t.Error("a directory was read as a file")
	}
}

// A configuration that loads is printed as one that loads to the same values.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, name := range append(files, sample) {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data, "c.yaml", "")
		if err != nil {
			var list Errors
			if !errors.As(err, &list) || len(list) == 0 {
				t.Fatalf("no list of errors: %v", err)
			}
			return
		}
		again(t, c)
	})
}
