package mta

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mailer.conf is read as mailwrapper(8) reads it, the port's first.
func TestMailerConf(t *testing.T) {
	dir := t.TempDir()
	port, base := filepath.Join(dir, "port"), filepath.Join(dir, "base")
	for _, c := range []struct{ port, base, want string }{
		{"sendmail /usr/local/sbin/sendmail\n", "sendmail /usr/libexec/sendmail/sendmail\n", "/usr/local/sbin/sendmail"},
		{"", "sendmail\t/usr/libexec/sendmail/sendmail\nmailq /x -y\n", "/usr/libexec/sendmail/sendmail"},
		{"", "# $FreeBSD$\n#\n# comment \\\nsendmail /x # more\n", "/x"},
		{"", "sendmail \\\n\t/usr/local/sbin/sendmail \\\n -flag\n", "/usr/local/sbin/sendmail"},
		{"", "send\\\nmail /joined\n", "/joined"},
		{"", "  sendmail  /indented\n", "/indented"},
		{"mailq /x\n", "sendmail /y\n", "error: names no program for sendmail"},
		{"", "broken\nsendmail /x\n", "error: names no program for broken"},
		{"", "", DefaultMailer},
	} {
		for path, text := range map[string]string{port: c.port, base: c.base} {
			os.Remove(path)
			if text != "" {
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		got, _, err := wrapped([]string{port, base}, "sendmail")
		want, fails := strings.CutPrefix(c.want, "error: ")
		if fails && (err == nil || !strings.Contains(err.Error(), want)) || !fails && (err != nil || got != want) {
			t.Errorf("%q, %q: %q %v", c.port, c.base, got, err)
		}
	}
}

// A service jail shares our root; a jail with a root of its own is another system.
func TestJails(t *testing.T) {
	for _, c := range []struct {
		theirs, own, path string
		err               error
		other             bool
	}{
		{theirs: "7", own: "7"}, {theirs: "7", own: "0", path: "/"}, {theirs: "7", own: "0", path: "/jails/mail", other: true},
		{theirs: "7", own: "0", err: errors.New("jls: exit status 1"), other: true}, {theirs: "7", own: "0", path: "", other: true},
	} {
		got := Identity{}.jailed(c.theirs, c.own, func() (string, error) { return c.path, c.err })
		if (got.Status == OtherJail) != c.other || c.other && (got.Detail == "" || got.Hint == "") {
			t.Errorf("%+v: %v %q", c, got.Status, got.Detail)
		}
	}
}

// What others than root could change decides neither whom root signals nor
// what root runs; an upgraded program is still the one.
func TestCustodyOfIdentity(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("owners are set")
	}
	real, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(dir string) error
		want   Status
		hint   string
	}{
		{"root's alone", func(string) error { return nil }, OK, ""},
		{"replaced by a newer program", func(d string) error {
			return errors.Join(os.WriteFile(d+"/new", []byte("#!/bin/sh\n"), 0o755), os.Rename(d+"/new", d+"/sendmail"))
		}, OK, ""},
		{"a pid file of others", func(d string) error { return os.Chown(d+"/run/pid", 1001, 0) }, Exposed, "chown root"},
		{"a pid file that others write", func(d string) error { return os.Chmod(d+"/run/pid", 0o666) }, Exposed, "chmod go-w"},
		{"a directory that others write", func(d string) error { return os.Chmod(d+"/run", 0o777) }, Exposed, "chmod go-w"},
		{"a sticky directory of root", func(d string) error { return os.Chmod(d+"/run", 0o777|os.ModeSticky) }, OK, ""},
		{"a directory of others", func(d string) error { return os.Chown(d+"/run", 1001, 0) }, Exposed, "chown root"},
		{"a directory above it", func(d string) error { return os.Chmod(d, 0o775) }, Exposed, "chmod go-w"},
		{"a program that others write", func(d string) error { return os.Chmod(d+"/sendmail", 0o775) }, Exposed, "chmod go-w"},
		{"a program of others", func(d string) error { return os.Chown(d+"/sendmail", 1001, 0) }, Exposed, "chown root"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			data, err := os.ReadFile(real)
			if err != nil {
				t.Fatal(err)
			}
			program, pid := dir+"/sendmail", dir+"/run/pid"
			if err := errors.Join(os.Mkdir(dir+"/run", 0o755), os.WriteFile(program, data, 0o755)); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program, "60")
			for i := 0; ; i++ { // ETXTBSY: a fork of another test may hold it for a moment
				if err = cmd.Start(); err == nil || i == 50 {
					break
				}
				time.Sleep(10 * time.Millisecond)
				cmd = exec.Command(program, "60")
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
			if err := os.WriteFile(pid, fmt.Appendf(nil, "%d\n%s -bd\n", cmd.Process.Pid, program), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := c.change(dir); err != nil {
				t.Fatal(err)
			}
			id := Identify(context.Background(), IdentifyOptions{PidFile: pid, Program: program})
			if id.Status != c.want || !strings.Contains(id.Hint, c.hint) {
				t.Errorf("%v: %s; %s", id.Status, id.Detail, id.Hint)
			}
			if there := id.Instance.StillThere(); !there {
				t.Error("the instance is there")
			}
			if err := os.WriteFile(pid+".new", []byte("2\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(pid+".new", pid); err != nil {
				t.Fatal(err)
			}
			if id.Instance.StillThere() {
				t.Error("another pid file is another instance")
			}
		})
	}
}

// The cf check runs nothing that others than root could change.
func TestSaneCFRunsOnlyRootsProgram(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("owners are set")
	}
	dir := t.TempDir()
	program, mark := dir+"/sendmail", dir+"/ran"
	if err := os.WriteFile(program, []byte("#!/bin/sh\n: > "+mark+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(program, 1001, 0); err != nil {
		t.Fatal(err)
	}
	if err := SaneCF(context.Background(), program, dir+"/x.cf"); err == nil || !strings.Contains(err.Error(), "is not run") {
		t.Error(err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("it was run")
	}
}
