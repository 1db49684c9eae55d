package faults

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// note is the content of a person's file in each of mailcertd's directories.
const note = "written by a person\n"

// stage is the directory of this test binary's roots. It is in memory where the system has such a place, because
// otherwise each operation waits for the disk.
var stage string

func TestMain(m *testing.M) {
	under := ""
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		under = "/dev/shm"
	}
	var err error
	if stage, err = os.MkdirTemp(under, "faults"); err != nil {
		if stage, err = os.MkdirTemp("", "faults"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	os.RemoveAll(stage)
	bed.Clean()
	os.Exit(code)
}

// place makes an empty directory for one test.
func place(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(stage, "r")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// programs are the paths of mailcertd as it is installed, and of the build in which faults can be set.
type programs struct{ plain, armed string }

func build(t testing.TB) programs {
	t.Helper()
	bed.Need(t, false, "openssl", "sh", "cmp", "sha256sum")
	return programs{bed.Binary(t, ""), bed.Binary(t, "crashpoints")}
}

// start makes the start of a scenario and returns its root.
func (p programs) start(t testing.TB, s scenario) (root string) {
	t.Helper()
	root = place(t)
	for name, text := range map[string]string{
		"usr/local/etc/mailcertd.yaml": "host: {name: mail.example.test}\nkey: {type: ecdsa-p256}\nlog: {target: " +
			"stderr}\n" + s.conf + "\n",
		"etc/mail/certs/note.txt": note,
	} {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := p.shell(root, s.before, nil); err != nil {
		t.Fatalf("%s: the start: %v\n%s", s.name, err, out)
	}
	return root
}

// shell runs shell text in a root.
func (p programs) shell(root, text string, env []string) (string, error) {
	top, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("sh", "-ec", fmt.Sprintf(`m="%s --root %s"; mc="$m/ca"; top=%s; %s`, p.plain, root, top, text))
	cmd.Dir = root
	cmd.Env = append(p.env(root), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (p programs) env(root string) []string {
	return append(os.Environ(), "PATH="+filepath.Join(root, "bin")+":"+os.Getenv("PATH"), "MAILCERTD_TEST="+p.plain)
}

// ended is how a process ended.
type ended struct {
	out, err string // what it printed
	code     int    // -1: by a signal
	killed   bool   // by SIGKILL, within its time limit
	hung     bool   // it exceeded its time limit
}

func (e ended) String() string { return fmt.Sprintf("status %d\n%s%s", e.code, e.out, e.err) }

// patience is much more time than any command takes.
const patience = time.Minute

// run runs mailcertd with env, one NAME=VALUE, added to the environment.
func (p programs) run(binary, root, env string, args ...string) ended {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"--root", root}, args...)...)
	cmd.Env = append(p.env(root), env)
	cmd.WaitDelay = time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	e := ended{out: out.String(), err: errs.String(), code: -1}
	if cmd.ProcessState == nil {
		e.err += err.Error()
		return e
	}
	e.code = cmd.ProcessState.ExitCode()
	ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
	e.hung = ctx.Err() != nil
	e.killed = !e.hung && ws.Signaled() && ws.Signal() == syscall.SIGKILL
	return e
}

// do runs the scenario's command with a fault, and writes its output into the file out.
func (p programs) do(s scenario, binary, root, env string) ended {
	args := strings.Fields(strings.ReplaceAll(s.verb, "$root", root))
	e := p.run(binary, filepath.Join(root, s.under), env, args...)
	_ = os.WriteFile(filepath.Join(root, "out"), []byte(e.out), 0o600)
	return e
}

// lists returns the operations of the command without a fault: its changes and its reads, a line each.
func (p programs) lists(t testing.TB, s scenario, start string) (changes, reads []string) {
	t.Helper()
	for name, to := range map[string]*[]string{"MAILCERTD_POINTS": &changes, "MAILCERTD_READS": &reads} {
		root, list := place(t), filepath.Join(place(t), "list")
		clone(t, start, root)
		if e := p.do(s, p.armed, root, name+"="+list); e.code != 0 && s.then == "" {
			t.Fatalf("%s: without a fault: %s", s.name, e)
		}
		data, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		*to = strings.Split(strings.TrimSuffix(strings.ReplaceAll(string(data), root, ""), "\n"), "\n")
		if name == "MAILCERTD_POINTS" && len(data) == 0 {
			*to = nil
		}
		os.RemoveAll(root)
	}
	return changes, reads
}

// clone copies a tree with its modes, times and links.
func clone(t testing.TB, from, to string) {
	t.Helper()
	type dir struct {
		path string
		info fs.FileInfo
	}
	var dirs []dir
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		dst := filepath.Join(to, rel)
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			dirs = append(dirs, dir{dst, info})
			return os.MkdirAll(dst, 0o700)
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(dst, data, 0o600)
			}
			if err == nil {
				err = os.Chmod(dst, mode(info))
			}
			if err == nil {
				err = own(dst, info)
			}
			if err == nil {
				err = os.Chtimes(dst, info.ModTime(), info.ModTime())
			}
			return err
		default:
			text, err := os.Readlink(path)
			if err == nil {
				err = os.Symlink(text, dst)
			}
			return err
		}
	})
	for i := len(dirs) - 1; i >= 0 && err == nil; i-- {
		if err = own(dirs[i].path, dirs[i].info); err == nil {
			err = os.Chmod(dirs[i].path, mode(dirs[i].info))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func own(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(path, int(st.Uid), int(st.Gid))
}

func mode(info fs.FileInfo) fs.FileMode {
	return info.Mode().Perm() | info.Mode()&(fs.ModeSticky|fs.ModeSetgid|fs.ModeSetuid)
}
