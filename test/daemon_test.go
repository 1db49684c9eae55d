package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// daemon is a `mailcertd run` with a --root of its own.
type daemon struct {
	root string
	cmd  *exec.Cmd
	out  bed.Output
}

func (d *daemon) log() string { return d.out.String() }

func (d *daemon) certs(name string) string { return filepath.Join(d.root, "etc/mail/certs", name) }

// startDaemon starts the daemon and waits until everything is complete and the first look has ended.
func startDaemon(t *testing.T, root string) *daemon {
	t.Helper()
	d := &daemon{root: root}
	d.cmd = exec.Command(bed.Binary(t, ""), "--root", root, "--log-level", "debug", "run")
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.out
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.cmd.Process.Kill(); _ = d.cmd.Wait() })
	bed.Wait(t, "the first look", func() error {
		if _, err := os.Stat(d.certs("dh.param")); err != nil {
			return err
		}
		return d.idle()
	})
	return d
}

// idle returns nil when the last look has ended.
func (d *daemon) idle() error {
	if l := d.log(); strings.Count(l, "looking:") == 0 || strings.Count(l, "looking:") != strings.Count(l, "looked:") {
		return fmt.Errorf("it looks:\n%s", l)
	}
	return nil
}

func (d *daemon) looks() int { return strings.Count(d.log(), "looking:") }

// The daemon repairs damage: at once where the kernel reports the change, else at the next sweep. What it writes itself
// causes one further look at most.
func TestDaemonMends(t *testing.T) {
	root := site(t)
	d := startDaemon(t, root)
	hash, _ := filepath.Glob(d.certs("*.0"))
	if len(hash) != 1 {
		t.Fatalf("hash links: %v", hash)
	}
	for _, c := range []struct {
		name   string
		damage func() error
	}{
		{"host.cert removed", func() error { return os.Remove(d.certs("host.cert")) }},
		{"hash link removed", func() error { return os.Remove(hash[0]) }},
		{"host.key readable", func() error { return os.Chmod(d.certs("host.key"), 0o644) }},
		{"directory writable", func() error { return os.Chmod(d.certs(""), 0o777) }},
		{"dangling link in the way", func() error {
			_ = os.Remove(d.certs("dh.param"))
			return os.Symlink("nowhere", d.certs("dh.param"))
		}},
		{"rm -rf certs", func() error { return os.RemoveAll(d.certs("")) }},
		{"again, in the new directory", func() error { return os.Remove(d.certs("cacert.pem")) }},
		{"CA index removed", func() error { return os.Remove(filepath.Join(root, "etc/mail/CA/index.txt")) }},
	} {
		before := d.looks()
		if err := c.damage(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		bed.Wait(t, c.name, func() error {
			out, st := run(t, bed.Binary(t, ""), root, nil, "check")
			if !st.Success() || d.looks() == before {
				return errors.New(out)
			}
			return d.idle()
		})
		after := d.looks()
		time.Sleep(700 * time.Millisecond) // does another look follow? longer than events are collected
		if n := d.looks() - before; n > 4 || d.looks()-after > 1 {
			t.Errorf("%s: %d looks\n%s", c.name, n, d.log())
		}
	}
}

// A wrong configuration leaves the old one in force, a second daemon is refused, and SIGTERM ends the daemon.
func TestDaemonSignals(t *testing.T) {
	root := site(t)
	d := startDaemon(t, root)
	conf := filepath.Join(root, "usr/local/etc/mailcertd.yaml")
	good, _ := os.ReadFile(conf)
	write(t, conf, "dh: ffdhe9999\n", 0o644)
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	bed.Wait(t, "the refusal", func() error {
		if !strings.Contains(d.log(), "the old configuration stays in force") {
			return errors.New(d.log())
		}
		return nil
	})
	write(t, conf, string(good)+"dh: ffdhe2048\n", 0o644)
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	bed.Wait(t, "the other group", func() error {
		if out, _ := run(t, bed.Binary(t, ""), root, nil, "dhparam"); !strings.Contains(out, "ffdhe2048") {
			return errors.New(out)
		}
		return nil
	})
	other := filepath.Join(root, "etc/mail/other/dh.param")
	write(t, conf, string(good)+"certs: {dir: /etc/mail/other}\n", 0o644)
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	// The daemon must watch the new directory. Its own writes there cause a look, which might repair the first removal
	// even where nothing is watched, so more removals follow.
	for _, what := range []string{"another directory", "what is missing there", "what is missing again", "and again"} {
		bed.Wait(t, what, func() error {
			if out, st := run(t, bed.Binary(t, ""), root, nil, "check"); !st.Success() {
				return errors.New(out)
			}
			return d.idle()
		})
		if err := os.Remove(other); err != nil {
			t.Fatal(err)
		}
	}
	if out, st := run(t, bed.Binary(t, ""), root, nil, "run"); st.Success() ||
		!strings.Contains(out, "another mailcertd daemon is running already") {
		t.Errorf("a second daemon: %v\n%s", st, out)
	}
	if out, st := run(t, bed.Binary(t, ""), root, nil, "purge", "--yes"); st.Success() {
		t.Errorf("purged under a running daemon:\n%s", out)
	}
	start := time.Now()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	if err := d.cmd.Wait(); err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("SIGTERM: %v after %s\n%s", err, time.Since(start), d.log())
	}
	if !strings.Contains(d.log(), "stopped") {
		t.Error("it does not say that it stopped")
	}
}

// `service mailcertd reload` right after the start does not end the daemon.
func TestDaemonEarlyHangup(t *testing.T) {
	bed.Need(t, false, "strace")
	d := &daemon{root: site(t)}
	// The first flock(2) takes the daemon's own lock, early in its life. strace delays it here.
	d.cmd = exec.Command("strace", "-f", "-o", "/dev/null", "-e", "trace=flock", "-e",
		"inject=flock:delay_enter=1s:when=1",
		bed.Binary(t, ""), "--root", d.root, "--log-level", "debug", "run")
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.out
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGTERM); _ = d.cmd.Wait() })
	bed.Wait(t, "the daemon in its first flock", func() error {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", d.cmd.Process.Pid, d.cmd.Process.Pid))
		if err != nil {
			return err
		}
		_, _ = fmt.Sscan(string(b), &pid)
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
		for _, f := range tasks {
			if b, _ := os.ReadFile(f); strings.HasPrefix(string(b), fmt.Sprint(syscall.SYS_FLOCK, " ")) {
				return nil
			}
		}
		return fmt.Errorf("process %d: not yet", pid)
	})
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	bed.Wait(t, "the configuration read again", func() error {
		if l := d.log(); !strings.Contains(l, "configuration read: ") {
			return errors.New(l)
		}
		return nil
	})
}

// The first signal lets the daemon finish its work. Here that is the second that a notify command, which ignores the
// signal, is given. Another signal ends the daemon at once.
func TestDaemonSecondSignal(t *testing.T) {
	root := t.TempDir()
	started := filepath.Join(root, "started")
	conf := filepath.Join(root, "usr/local/etc/mailcertd.yaml")
	if err := os.MkdirAll(filepath.Dir(conf), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, conf,
		"host: {name: mail.example.test}\nkey: {type: ecdsa-p256}\nnotify: [[sh, -c, 'trap \"\" TERM; touch \"$0\"; "+
			"sleep 8; :', "+started+"]]\n", 0o644)
	cmd := exec.Command(bed.Binary(t, ""), "--root", root, "run")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	bed.Wait(t, "the command of notify", func() error { _, err := os.Stat(started); return err })
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	again := time.NewTicker(5 * time.Millisecond) // two signals that are pending at once arrive as one
	defer again.Stop()
	expire := time.After(bed.Patience)
	for {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGTERM {
				t.Errorf("ended with %v, want by the second signal", err)
			}
			return
		case <-expire:
			t.Fatal("it does not end")
		case <-again.C:
		}
	}
}

// Ten shells and a daemon renew at the same time. They take turns, nothing is damaged, and each certificate has a
// serial number of its own.
func TestManyWriters(t *testing.T) {
	root := site(t)
	startDaemon(t, root)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if out, st := run(t, bed.Binary(t, ""), root, nil, "renew"); !st.Success() {
				t.Errorf("%v\n%s", st, out)
			}
		})
	}
	wg.Wait()
	whole(t, bed.Binary(t, ""), root, 0, 11)
}

// The demonstration of the README shows what the README says, as root and as another user.
func TestDemo(t *testing.T) {
	bed.Need(t, false, "unshare", "setpriv")
	type user struct {
		name string
		in   string // its directory's parent: root's sendmail trusts none in /tmp, nobody may not enter /root
		argv []string
	}
	users := []user{{"this user", "..", nil}}
	if os.Geteuid() == 0 {
		as := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
		users = append(users, user{"nobody", "", as})
	}
	for i, u := range users {
		t.Run(u.name, func(t *testing.T) {
			dir, err := os.MkdirTemp(u.in, "demo.test")
			if err != nil {
				t.Fatal(err)
			}
			dir, _ = filepath.Abs(dir)
			defer os.RemoveAll(dir)
			script := filepath.Join(dir, "scripts/demo.sh")
			for from, to := range map[string]string{"../scripts/demo.sh": script,
				bed.Binary(t, ""): filepath.Join(dir, "bin/mailcertd")} {
				out, err := exec.Command("install", "-D", from, to).CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			_ = os.Chmod(dir, 0o755) // so that another user can enter it
			if u.argv != nil {
				if err := os.Chown(dir, 65534, 65534); err != nil {
					t.Fatal(err)
				}
			}
			argv := append(append([]string{}, u.argv...), "env", "DEMO_ONCE=1", "DEMO_DIR="+dir+"/demo",
				fmt.Sprintf("DEMO_PORT=%d", 24000+os.Getpid()%4000*2+i), "sh", script)
			out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			for _, want := range []string{", as on disk", "host.cert: it comes back", "sendmail serves serial ",
				"TLSA 3 1 1    "} {
				if !strings.Contains(string(out), want) {
					t.Errorf("it does not show %q:\n%s", want, out)
				}
			}
		})
	}
}
