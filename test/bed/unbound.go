package bed

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Unbound is a resolver that checks signatures, on port 53 of its own addresses. It uses nothing of this machine's
// configuration.
type Unbound struct {
	cmd  *exec.Cmd
	said *Output
}

// NewUnbound starts a resolver that runs as long as the test. command prepares a program that runs where the resolver
// is to run. root is the address of the root zone's name server, and anchor has the DNSKEY or DS record of the highest
// zone whose signatures are checked. more are lines of the section server of unbound.conf.
func NewUnbound(t testing.TB, command func(args ...string) *exec.Cmd, addrs []string, root, anchor string,
	more ...string) *Unbound {
	t.Helper()
	Need(t, true, "unbound")
	dir := tempDir(t)
	var conf strings.Builder
	conf.WriteString("server:\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n" +
		" directory: \"" + dir + "\"\n pidfile: \"\"\n" +
		" use-syslog: no\n logfile: \"\"\n verbosity: 1\n do-not-query-localhost: no\n num-threads: 1\n" +
		" module-config: \"validator iterator\"\n root-hints: \"hints\"\n trust-anchor-file: \"anchor\"\n" +
		" access-control: 0.0.0.0/0 allow\n val-log-level: 2\n" +
		" local-zone: \"test.\" nodefault\n") // otherwise it says by itself that there is nothing below test.
	for _, a := range addrs {
		conf.WriteString(" interface: " + a + "\n")
	}
	for _, line := range more {
		conf.WriteString(" " + line + "\n")
	}
	for name, text := range map[string]string{"unbound.conf": conf.String() + "remote-control:\n control-enable: no\n",
		"hints": ". 3600 NS ns.\nns. 3600 A " + root + "\n", "anchor": anchor} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	u := &Unbound{said: &Output{}}
	// On a Host a signal would reach nsenter(1) only, so the program says which process it is.
	u.cmd = command("sh", "-c", "echo $$ >"+dir+"/pid && exec unbound -d -c "+dir+"/unbound.conf")
	u.cmd.Stdout, u.cmd.Stderr = u.said, u.said
	u.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command("sh", "-c", "kill $(cat "+dir+"/pid)").Run()
		_ = u.cmd.Wait()
		if t.Failed() {
			t.Logf("unbound:\n%s", u.said)
		}
	})
	Wait(t, "unbound", func() error {
		if strings.Contains(u.said.String(), "start of service") {
			return nil
		}
		return errors.New(u.said.String())
	})
	return u
}
