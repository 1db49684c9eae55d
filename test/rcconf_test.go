package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// rc.d passes the values of rc.conf to the commands that it runs, but not to the daemon, because the daemon is
// restarted with the same environment months later.
func TestRCConfIsHandedOver(t *testing.T) {
	r := newRC(t)
	r.set(`mailcertd_enable="YES"`, `sendmail_cert_cn="mail.example.org"`, `sendmail_enable="YES"`,
		`sendmail_flags="-L sm-mta -bd -ODaemonPortOptions=Name=A,\\ Port=25"`)
	for _, args := range [][]string{{"check"}, {"start"}} {
		if out, code := r.run(args...); code != 0 {
			t.Fatalf("%v: %d\n%s", args, code, out)
		}
	}
	bed.Wait(t, "the daemon runs", func() error {
		if data, _ := os.ReadFile(r.log); !strings.Contains(string(data), "\nrunning ") {
			return fmt.Errorf("%s", data)
		}
		return nil
	})
	want := "sendmail_cert_cn: mail.example.org\nsendmail_enable: YES\nsendmail_program: \nsendmail_procname: " +
		"\nsendmail_pidfile: \n" +
		"sendmail_flags: -L sm-mta -bd -ODaemonPortOptions=Name=A,\\ Port=25\nsendmail_submit_enable: " +
		"\nsendmail_submit_flags: "
	for _, verb := range []string{"check", "ensure"} {
		if got, err := os.ReadFile(r.log + ".rcconf-" + verb); err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", verb, err, got, want)
		}
	}
	if _, err := os.Stat(r.log + ".rcconf-run"); err == nil {
		t.Error("the daemon is given it too")
	}
}

// On FreeBSD a first boot spends most of its time on other programs. So a command must run sysrc once and no other
// program, and must examine the process in sendmail's pid file once.
func TestForks(t *testing.T) {
	bed.Need(t, true, "strace")
	h := bed.NewHost(t, "mail-a.example.test", "10.99.0.1")
	m := bed.Binary(t, "")
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "sysrc"), "#!/bin/sh\necho 'sendmail_enable: YES'\n", 0o755)
	path, list := "PATH="+dir+":/usr/sbin:/usr/bin:/sbin:/bin", filepath.Join(dir, "list")
	forks := func(env ...string) (ran []string, looks int) {
		t.Helper()
		args := append(append([]string{"env", path}, env...), "strace", "-f", "-qq", "-e", "trace=execve,openat", "-o",
			list, m, "ensure")
		h.Must(t, args...)
		data, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			_, call, _ := strings.Cut(line, " ")
			call = strings.TrimSpace(call)
			name, of := strings.CutPrefix(call, `execve("`)
			if name, _, _ = strings.Cut(name, `"`); of && name != m && !strings.Contains(line, "ENOENT") {
				ran = append(ran, filepath.Base(name))
			}
			if strings.Contains(call, "/proc/") && strings.Contains(call, "/stat\"") &&
				!strings.Contains(call, "/proc/self") {
				looks++
			}
		}
		return ran, looks
	}
	if ran, looks := forks(); strings.Join(ran, " ") != "sysrc" || looks > 0 {
		t.Errorf("a first boot runs %v, and looks at %d processes", ran, looks)
	}
	h.Start(t)
	if ran, looks := forks(); strings.Join(ran, " ") != "sysrc" || looks != 1 {
		t.Errorf("with nothing to do it runs %v, and looks at %d processes", ran, looks)
	}
	if ran, looks := forks("MAILCERTD_RC_CONF=sendmail_enable: YES"); len(ran) > 0 || looks != 1 {
		t.Errorf("with the settings of rc.conf from rc.d it runs %v, and looks at %d processes", ran, looks)
	}
	h.Must(t, "rm", "-r", "/etc/mail/certs", "/etc/mail/CA", "/var/db/mailcertd")
	h.Stop()
	h.Must(t, "rm", "-f", "/var/run/sendmail.pid")
	if ran, looks := forks("MAILCERTD_RC_CONF=sendmail_enable: YES"); len(ran) > 0 || looks > 0 {
		t.Errorf("a first boot with the settings from rc.d runs %v, and looks at %d processes", ran, looks)
	}
}
