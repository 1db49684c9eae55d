package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// With a root, links lead where chroot(2) would lead them, and nowhere else.
func TestInside(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(base, "root")
	for _, dir := range []string{"root/etc/mail", "root/data/certs", "outside", "root/var"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"etc/relative": "../data/certs", "etc/absolute": "/data/certs", "etc/out": base + "/outside",
		"etc/up":  "../../outside",
		"etc/far": "../../../../data/certs", "etc/own": root + "/data/certs", "etc/dangling": "/data/none",
		"etc/plain-dangling": "../data/none",
		"etc/loop":           "/etc/loop", "etc/two": "absolute", "etc/tree": "/data",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"etc/mail": "etc/mail", "etc/none/at/all": "etc/none/at/all", "etc/relative": "etc/relative",
		"etc/own":      "etc/own",
		"etc/absolute": "data/certs", "etc/absolute/host.key": "data/certs/host.key", "etc/two/x": "data/certs/x",
		"etc/far":           "data/certs",
		"etc/tree/new/deep": "data/new/deep", "etc/plain-dangling": "etc/plain-dangling",
		"etc/out": "error", "etc/up": "error", "etc/dangling": "error", "etc/loop": "loop",
	} {
		got, err := Inside(root, filepath.Join(root, path))
		switch {
		case want == "loop":
			if !errors.Is(err, unix.ELOOP) {
				t.Errorf("%s: %q %v", path, got, err)
			}
		case want == "error":
			if err == nil || !strings.Contains(err.Error(), "points outside of "+root) {
				t.Errorf("%s: %q %v", path, got, err)
			}
		case err != nil || got != filepath.Join(root, want):
			t.Errorf("%s: %q %v, want %s", path, got, err, want)
		}
	}
	if got, err := Inside(root, "/elsewhere/x"); got != "/elsewhere/x" || err != nil {
		t.Errorf("a path that is not below root is left alone: %q %v", got, err)
	}
}
