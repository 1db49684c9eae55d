package bed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var (
	building sync.Mutex // guards buildDir and built
	buildDir string
	built    = map[string]error{} // the error of each build, nil for a success, by the name of the program
)

// Binary returns the path of mailcertd, which it builds once for each tag, without HTTP/2 as the Makefile does. tag is
// "" or crashpoints. The test fails where the build fails.
func Binary(t testing.TB, tag string) string {
	t.Helper()
	dir := ".." // tests run in test/ or in a directory below it
	if _, err := os.Stat("../cmd"); err != nil {
		dir = "../.."
	}
	return once(t, "mailcertd"+tag, "./cmd/mailcertd", dir, "-tags", "nethttpomithttp2,"+tag)
}

// Put builds a program of the test module once, and copies it to a path. pkg is as in "./rcsubr/stub". cp(1) copies it:
// while this process has a program open for writing, another test may start one, and nobody can run the program then.
func Put(t testing.TB, pkg, path string) {
	t.Helper()
	if out, err := exec.Command("cp", once(t, filepath.Base(pkg), pkg, ""), path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// once returns the path of a program, which it builds once, in the directory dir.
func once(t testing.TB, name, pkg, dir string, args ...string) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	if _, done := built[name]; !done {
		built[name] = build(name, pkg, dir, args)
	}
	if err := built[name]; err != nil {
		t.Fatal(err)
	}
	return filepath.Join(buildDir, name)
}

func build(name, pkg, dir string, args []string) (err error) {
	if buildDir == "" {
		if buildDir, err = os.MkdirTemp("", "mailcertd-bin"); err != nil {
			return err
		}
		if err := os.Chmod(buildDir, 0o755); err != nil {
			return err
		}
	}
	args = append(append([]string{"build"}, args...), "-o", filepath.Join(buildDir, name), pkg)
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the port builds it
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// Clean removes the programs that were built. TestMain calls it.
func Clean() {
	if buildDir != "" {
		os.RemoveAll(buildDir)
	}
}
