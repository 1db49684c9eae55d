package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mailcertd/test/bed"
)

// A user who is not root is told so once, before anything else. A user who owns the files is not told, nor one who runs
// a command that reads none of them.
func TestNotRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	dir, err := os.MkdirTemp("", "mailcertd") // only root can enter t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	data, err := os.ReadFile(bed.Binary(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	m := filepath.Join(dir, "mailcertd")
	write(t, m, string(data), 0o755)
	const nobody = 65534
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "own"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, "own"), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	const first = "mailcertd: this is not run as root: "
	for args, says := range map[string]bool{
		"ensure": true, "renew": true, "check": true, "status": true, "list": true, "ca show": true, "request": true,
		"dhparam": true,
		"restore": true, "purge --yes": true, "issue a.example.test -o x": true, "revoke 01": true,
		"check --peer localhost:1": true, "check --dane nowhere.invalid": true,
		"--root own ensure": false, "--root own status": false, "version": false, "config": false,
		"help": false, "": false,
	} {
		cmd := exec.Command(m, strings.Fields(args)...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		var out bytes.Buffer // stdout and stderr, in their order
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run()
		if n := strings.Count(out.String(), first); says && (n != 1 || !strings.HasPrefix(out.String(), first)) ||
			!says && n != 0 {
			t.Errorf("%q says it %d times:\n%s", args, n, out.String())
		}
	}
}
