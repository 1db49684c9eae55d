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
	building sync.Mutex // guards what follows
	buildDir string
	built    = map[string]error{} // by tag: whether it could be built
)

// Binary builds mailcertd once; tag is "" or crashpoints.
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
	cmd.Dir = ".." // tests run in test/ or right below it
	if _, err := os.Stat("../cmd"); err != nil {
		cmd.Dir = "../.."
	}
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is installed
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// Clean removes what Binary made; for TestMain.
func Clean() {
	if buildDir != "" {
		os.RemoveAll(buildDir)
	}
}
