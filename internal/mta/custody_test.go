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

// mailer.conf is parsed as mailwrapper(8) does. The port's file is read first.
func TestMailerConf(t *testing.T) {
	dir := t.TempDir()
	port, base := filepath.Join(dir, "port"), filepath.Join(dir, "base")
	for _, c := range []struct{ port, base, want string }{
		{"sendmail /usr/local/sbin/sendmail\n", "sendmail /usr/libexec/sendmail/sendmail\n",
			"/usr/local/sbin/sendmail"},
		{"", "sendmail\t/usr/libexec/sendmail/sendmail\nmailq /x -y\n", "/usr/libexec/sendmail/sendmail"},
		{"", "# $FreeBSD$\n#\n# comment \\\nsendmail /x # more\n", "/x"},
		{"", "sendmail \\\n\t/usr/local/sbin/sendmail \\\n -flag\n", "/usr/local/sbin/sendmail"},
		{"", "send\\\nmail /joined\n", "/joined"},
		{"", "  sendmail  /indented\n", "/indented"},
		{"mailq /x\n", "sendmail /y\n", "error: names no program for sendmail"},
		{"", "broken\nsendmail /x\n", "error: names no program for broken"},
		{"", "mailq \nsendmail /x\n", "/x"}, // after the blank mailwrapper continues with the next line
		{"", "sendmail \n", "error: not a program"},
		{"", "sendmail /x\r\n", "error: not a program"}, // mailwrapper would run "/x\r"
		{"", "sendmail /x\v/y\n", "/x\v/y"},
		{"", "a b \\\n# comment\nsendmail /x\n", "/x"},
		{"", "sendmail /a\\#b\n", "/a\\#b"}, // the character is escaped, so this is not a comment
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

// A service jail has our root directory; a jail with its own root directory is another system.
func TestJails(t *testing.T) {
	for _, c := range []struct {
		theirs, own, path string
		err               error
		other             bool
	}{
		{theirs: "7", own: "7"}, {theirs: "7", own: "0", path: "/"},
		{theirs: "7", own: "0", path: "/jails/mail", other: true},
		{theirs: "7", own: "0", err: errors.New("jls: exit status 1"), other: true},
		{theirs: "7", own: "0", path: "", other: true},
	} {
		got := Identity{}.jailed(c.theirs, c.own, func() (string, error) { return c.path, c.err })
		if (got.Status == OtherJail) != c.other || c.other && (got.Detail == "" || got.Hint == "") {
			t.Errorf("%+v: %v %q", c, got.Status, got.Detail)
		}
	}
}

// relink moves the program to d/real, and puts a link in its place that leads there through another link in links.
func relink(d, links string) error {
	return errors.Join(os.Mkdir(d+"/real", 0o755), os.Mkdir(links, 0o755), os.Rename(d+"/sendmail", d+"/real/sendmail"),
		os.Symlink("../real/sendmail", links+"/sendmail"), os.Symlink(links+"/sendmail", d+"/sendmail"))
}

// A file that users other than root could change decides neither which process root signals nor what root runs. A
// program that was upgraded still counts as the same one.
func TestCustodyOfIdentity(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("owners are set")
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	real := func(path string) string {
		to, err := filepath.EvalSymlinks(path)
		if err != nil {
			t.Error(err)
		}
		return to
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
		{"renamed, and a newer program in its place", func(d string) error {
			return errors.Join(os.Rename(d+"/sendmail", d+"/sendmail.old"),
				os.WriteFile(d+"/sendmail", []byte("#!/bin/sh\n"), 0o755))
		}, OK, ""},
		{"renamed, and nothing in its place",
			func(d string) error { return os.Rename(d+"/sendmail", d+"/sendmail.old") }, MailerChanged, "restart"},
		{"elsewhere, and another program in its place", func(d string) error {
			return errors.Join(os.Rename(d+"/sendmail", d+"/run/sendmail"),
				os.WriteFile(d+"/sendmail", []byte("#!/bin/sh\n"), 0o755))
		}, MailerChanged, "restart"},
		{"a pid file of others", func(d string) error { return os.Chown(d+"/run/pid", 1001, 0) }, Exposed,
			"chown root"},
		{"a pid file that others write", func(d string) error { return os.Chmod(d+"/run/pid", 0o666) }, Exposed,
			"chmod go-w"},
		{"a directory that others write", func(d string) error { return os.Chmod(d+"/run", 0o777) }, Exposed,
			"chmod go-w"},
		{"a sticky directory of root", func(d string) error { return os.Chmod(d+"/run", 0o777|os.ModeSticky) }, OK, ""},
		{"a directory of others", func(d string) error { return os.Chown(d+"/run", 1001, 0) }, Exposed, "chown root"},
		{"a directory above it", func(d string) error { return os.Chmod(d, 0o775) }, Exposed, "chmod go-w"},
		{"a program that others write", func(d string) error { return os.Chmod(d+"/sendmail", 0o775) }, Exposed,
			"chmod go-w"},
		{"a program of others", func(d string) error { return os.Chown(d+"/sendmail", 1001, 0) }, Exposed,
			"chown root"},
		{"a link to it", func(d string) error { return relink(d, d+"/links") }, OK, ""},
		{"a link to it in a directory of others", func(d string) error {
			return errors.Join(relink(d, d+"/links"), os.Chown(d+"/links", 1001, 0))
		}, Exposed, "chown root"},
		{"a link to it in a directory that others write", func(d string) error {
			return errors.Join(relink(d, d+"/links"), os.Chmod(d+"/links", 0o777|os.ModeSticky))
		}, Exposed, "chmod go-w"},
		{"a link to the directory of it, through a link of others", func(d string) error {
			return errors.Join(relink(d, d+"/links"), os.Symlink("links", d+"/more"), os.Remove(d+"/sendmail"),
				os.Symlink("more/sendmail", d+"/sendmail"),
				os.Chmod(d+"/links", 0o775))
		}, Exposed, "chmod go-w"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			data, err := os.ReadFile(sleep)
			if err != nil {
				t.Fatal(err)
			}
			program, pid := dir+"/sendmail", dir+"/run/pid"
			if err := errors.Join(os.Mkdir(dir+"/run", 0o755), os.WriteFile(program, data, 0o755)); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program, "60")
			for i := 0; ; i++ { // ETXTBSY: a forked child of another test may keep the file open for a moment
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
			if replaced := strings.Contains(c.name, "newer program"); id.Status == OK &&
				(id.Replaced != replaced || id.Program != real(program)) {
				t.Errorf("a HUP starts %s; is it another file: %v", id.Program, id.Replaced)
			}
		})
	}
}

// mailer.conf decides what a HUP starts, so it must be root's too.
func TestCustodyOfMailerConf(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("owners are set")
	}
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	conf, pid := dir+"/mailer.conf", dir+"/pid"
	if err := errors.Join(os.WriteFile(dir+"/mailwrapper", nil, 0o755), os.Symlink("mailwrapper", dir+"/sendmail"),
		os.WriteFile(conf, []byte("sendmail "+exe+"\n"), 0o644),
		os.WriteFile(pid, fmt.Appendf(nil, "%d\n%s/sendmail -bd\n", os.Getpid(), dir), 0o600)); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]Status{0o644: OK, 0o664: Exposed, 0o646: Exposed} {
		if err := os.Chmod(conf, mode); err != nil {
			t.Fatal(err)
		}
		id := Identify(t.Context(), IdentifyOptions{PidFile: pid, Program: dir + "/sendmail",
			MailerConf: []string{dir + "/none", conf}})
		if id.Status != want || want == Exposed && id.Hint != "chmod go-w "+conf {
			t.Errorf("%04o: %v: %s; %s", mode, id.Status, id.Detail, id.Hint)
		}
	}
}

// On FreeBSD the executable of a replaced program has no path; only its name is known.
func TestUpgraded(t *testing.T) {
	for _, c := range []struct {
		exe, now string
		want     bool
	}{
		{"sendmail", "/usr/libexec/sendmail/sendmail", true}, {"sendmail", "/usr/local/libexec/dma", false},
		{"", "/usr/local/sbin/sendmail", false},
		{"/usr/local/sbin/sendmail.old", "/usr/local/sbin/sendmail", true},
		{"/usr/local/sbin/sendmail-8.17.1", "/usr/local/sbin/sendmail", true},
		{"/usr/libexec/sendmail/sendmail", "/usr/local/sbin/sendmail", false}, // the port's sendmail, or postfix
		{"/usr/local/sbin/dma", "/usr/local/sbin/sendmail", false},
		{"a-very-long-name-of-a-", "/x/a-very-long-name-of-a-program", false},
		{"a-very-long-name-of", "/x/a-very-long-name-of-a-program", true},
	} {
		if got := upgraded(c.exe, c.now); got != c.want {
			t.Errorf("%q, now %q: %v", c.exe, c.now, got)
		}
	}
}

// The second pid file is used when the first names no sendmail.
func TestTwoPidFiles(t *testing.T) {
	dir := t.TempDir()
	exe, _ := os.Executable()
	runs := fmt.Sprintf("%d\n%s -bd\n", os.Getpid(), exe)
	for _, c := range []struct {
		first, also string
		status      Status
		second      bool
	}{
		{runs, "", OK, false}, {"", runs, OK, true}, {"4194000\nx -bd\n", runs, OK, true}, {runs, runs, OK, false},
		{"garbage", runs, OK, true},
		{fmt.Sprintf("%d\n%s -q30m\n", os.Getpid(), exe), runs, OK, true}, {"", "", NotRunning, false},
		{"garbage", "", BadPidFile, false},
		{"", "garbage", BadPidFile, true}, {"4194000\nx -bd\n", "4194000\nx -bd\n", NotRunning, false},
	} {
		for name, text := range map[string]string{"first": c.first, "also": c.also} {
			os.Remove(dir + "/" + name)
			if text == "" {
				continue
			}
			if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		id := Identify(t.Context(), IdentifyOptions{PidFile: dir + "/first", Also: dir + "/also", Program: exe})
		if id.Status != c.status || (id.PidFile == dir+"/also") != c.second {
			t.Errorf("%q, %q: %v by %s", c.first, c.also, id.Status, id.PidFile)
		}
	}
}

// The test of a cf runs no program that users other than root could change.
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
	if err := SaneCF(context.Background(), program, dir+"/x.cf"); err == nil ||
		!strings.Contains(err.Error(), "is not run") {
		t.Error(err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("it was run")
	}
}
