package certdir

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"mailcertd/internal/durable"

	"github.com/google/go-cmp/cmp"
)

var fileNames = []string{KeyName, CertName, CAName, DHName, "0a1b2c3d.0", "trust/t.pem"}

// node returns what Observe found under a name, and why it cannot be used.
func node(d Dir, name string) (durable.Node, error) {
	switch name {
	case KeyName:
		return d.Key.Node, d.Key.Key.Err
	case CertName:
		return d.Cert.Node, d.Cert.File.Err
	case CAName:
		return d.CA.Node, d.CA.File.Err
	case DHName:
		return d.DH.Node, d.DH.Node.Err
	case "trust/t.pem":
		if len(d.Trust) != 1 {
			return durable.Node{}, fmt.Errorf("%d trust files", len(d.Trust))
		}
		return d.Trust[0].Node, d.Trust[0].File.Err
	}
	if len(d.Links) != 1 {
		return durable.Node{}, fmt.Errorf("%d links", len(d.Links))
	}
	return d.Links[0].Node, nil
}

// Whatever is under a name is recognised, read up to a limit, and nothing hangs.
func TestObserveAnything(t *testing.T) {
	for name, c := range map[string]struct {
		put  func(path string) error
		kind durable.Kind
		err  error // the error of an entry that should be a file with content
	}{
		"missing": {func(string) error { return nil }, durable.Missing, fs.ErrNotExist},
		"a FIFO": {func(p string) error { return syscall.Mkfifo(p, 0o600) }, durable.Other,
			durable.ErrNotRegular},
		"a FIFO, linked": {func(p string) error {
			return errors.Join(syscall.Mkfifo(p+".fifo", 0o600), os.Symlink(p+".fifo", p))
		}, durable.Link, durable.ErrNotRegular},
		"a socket": {func(p string) error {
			l, err := net.Listen("unix", p)
			t.Cleanup(func() { l.Close() })
			return err
		}, durable.Other, durable.ErrNotRegular},
		"a device": {func(p string) error { return os.Symlink("/dev/zero", p) }, durable.Link,
			durable.ErrNotRegular},
		"a directory": {func(p string) error { return os.MkdirAll(filepath.Join(p, "x"), 0o755) }, durable.Directory,
			durable.ErrNotRegular},
		"huge": {func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o600), os.Truncate(p, 1<<40)) },
			durable.File, durable.ErrTooLarge},
		"dangling": {func(p string) error { return os.Symlink("gone", p) }, durable.Link, fs.ErrNotExist},
		"a loop":   {func(p string) error { return os.Symlink(filepath.Base(p), p) }, durable.Link, syscall.ELOOP},
	} {
		t.Run(name, func(t *testing.T) {
			for _, file := range fileNames {
				dir := t.TempDir()
				if err := os.Mkdir(filepath.Join(dir, TrustDir), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := c.put(filepath.Join(dir, file)); err != nil {
					t.Fatal(err)
				}
				if file == "trust/t.pem" && (c.kind == durable.Missing || name == "a FIFO, linked") {
					continue
				}
				d := Observe(dir)
				if d.Err != nil {
					t.Errorf("%s: %v", file, d.Err)
				}
				n, err := node(d, file)
				if file == "0a1b2c3d.0" {
					if c.kind == durable.Missing {
						continue
					}
					if n.Kind != c.kind || d.Links[0].Loads || d.Links[0].Right || err != nil {
						t.Errorf("%s: %+v, %v", file, d.Links[0], err)
					}
					continue
				}
				if n.Kind != c.kind || !errors.Is(err, c.err) && !(file == DHName && c.err == fs.ErrNotExist) {
					t.Errorf("%s: %s, %v", file, n.Kind, err)
				}
			}
		})
	}
}

// The directory is a link, or is missing.
func TestObserveDirectory(t *testing.T) {
	top := t.TempDir()
	real := filepath.Join(top, "a", "b")
	if err := os.MkdirAll(real, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(real, DHName), []byte("dh"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(top, "link")
	_ = os.Symlink("a/b", link)
	d := Observe(link)
	if d.Err != nil || d.Path != link || d.Node.Kind != durable.Link || d.Node.Resolved != real ||
		string(d.DH.Node.Data) != "dh" {
		t.Errorf("%+v", d)
	}
	var parents []string
	for _, p := range d.Parents { // these are the parents of the link's target: they decide who may write
		parents = append(parents, p.Path)
	}
	if len(parents) < 3 || parents[0] != filepath.Dir(real) || parents[1] != top || parents[len(parents)-1] != "/" {
		t.Errorf("%v", parents)
	}
	for name, path := range map[string]string{"a file": filepath.Join(real, DHName),
		"missing": filepath.Join(top, "none"), "below a file": filepath.Join(real, DHName, "x")} {
		if d := Observe(path); d.Err != nil || d.Node.IsDir || len(d.Links)+len(d.Trust)+len(d.Extra) > 0 ||
			len(d.Parents) < 2 {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// A file that must not be read is distinguished from a wrong or missing one, so that nothing is put in its place.
func TestObserveForbidden(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to become somebody else for a moment")
	}
	dir := t.TempDir()
	for _, p := range []string{filepath.Dir(dir), dir} {
		_ = os.Chmod(p, 0o755)
	}
	pem := bundle(caCert(t, "Ours"))
	_ = os.Mkdir(filepath.Join(dir, TrustDir), 0o755)
	for _, name := range fileNames {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(pem), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var d, closed Dir
	asNobody(func() { d = Observe(dir) })
	for _, name := range fileNames {
		n, err := node(d, name)
		if name == "0a1b2c3d.0" {
			err = n.Err
		}
		if n.Kind != durable.File || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %s, %v", name, n.Kind, err)
		}
	}
	if ch := Links(d.Links, nil); len(ch) > 0 {
		t.Errorf("a file that could not be read: %+v", ch)
	}
	_ = os.Chmod(dir, 0o700)
	asNobody(func() { closed = Observe(dir) })
	if !errors.Is(closed.Err, fs.ErrPermission) || !errors.Is(closed.Key.Key.Err, fs.ErrPermission) {
		t.Errorf("a closed directory: %v, %v", closed.Err, closed.Key.Key.Err)
	}
}

// asNobody drops root's rights over files in this thread only.
func asNobody(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0)
	defer func() { _, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 0, 0, 0) }()
	f()
}

// Entries are sorted by their names. Only exact names of hash links count as such.
func TestObserveNames(t *testing.T) {
	dir := t.TempDir()
	links := []string{"00000000.0", "0a1b2c3d.0", "0a1b2c3d.10", "0a1b2c3d.9999", "ffffffff.1"}
	extra := []string{"0A1B2C3D.0", "0a1b2c3.0", "0a1b2c3d", "0a1b2c3d.", "0a1b2c3d.00", "0a1b2c3d.01",
		"0a1b2c3d.10000", "0a1b2c3d.-1", "0a1b2c3d.0.old", "0x1b2c3d.0", "+a1b2c3d.0", "g0000000.0",
		"host.key.bak", ".hidden"}
	for _, n := range append(append([]string{StagingDir}, links...), extra...) {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := Observe(dir)
	var got []string
	for _, l := range d.Links {
		got = append(got, fmt.Sprintf("%08x.%d", l.Hash, l.N))
	}
	if diff := cmp.Diff(links, got); diff != "" {
		t.Error(diff)
	}
	seen := map[string]bool{}
	for _, n := range d.Extra {
		seen[n] = true
	}
	if len(d.Extra) != len(extra) {
		t.Errorf("%v", d.Extra)
	}
	for _, n := range extra {
		if !seen[n] {
			t.Errorf("%s is not among the other names", n)
		}
	}
}

// The private key is not kept in the result, whatever the file contains.
func TestObserveDropsSecret(t *testing.T) {
	dir := t.TempDir()
	key, err := exec.Command("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256").Output()
	if err != nil {
		t.Skip(err)
	}
	body := strings.Split(string(key), "\n")[1]
	for name, text := range map[string]string{"whole": string(key), "truncated": string(key[:100]),
		"damaged": strings.Replace(string(key), "M", "X", 3)} {
		if err := os.WriteFile(filepath.Join(dir, KeyName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d := Observe(dir)
		if d.Key.Node.Data != nil || d.Key.Digest == [32]byte{} ||
			strings.Contains(fmt.Sprintf("%+v %v", d, d.Key.Key.Err), body[8:40]) {
			t.Errorf("%s: the result contains the key", name)
		}
	}
}
