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
	buildDir  string
	buildOnce = map[string]*sync.Once{"": {}, "crashpoints": {}}
	buildErr  = map[string]error{}
)

// Binary builds mailcertd once; tag is "" or crashpoints.
func Binary(t testing.TB, tag string) string {
	t.Helper()
	buildOnce[tag].Do(func() {
		if buildDir == "" {
			if buildDir, buildErr[tag] = os.MkdirTemp("", "mailcertd-bin"); buildErr[tag] != nil {
				return
			}
			_ = os.Chmod(buildDir, 0o755)
		}
		cmd := exec.Command("go", "build", "-tags", tag, "-o", filepath.Join(buildDir, "mailcertd"+tag), "./cmd/mailcertd")
		cmd.Dir = ".." // tests run in test/ or right below it
		if _, err := os.Stat("../cmd"); err != nil {
			cmd.Dir = "../.."
		}
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is installed
		if out, err := cmd.CombinedOutput(); err != nil {
			buildErr[tag] = fmt.Errorf("%w: %s", err, out)
		}
	})
	if buildErr[tag] != nil {
		t.Fatal(buildErr[tag])
	}
	return filepath.Join(buildDir, "mailcertd"+tag)
}

// Clean removes what Binary made; for TestMain.
func Clean() {
	if buildDir != "" {
		os.RemoveAll(buildDir)
	}
}
