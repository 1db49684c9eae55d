package test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// do runs a program in dir with env added to the environment, and returns its output.
func do(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	out, err := tryDo(dir, env, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func tryDo(dir string, env []string, args ...string) (string, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// checkout makes a clean repository with this tree, uncommitted changes included.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name := range strings.SplitSeq(strings.Trim(do(t, "..", nil, "git", "ls-files", "-coz", "--exclude-standard"),
		"\x00"), "\x00") {
		info, err := os.Stat(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue // removed, but not yet committed
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	do(t, dir, nil, "git", "init", "-q")
	commit(t, dir)
	return dir
}

func commit(t *testing.T, dir string) {
	t.Helper()
	do(t, dir, nil, "git", "add", "-A")
	do(t, dir, nil, "git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false",
		"commit", "--allow-empty", "-qm", "x")
}

// contents returns the files below dir with their modes. Names of directories end with a slash.
func contents(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	found := map[string]fs.FileMode{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(name, dir)
		if e.IsDir() {
			rel += "/"
		}
		found[rel] = info.Mode().Perm()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestDistAndPort makes a release of this tree, and installs it as the ports framework would: without network and with
// an empty module cache.
func TestDistAndPort(t *testing.T) {
	t.Parallel()
	needPort(t, "git", "bmake", "sha256sum", "gzip", "unshare")
	repo := checkout(t)
	tarball := filepath.Join(repo, "dist/mailcertd-"+release(t, "VERSION")+".tar.gz")
	do(t, repo, nil, "make", "port")
	first, err := os.ReadFile(tarball)
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(do(t, repo, nil, "git", "status", "--porcelain", "-uall")) {
		if strings.Contains(name, "/") && name != "ports/security/mailcertd/distinfo" {
			t.Errorf("%s is not what `sh scripts/port.sh` makes of its source: run it and commit", name)
		}
	}

	// The tarball must not depend on the commit of ports/, the umask, the user's locale or which make runs.
	commit(t, repo)
	do(t, repo, []string{"LC_ALL=C", "TZ=Asia/Tokyo"}, "sh", "-c", "umask 077; bmake port")
	second, err := os.ReadFile(tarball)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("the same commit gave two tarballs")
	}
	if out := do(t, repo, nil, "git", "status", "--porcelain"); out != "" {
		t.Errorf("the second run changed %s", out)
	}

	tree, _ := filepath.Abs("portstree")
	work, stage, prefix := t.TempDir(), t.TempDir(), "/opt/other"
	offline := []string{"GOPROXY=off", "GOFLAGS=-modcacherw", "GOTOOLCHAIN=local", "GOMODCACHE=" + t.TempDir()}
	alone := func(dir string, env []string, args ...string) {
		t.Helper()
		if os.Geteuid() == 0 {
			args = append([]string{"unshare", "-n"}, args...)
		}
		do(t, dir, append(slices.Clone(offline), env...), args...)
	}
	alone(filepath.Join(repo, "ports/security/mailcertd"), nil, "bmake", "-r", "-m", tree,
		"WRKDIR="+work, "STAGEDIR="+stage, "DISTDIR="+filepath.Dir(tarball), "PREFIX="+prefix, "stage")
	src := filepath.Join(work, "mailcertd-"+release(t, "VERSION"))
	alone(src, []string{"GOOS=freebsd", "GOARCH=amd64", "CGO_ENABLED=0"}, "go", "build", "-mod=vendor", "-trimpath",
		"-tags", "nethttpomithttp2", "./...") // with the flags of the port; -trimpath lets go use its cache here
	for _, name := range []string{"ports", ".git", ".ci", "dist"} {
		if _, err := os.Lstat(filepath.Join(src, name)); err == nil {
			t.Errorf("%s is in the tarball", name)
		}
	}

	plist(t, stage, prefix, filepath.Join(work, ".PLIST"))
	marks(t, stage, prefix)
	message, err := os.ReadFile(filepath.Join(work, "pkg-message"))
	if err != nil || bytes.Contains(message, []byte("%%")) {
		t.Errorf("pkg-message: a mark is left, or %v", err)
	}
	program := filepath.Join(stage, prefix, "sbin/mailcertd")
	want := fmt.Sprintf("mailcertd %s built %.10s go", release(t, "VERSION"), release(t, "RELEASED"))
	if out := do(t, "", nil, program, "version"); !strings.HasPrefix(out, want) {
		t.Errorf("the port's program says %q, want %q", out, want)
	}
	if out := do(t, "", nil, program, "help"); !strings.Contains(out, prefix+"/etc/mailcertd.yaml") {
		t.Errorf("the port's program does not look below its PREFIX:\n%s", out)
	}
	// `make install` from the tarball must install the same files.
	byHand := t.TempDir()
	alone(src, nil, "make", "install", "DESTDIR="+byHand, "PREFIX="+prefix)
	theirs, ours := contents(t, filepath.Join(stage, prefix)), contents(t, filepath.Join(byHand, prefix))
	delete(ours, "/etc/mailcertd.yaml") // pkg makes it because of @sample
	for name, mode := range theirs {
		plain := strings.TrimSuffix(name, ".gz")
		if ours[plain] != mode {
			t.Errorf("make install: %s has mode %o, the port's %o", plain, ours[plain], mode)
		}
		delete(ours, plain)
	}
	for name := range ours {
		t.Errorf("make install: the port has no %s", name)
	}
}

// plist compares the staged files with the packing list in both directions, and their modes.
func plist(t *testing.T, stage, prefix, list string) {
	t.Helper()
	b, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	staged := contents(t, stage)
	for line := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n") {
		name := prefix + "/" + line
		if sample, ok := strings.CutPrefix(line, "@sample "); ok {
			name = prefix + "/" + sample
		}
		if dir, ok := strings.CutPrefix(line, "@dir(root,wheel,700) "); ok {
			name = dir + "/"
		}
		want := fs.FileMode(0o555)
		switch {
		case strings.HasSuffix(name, ".gz"):
			want = 0o444
		case strings.HasSuffix(name, ".sample"):
			want = 0o644
		case strings.HasSuffix(name, "/"):
			want = 0o755 // pkg sets the modes of its own
		}
		if mode, ok := staged[name]; !ok {
			t.Errorf("pkg-plist: %s was not staged", line)
		} else if mode != want {
			t.Errorf("%s has mode %o, want %o", name, mode, want)
		}
		delete(staged, name)
	}
	for name := range staged {
		if name == "/" || name == "/var/" || name == "/var/db/" || name == "/opt/" ||
			strings.HasPrefix(name, prefix) && strings.HasSuffix(name, "/") {
			continue // a directory of the base system, or of PREFIX, which pkg removes when it is empty
		}
		t.Errorf("pkg-plist: lacks %s", name)
	}
}

// marks checks that no %%…%% is left and that no other prefix than the given one is named.
func marks(t *testing.T, dir, prefix string) {
	t.Helper()
	seen := 0
	for name := range contents(t, dir) {
		if strings.HasSuffix(name, "/") || strings.HasSuffix(name, ".gz") || strings.HasSuffix(name, "sbin/mailcertd") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("%%")) {
			t.Errorf("%s: a mark is left", name)
		}
		if bytes.Contains(b, []byte(prefix)) {
			seen++
		}
		if prefix != "/usr/local" && bytes.Contains(b, []byte("/usr/local")) && !strings.HasSuffix(name, ".sample") &&
			!strings.HasSuffix(name, ".yaml") {
			t.Errorf("%s names /usr/local, and not %s", name, prefix)
		}
	}
	if seen < 2 {
		t.Errorf("%d files name %s, want the service's and periodic's at least", seen, prefix)
	}
}
