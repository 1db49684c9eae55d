package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
)

// The cf in a command line counts only while that sendmail runs: a stale pid file decides nothing.
func TestCFOfRunning(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		pid  int
		line string
		want bool
	}{
		"it runs":                 {os.Getpid(), exe + " -bd -C /other.cf", true},
		"no process has this pid": {4194000, exe + " -bd -C /other.cf", false},
		"no sendmail":             {os.Getppid(), exe + " -bd -C /other.cf", false},
		"a queue runner":          {os.Getpid(), exe + " -q30m -C /other.cf", false},
		"the same cf":             {os.Getpid(), exe + " -bd", false},
		"another option":          {os.Getpid(), exe + " -bd -OPort=1", true},
		"no command line":         {os.Getpid(), "", false},
	} {
		s := newSite(t, "")
		cf, pid := filepath.Join(s.root, "etc/mail/sendmail.cf"), filepath.Join(s.root, "pid")
		if err := os.MkdirAll(filepath.Dir(cf), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(cf, []byte("O PidFile="+pid+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(pid, fmt.Appendf(nil, "%d\n%s\n", c.pid, c.line), 0o600); err != nil {
			t.Fatal(err)
		}
		s.cfg.Sendmail.Program = exe
		r := s.Check(t.Context(), plan.Wish{})
		if got := r.Observed.RunningCF; (got != nil) != c.want {
			t.Errorf("%s: %+v, %v", name, got, r.Observed.MTA)
		}
	}
}

// The pid file is the one that the cf names, because sendmail writes it. The default in rc.conf does not override it;
// another value there does.
func TestPidFiles(t *testing.T) {
	for _, c := range []struct{ yaml, cf, rc, first, also string }{
		{"", mta.DefaultPidFile, "", mta.DefaultPidFile, ""},
		{"", "/run/mta.pid", "", "/run/mta.pid", ""},
		{"", "/run/mta.pid", mta.DefaultPidFile, "/run/mta.pid", mta.DefaultPidFile},
		{"", mta.DefaultPidFile, "/run/rc.pid", "/run/rc.pid", mta.DefaultPidFile},
		{"", "/run/mta.pid", "/run/rc.pid", "/run/rc.pid", "/run/mta.pid"},
		{"sendmail: {pid_file: /run/x.pid}", "/run/mta.pid", "/run/rc.pid", "/run/x.pid", ""},
	} {
		s := newSite(t, c.yaml)
		if c.yaml != "" {
			c.first = s.cfg.Sendmail.PidFile // the path is below the root
		}
		s.observer.rc.PidFile = c.rc
		if o := s.observer.identifyOptions(mta.CF{PidFile: c.cf}); o.PidFile != c.first || o.Also != c.also {
			t.Errorf("%+v: %q, also %q", c, o.PidFile, o.Also)
		}
	}
}
