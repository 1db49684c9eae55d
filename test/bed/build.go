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
	built    = map[string]error{} // the error of each build, nil for a success, by tag
)

// Binary returns the path of mailcertd, which it builds once for each tag. tag is "" or crashpoints. The test fails
// where the build fails.
func Binary(t testing.TB, tag string) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	if _, done := built[tag]; !done {
		built[tag] = build(tag)
	}
	if err := built[tag]; err != nil {
		t.Fatal(err)
	}
	return filepath.Join(buildDir, "mailcertd"+tag)
}

func build(tag string) (err error) {
	if buildDir == "" {
		if buildDir, err = os.MkdirTemp("", "mailcertd-bin"); err != nil {
			return err
		}
		if err := os.Chmod(buildDir, 0o755); err != nil {
			return err
		}
	}
	cmd := exec.Command("go", "build", "-tags", tag, "-o", filepath.Join(buildDir, "mailcertd"+tag), "./cmd/mailcertd")
	cmd.Dir = ".." // tests run in test/ or in a directory below it
	if _, err := os.Stat("../cmd"); err != nil {
		cmd.Dir = "../.."
	}
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the port builds it
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// Clean removes the programs that Binary built. TestMain calls it.
func Clean() {
	if buildDir != "" {
		os.RemoveAll(buildDir)
	}
}
