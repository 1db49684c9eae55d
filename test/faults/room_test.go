package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// rooms are real file systems on which a command fails: one without room for more bytes, one without room for more
// files, and read-only ones.
var rooms = []struct {
	name   string
	option string // option of mount(8)
	shut   func(at, root string) error
	errno  string
}{
	{"full", "size=1m", fill, "ENOSPC"},
	{"out of inodes", "nr_inodes=400", links, "ENOSPC"},
	{"read-only", "size=2m", func(at, _ string) error {
		return syscall.Mount("", at, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
	}, "EROFS"},
	{"certs read-only", "size=2m", func(_, root string) error {
		return bind(filepath.Join(root, "etc/mail/certs"))
	}, "EROFS"},
}

func fill(at, _ string) error {
	f, err := os.Create(filepath.Join(at, "fill"))
	if err != nil {
		return err
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return f.Truncate(max(0, st.Size()/4096-2) * 4096) // leaves two blocks, so that a write can begin
}

func links(at, _ string) error {
	if err := os.Mkdir(filepath.Join(at, "fill"), 0o700); err != nil {
		return err
	}
	n := 0
	for os.Symlink("x", filepath.Join(at, "fill", fmt.Sprint(n))) == nil {
		n++
	}
	return errors.Join(os.Remove(filepath.Join(at, "fill", fmt.Sprint(n-1))),
		os.Remove(filepath.Join(at, "fill", fmt.Sprint(n-2))))
}

func bind(dir string) error {
	if err := syscall.Mount(dir, dir, "", syscall.MS_BIND, ""); err != nil {
		return err
	}
	return syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, "")
}

// TestRoom runs commands on real file systems that are full or read-only, in a mount namespace of its own. What was
// served must still be served, the error must say why, and when there is room again one ensure must make everything
// right.
func TestRoom(t *testing.T) {
	if os.Getenv("FAULTS_ROOM") == "" {
		if os.Geteuid() != 0 {
			t.Skip("needs root: it mounts file systems in a namespace of its own")
		}
		cmd := exec.Command(os.Args[0], "-test.run", "^TestRoom$", "-test.v")
		cmd.Env = append(os.Environ(), "FAULTS_ROOM=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.EPERM) {
			t.Skip("needs mount namespaces: ", err)
		}
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		t.Logf("%s", out)
		return
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	p := build(t)
	for i, s := range scenarios() {
		if s.name == "purge" || s.under != "" { // purge leaves no set, and where under is set another host answers
			continue
		}
		start := ""
		for j, r := range rooms {
			if !*every && *most < 2 && (i+j)%12 != 0 {
				continue
			}
			t.Run(s.name+", "+r.name, func(t *testing.T) {
				if start == "" {
					start = p.start(t, s)
				}
				at := place(t)
				if err := syscall.Mount("tmpfs", at, "tmpfs", 0, r.option+",mode=755"); err != nil {
					t.Fatal(err)
				}
				defer syscall.Unmount(at, syscall.MNT_DETACH)
				root := filepath.Join(at, "faults1", "r1")
				if err := os.MkdirAll(root, 0o755); err != nil {
					t.Fatal(err)
				}
				clone(t, start, root)
				was, err := see(root)
				if err == nil {
					err = r.shut(at, root)
				}
				if err != nil {
					t.Fatal(err)
				}
				f := fault{name: r.name, errno: r.errno, lasting: true}
				judge := func(when string, e ended) {
					now, err := see(root)
					if err == nil {
						err = s.during(was, now, e, f)
					}
					if err != nil {
						t.Errorf("%s: %v\n%s", when, err, e)
					}
				}
				judge("the verb", p.do(s, p.plain, root, "X="))
				judge("ensure while it lasts", p.run(p.plain, root, "X=", "ensure"))
				_ = syscall.Unmount(filepath.Join(root, "etc/mail/certs"), syscall.MNT_DETACH)
				_ = syscall.Mount("", at, "", syscall.MS_REMOUNT, "size=8m,nr_inodes=4000")
				_ = os.RemoveAll(filepath.Join(at, "fill"))
				if now, err := see(root); err == nil {
					old(root, now)
				}
				if s.then != "" {
					if out, err := p.shell(root, s.then, nil); err != nil {
						t.Errorf("what a person does then: %v\n%s", err, out)
					}
				}
				heal := p.run(p.plain, root, "X=", "ensure")
				if err := p.after(s, root, was); heal.code != 0 || err != nil {
					t.Errorf("with room again: %v\n%s", err, heal)
				}
			})
		}
	}
}
