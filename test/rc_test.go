package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// rc is a machine that has only rc.d/mailcertd; stubs replace the programs that it runs.
type rc struct {
	t                 *testing.T
	dir, script, conf string
	log               string // the file in which the stub writes down its calls
	shell             []string
	on                *bed.Host    // the host where the script runs; nil: this machine
	nobody            bool         // the script runs as another user than root
	lines             map[int]bool // the lines of the script that were executed
}

func newRC(t *testing.T) *rc {
	t.Helper()
	bed.Need(t, true, "bash", "sed", "ps", "unshare")
	r := &rc{t: t, dir: t.TempDir(), lines: map[int]bool{}}
	for _, d := range []string{"sbin", "etc", "run"} {
		if err := os.Mkdir(filepath.Join(r.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{"./rcsubr/daemon": "sbin/daemon", "./rcsubr/stub": "sbin/mailcertd"} {
		bed.Put(t, from, filepath.Join(r.dir, to))
	}
	src, err := os.ReadFile("../rc.d/mailcertd")
	if err != nil {
		t.Fatal(err)
	}
	subr := filepath.Join(r.dir, "etc/rc.subr") // a copy, because the clone may be in root's home, closed to others
	functions, err := os.ReadFile("rcsubr/rc.subr")
	if err != nil {
		t.Fatal(err)
	}
	write(t, subr, string(functions), 0o644)
	text := strings.NewReplacer("%%PREFIX%%", r.dir, "/var/run", r.dir+"/run", "/usr/sbin/daemon", r.dir+"/sbin/daemon",
		"/etc/rc.subr", subr).Replace(string(src))
	r.script, r.conf, r.log = filepath.Join(r.dir, "etc/mailcertd"), filepath.Join(r.dir, "etc/rc.conf"),
		filepath.Join(r.dir, "stub.log")
	write(t, r.script, text, 0o755)
	// As root, bash takes no PS4 from its environment.
	write(t, r.dir+"/trace.sh", "PS4='+ ${BASH_SOURCE##*/} $LINENO '; set -x\n", 0o644)
	r.set(`mailcertd_enable="YES"`)
	t.Cleanup(func() { r.run("forcestop") })
	return r
}

// set writes the lines into rc.conf, instead of what was there.
func (r *rc) set(lines ...string) { write(r.t, r.conf, strings.Join(lines, "\n")+"\n", 0o644) }

// run runs the script as service(8) does, and records which lines were executed.
func (r *rc) run(args ...string) (out string, code int) {
	shell := r.shell
	if shell == nil {
		shell = []string{"bash"}
	}
	argv := append(append(append([]string{}, shell...), r.script), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	if r.on != nil {
		cmd = r.on.Command(argv...)
	}
	trace := filepath.Join(r.dir, "trace")
	f, err := os.Create(trace)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.nobody {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	cmd.ExtraFiles = []*os.File{f}
	cmd.Env = []string{"HOME=/", "PATH=/sbin:/bin:/usr/sbin:/usr/bin", "RCSUBR_CONF=" + r.conf, "STUB_LOG=" + r.log,
		"BASH_XTRACEFD=3", "BASH_ENV=" + r.dir + "/trace.sh"}
	b, err := cmd.CombinedOutput()
	f.Close()
	data, _ := os.ReadFile(trace)
	for _, m := range regexp.MustCompile(`(?m)^\++ mailcertd (\d+) `).FindAllStringSubmatch(string(data), -1) {
		n, _ := strconv.Atoi(m[1])
		r.lines[n] = true
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(b), exit.ExitCode()
	} else if err != nil {
		r.t.Fatal(err)
	}
	return string(b), 0
}

// want runs a command and checks its exit status and that its output has the text says.
func (r *rc) want(code int, says string, args ...string) string {
	r.t.Helper()
	out, got := r.run(args...)
	if got != code || !strings.Contains(out, says) {
		r.t.Errorf("%v: status %d, want %d and %q:\n%s", args, got, code, says, out)
	}
	return out
}

func (r *rc) stub() string { b, _ := os.ReadFile(r.log); return string(b) }

// logged waits until the stub's log matches re.
func (r *rc) logged(re string) {
	r.t.Helper()
	bed.Wait(r.t, re, func() error {
		if !regexp.MustCompile(re).MatchString(r.stub()) {
			return fmt.Errorf("the stub wrote:\n%s", r.stub())
		}
		return nil
	})
}

func (r *rc) pid(file string) int {
	b, _ := os.ReadFile(filepath.Join(r.dir, "run", file))
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}

// TestRC runs every command, and must reach every line of the script.
func TestRC(t *testing.T) {
	r := newRC(t)

	r.set(`mailcertd_enable="NO"`)
	r.want(0, "Cannot 'start'", "start")
	r.want(0, "Cannot 'renew'", "renew")
	if r.stub() != "" {
		t.Errorf("disabled, and yet it ran:\n%s", r.stub())
	}
	r.want(0, "", "onerenew", "--rekey", "--force")
	r.logged(`argv renew\|--rekey\|--force\n`)
	r.want(0, "complete, renewed and served", "describe")
	r.want(0, "renew check reload configtest", "extracommands")

	r.set(`mailcertd_enable="YES"`)
	r.want(1, "not running", "status")
	r.want(1, "not running", "stop")
	r.want(1, "not running", "reload")
	r.want(0, "Starting mailcertd", "start")
	r.logged(`(?s)argv ensure\n.*argv run\n.*running`)
	first := r.pid("mailcertd.pid")
	r.want(0, fmt.Sprint("running as pid ", first), "status")
	r.want(1, "already running", "start")
	r.want(1, "", "faststart") // without a pid check, as at boot; daemon(8) itself refuses
	if r.pid("mailcertd.pid") != first {
		t.Error("a second daemon was started")
	}

	r.want(0, "the configuration is correct", "reload")
	r.logged(fmt.Sprintf("signal hangup %d", first))
	write(t, r.log+".fail-config", "", 0o600)
	r.want(1, "config fails", "reload")
	r.want(1, "config fails", "configtest")
	if n := strings.Count(r.stub(), "signal hangup"); n != 1 {
		t.Errorf("%d reloads with a wrong configuration", n)
	}
	_ = os.Remove(r.log + ".fail-config")
	r.want(0, "is correct", "configtest")
	r.want(0, "", "check", "--json")
	r.logged(`argv check\|--json\n`)
	write(t, r.log+".fail-renew", "", 0o600)
	r.want(1, "renew fails", "renew")

	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	bed.Wait(t, "the daemon to come back", func() error {
		if p := r.pid("mailcertd.pid"); p == 0 || p == first {
			return errors.New("the old pid")
		}
		return nil
	})
	write(t, r.log+".fail-config", "", 0o600)
	r.want(1, "config fails", "restart")
	r.want(0, "running as pid", "status") // a daemon that runs goes on with a wrong configuration
	_ = os.Remove(r.log + ".fail-config")
	r.want(0, "Stopping mailcertd", "restart")
	second := r.pid("mailcertd.pid")
	r.want(0, fmt.Sprint("running as pid ", second), "status")

	// The supervisor was killed. stop must still end its child.
	if err := syscall.Kill(r.pid("mailcertd-supervisor.pid"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	bed.Wait(t, "the supervisor to end", func() error {
		// A zombie has no command line.
		if b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", r.pid("mailcertd-supervisor.pid"))); len(b) > 0 {
			return errors.New("it lives")
		}
		return nil
	})
	r.want(0, "Stopping mailcertd", "stop")
	r.logged(fmt.Sprintf("signal terminated %d", second))

	// When ensure fails the script warns and still starts the daemon.
	write(t, r.log+".fail-ensure", "", 0o600)
	r.want(0, "WARNING: something is incomplete or failed", "start")
	r.want(0, "running as pid", "status")
	r.want(0, "Stopping mailcertd", "stop")
	r.want(1, "not running", "status")

	// With a wrong configuration the daemon could not run, so the script does not start it.
	_ = os.Remove(r.log + ".fail-ensure")
	write(t, r.log+".wrong-ensure", "", 0o600)
	r.want(1, "WARNING: not started: correct the configuration", "start")
	r.want(1, "not running", "status")
	_ = os.Remove(r.log + ".wrong-ensure")

	// The flags must reach mailcertd and not daemon(8). A path may contain a blank.
	own := filepath.Join(r.dir, "my conf.yaml")
	r.set(`mailcertd_enable="YES"`, `mailcertd_flags="--log-level debug"`, `mailcertd_config="`+own+`"`,
		`mailcertd_svcj="YES"`)
	r.want(0, "Starting", "start")
	r.logged(regexp.QuoteMeta("argv --config|" + own + "|--log-level|debug|run"))
	r.logged(regexp.QuoteMeta("argv --config|" + own + "|--log-level|debug|ensure"))
	r.want(0, "Stopping", "stop")
	r.want(0, "", "quietstart")
	for _, d := range []string{r.dir, filepath.Dir(r.dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.nobody = true
	r.want(1, "only root can", "stop")
	r.nobody = false
	r.want(0, "Stopping", "faststop")
	r.want(0, "", "faststop")
	r.covered()

	// dash is an ash, as FreeBSD's sh is.
	if dash, err := exec.LookPath("dash"); err == nil {
		r.shell = []string{dash}
		r.want(0, "Starting", "start")
		r.want(0, "running as pid", "status")
		r.want(1, "renew fails", "renew", "--rekey")
		r.want(0, "Stopping", "stop")
	}
}

// covered checks that every line of the script that does something was executed.
func (r *rc) covered() {
	src, _ := os.ReadFile(r.script)
	var missed []string
	for i, line := range strings.Split(string(src), "\n") {
		s := strings.TrimSpace(line)
		if s == "" || strings.HasPrefix(s, "#") || s == "{" || s == "}" || s == "fi" || s == "else" || s == "done" ||
			s == "esac" || s == ";;" ||
			// These lines execute no command of their own.
			strings.HasSuffix(s, "()") || strings.HasSuffix(s, "\")") || strings.HasPrefix(s, "local ") {
			continue
		}
		if !r.lines[i+1] {
			missed = append(missed, fmt.Sprintf("%d: %s", i+1, s))
		}
	}
	sort.Strings(missed)
	if len(missed) > 0 || len(r.lines) < 30 {
		r.t.Errorf("%d lines were run, never:\n%s", len(r.lines), strings.Join(missed, "\n"))
	}
}

// shellcheck must accept the script as it is installed. Its ash has `local`.
func TestRCShellcheck(t *testing.T) {
	bed.Need(t, false, "shellcheck")
	// SC1091: /etc/rc.subr is not here. SC2034: rc.subr reads the variables.
	// SC2223, SC2086: as base scripts write defaults. SC3043: FreeBSD's sh has local.
	out, err := exec.Command("shellcheck", "-s", "sh", "-e", "SC1091,SC2034,SC2223,SC3043,SC2154",
		"../rc.d/mailcertd").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// real replaces the stub by the real program.
func (r *rc) real() {
	r.t.Helper()
	data, err := os.ReadFile(bed.Binary(r.t, ""))
	if err != nil {
		r.t.Fatal(err)
	}
	_ = os.Remove(filepath.Join(r.dir, "sbin/mailcertd"))
	write(r.t, filepath.Join(r.dir, "sbin/mailcertd"), string(data), 0o755)
}

// With the real program: when start returns, the files are complete and the daemon runs. stop ends it.
func TestRCWithMailcertd(t *testing.T) {
	r := newRC(t)
	root := site(t)
	r.real()
	r.set(`mailcertd_enable="YES"`, `mailcertd_flags="--root `+root+`"`, `mailcertd_config=""`)
	r.want(0, "installed host.key, host.cert, cacert.pem, dh.param", "start")
	if _, err := os.Stat(filepath.Join(root, "etc/mail/certs/dh.param")); err != nil {
		t.Error(err)
	}
	r.want(0, "running as pid", "status")
	bed.Wait(t, "the daemon to mend", func() error {
		_ = os.Remove(filepath.Join(root, "etc/mail/certs/dh.param"))
		for range 300 {
			if _, err := os.Stat(filepath.Join(root, "etc/mail/certs/dh.param")); err == nil {
				return nil
			}
			time.Sleep(10 * time.Millisecond)
		}
		return errors.New("dh.param did not come back")
	})
	r.want(0, "somebody asked for a renewal", "renew")
	r.want(0, "the configuration is correct", "reload")
	r.want(0, "Stopping", "stop")
}
