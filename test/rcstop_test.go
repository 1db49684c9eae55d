package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"mailcertd/test/bed"
)

// here returns the processes of this machine whose program or title begins with argv0, except zombies.
func here(t *testing.T, argv0 string) []int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, f := range dirs {
		b, _ := os.ReadFile(f)
		if strings.HasPrefix(string(b), argv0) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// daemons returns the daemons that this script has started. They are known by the script's own directory.
func (r *rc) daemons() []int { return here(r.t, r.dir+"/sbin/mailcertd\x00") }

// The prefixes of rc.subr(8), such as fast and quiet: what each runs, and that quiet prints nothing.
func TestRCPrefixes(t *testing.T) {
	// The last two are ashes, as FreeBSD's sh is.
	for _, shell := range [][]string{{"bash"}, {"dash"}, {"busybox", "sh"}} {
		t.Run(shell[0], func(t *testing.T) {
			bed.Need(t, true, shell[0])
			r := newRC(t)
			r.shell = shell
			silent := func(code int, args ...string) {
				t.Helper()
				if out := r.want(code, "", args...); out != "" {
					t.Errorf("%v says:\n%s", args, out)
				}
			}
			r.set(`mailcertd_enable="NO"`)
			silent(0, "quietstart")
			silent(0, "faststart")
			if r.stub() != "" {
				t.Errorf("disabled, and yet it ran:\n%s", r.stub())
			}
			r.want(0, "Starting", "onestart")
			r.want(0, "running as pid", "status") // rc.subr checks no rcvar for status
			r.want(0, "Stopping", "stop")         // nor for stop, when the daemon runs
			r.want(0, "Starting", "forcestart")
			r.want(0, "Stopping", "forcestop")
			r.want(0, "", "onerenew", "--rekey", "--force")
			r.logged(`argv renew\|--rekey\|--force\n`)
			r.want(0, "is correct", "forceconfigtest")

			r.set(`mailcertd_enable="YES"`)
			silent(0, "faststop") // as at shutdown
			silent(1, "quietstop")
			silent(0, "quietstart")
			silent(1, "quietstart")
			silent(0, "quietreload")
			silent(0, "quietrestart")
			silent(0, "quietconfigtest")
			silent(0, "quietstop")
			write(t, r.log+".fail-ensure", "", 0o600)
			r.want(0, "ensure fails", "quietstart") // an error is printed in spite of quiet
			_ = os.Remove(r.log + ".fail-ensure")
			r.want(1, "already running", "faststart")
			r.want(1, "already running", "faststart")
			if n := len(r.daemons()); n != 1 {
				t.Errorf("%d daemons", n)
			}
			r.want(0, "Stopping", "faststop")
			silent(0, "faststop")
			if n := len(r.daemons()); n != 0 {
				t.Errorf("%d daemons", n)
			}
			write(t, r.log+".fail-renew", "", 0o600)
			r.want(1, "renew fails", "renew")
			r.want(1, "renew fails", "forcerenew")
			r.want(0, "", "check", "--peer", "'two", "words'") // rc.subr passes them in this form
			r.logged(`argv check\|--peer\|two words\n`)
		})
	}
}

// However often start was run, and whatever has happened to the pid files, one daemon runs. stop ends it and its
// supervisor, and no other process.
func TestRCStop(t *testing.T) {
	files := []string{"mailcertd.pid", "mailcertd-supervisor.pid"}
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, r *rc, other int)
	}{
		{"as they are", func(*testing.T, *rc, int) {}},
		{"without pid files", func(_ *testing.T, r *rc, _ int) {
			for _, f := range files {
				_ = os.Remove(filepath.Join(r.dir, "run", f))
			}
		}},
		{"pid files that are empty", func(t *testing.T, r *rc, _ int) {
			for _, f := range files {
				write(t, filepath.Join(r.dir, "run", f), "", 0o600)
			}
		}},
		{"pid files of another service's supervisor", func(t *testing.T, r *rc, other int) {
			for _, f := range files {
				write(t, filepath.Join(r.dir, "run", f), fmt.Sprint(other), 0o600)
			}
		}},
		{"supervisor killed", func(t *testing.T, r *rc, _ int) { r.kill(r.pid(files[1])) }},
		{"supervisor killed, without pid files", func(t *testing.T, r *rc, _ int) {
			r.kill(r.pid(files[1]))
			for _, f := range files {
				_ = os.Remove(filepath.Join(r.dir, "run", f))
			}
		}},
		{"daemon killed, the supervisor waits", func(t *testing.T, r *rc, _ int) { r.kill(r.pid(files[0])) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRC(t)
			r.set(`mailcertd_enable="YES"`, `mailcertd_restart_delay="60"`)
			// Another service runs under daemon(8), and a person runs a mailcertd of their own.
			other := exec.Command(filepath.Join(r.dir, "sbin/daemon"), "-f", "-t", "other", "-P", r.dir+"/o.pid", "-p",
				r.dir+"/oc.pid", "/bin/sleep", "1000")
			other.Args[0] = "daemon: other[0]"
			other.Env = append(os.Environ(), "STANDIN_SUPERVISES=yes")
			person := exec.Command(filepath.Join(r.dir, "sbin/mailcertd"), "--log-level", "info", "run")
			person.Args[0] = "mailcertd"
			person.Env = append(os.Environ(), "STUB_LOG="+r.dir+"/person.log")
			// A user runs a process whose title looks like mailcertd's, and a command with a whole script as an
			// argument.
			user := exec.Command("sleep", "1000")
			user.Args[0] = "daemon: mailcertd[0]"
			user.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			script := exec.Command("sh", "-c",
				`read _; # \n1 1 0 exit\ndaemon: mailcertd[1]`+"\n1 1 0 0 daemon: mailcertd[1]\nexit")
			if _, err := script.StdinPipe(); err != nil { // so that read waits
				t.Fatal(err)
			}
			// A jail runs its own mailcertd; a PID namespace takes the place of the jail.
			jail := exec.Command("unshare", "-p", "--fork", "--kill-child", "bash", "-c",
				"exec -a 'daemon: mailcertd[0]' sleep 1000")
			for _, cmd := range []*exec.Cmd{other, person, user, script, jail} {
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					end := syscall.SIGTERM
					if cmd == jail {
						end = syscall.SIGKILL // unshare ignores SIGTERM
					}
					_ = cmd.Process.Signal(end)
					_ = cmd.Wait()
				})
			}
			r.want(0, "Starting", "start")
			r.logged(`running`)
			super := r.pid(files[1])
			c.damage(t, r, other.Process.Pid)
			for _, start := range []string{"start", "faststart", "forcestart"} {
				r.want(1, "already running", start)
			}
			if n := len(r.daemons()); n > 1 {
				t.Errorf("%d daemons", n)
			}
			r.want(0, "Stopping", "stop")
			if pids := r.daemons(); len(pids) > 0 {
				t.Errorf("daemons %v still run", pids)
			}
			if b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", super)); len(b) > 0 {
				t.Errorf("the supervisor still runs: %s", b)
			}
			if n := strings.Count(r.stub(), "signal terminated"); n > 1 {
				t.Errorf("%d signals:\n%s", n, r.stub())
			}
			for _, cmd := range []*exec.Cmd{other, person, user, script, jail} {
				if cmd.Process.Signal(syscall.Signal(0)) != nil || len(cmdline(cmd.Process.Pid)) == 0 {
					t.Errorf("%v was ended", cmd.Args)
				}
			}
			r.want(1, "not running", "stop")
			r.want(0, "Starting", "start")
			r.want(0, "running as pid", "status")
			r.want(0, "Stopping", "stop")
		})
	}
}

func cmdline(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return string(b)
}

// kill ends a process with SIGKILL and waits until it is gone.
func (r *rc) kill(pid int) {
	r.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		r.t.Fatal(err)
	}
	bed.Wait(r.t, "the end of a process", func() error {
		if c := cmdline(pid); c != "" { // a zombie has no command line
			return errors.New(c)
		}
		return nil
	})
}

// When start runs several times at once, one daemon remains.
func TestRCStartRace(t *testing.T) {
	r := newRC(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			cmd := exec.Command("dash", r.script, "faststart")
			cmd.Env = []string{"HOME=/", "PATH=/sbin:/bin:/usr/sbin:/usr/bin", "RCSUBR_CONF=" + r.conf,
				"STUB_LOG=" + r.log}
			_ = cmd.Run() // all but one may fail
		})
	}
	wg.Wait()
	r.want(0, "running as pid", "status")
	if n := len(r.daemons()); n != 1 {
		t.Errorf("%d daemons\n%s", n, r.stub())
	}
	if n := strings.Count(r.stub(), "running "); n != 1 {
		t.Errorf("%d were started\n%s", n, r.stub())
	}
	r.want(0, "Stopping", "stop")
	if n := len(r.daemons()); n != 0 {
		t.Errorf("%d daemons", n)
	}
}
