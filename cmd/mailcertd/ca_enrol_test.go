package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sshd starts the command of authorized_keys in another directory, so its paths must be absolute.
func TestForcedCommand(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ config, root, want string }{
		{"", "", " sign --submit b.example.org"},
		{"my.yaml", "", " --config " + filepath.Join(here, "my.yaml") + " sign --submit b.example.org"},
		{"/etc/my.yaml", "/jail/a", " --config /etc/my.yaml --root /jail/a sign --submit b.example.org"},
		{"my conf.yaml", "", ""},
		{`/q"x`, "", ""},
		{"", "/a;b", ""},
		{"", "/a\nb", ""},
	} {
		a := newApp(nil, io.Discard, io.Discard)
		a.configPath, a.root = c.config, c.root
		got, err := a.forcedCommand("b.example.org")
		if _, rest, _ := strings.Cut(got, " "); " "+rest != c.want && c.want != "" || (err != nil) != (c.want == "") {
			t.Errorf("%q, %q: %q, %v", c.config, c.root, got, err)
		}
	}
}

// A public key file may be empty, incomplete, or contain a type of key that is no longer used.
func TestKnownHost(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "\n": "", "ssh-ed25519": "", "ecdsa-sha2-nistp256\n": "", "ssh-dss AAAAB3 root@h": "",
		"ssh-ed25519 AAAAC3 root@h\n": "h ssh-ed25519 AAAAC3",
		"ecdsa-sha2-nistp256 AAAAE2":  "h ecdsa-sha2-nistp256 AAAAE2",
	} {
		if got := knownHost("h", []byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// A host key that cannot be read is left out, and a comment names it. A missing directory is not an error.
func TestHostKeys(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{os.WriteFile(filepath.Join(dir, "ssh_host_rsa_key.pub"),
		[]byte("ssh-rsa AAAA root@x\n"), 0o600),
		os.Mkdir(filepath.Join(dir, "ssh_host_ed25519_key.pub"), 0o700),
		os.WriteFile(filepath.Join(dir, "other.pub"), []byte("ssh-rsa BBBB\n"), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got := hostKeys(dir, "ca.example.org")
	if len(got) != 2 || got[1] != "ca.example.org ssh-rsa AAAA" ||
		!strings.HasPrefix(got[0], "# (a host key is left out: ") {
		t.Errorf("%q", got)
	}
	if got := hostKeys(filepath.Join(dir, "none"), "x"); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if got := hostKeys(filepath.Join(dir, "other.pub"), "x"); len(got) != 1 ||
		!strings.HasPrefix(got[0], "# (no host keys: ") {
		t.Errorf("%q", got)
	}
}
