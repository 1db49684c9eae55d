package mta

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A HUP goes to the process that was seen before, also where its start, which comes from two clocks, is seen a little
// later at the second look; never to one that has got its pid since.
func TestHangup(t *testing.T) {
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGHUP)
	defer signal.Stop(got)
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	options := IdentifyOptions{PidFile: dir + "/pid", Program: dir + "/sendmail",
		MailerConf: []string{dir + "/mailer.conf"}}
	if err := errors.Join(
		os.WriteFile(options.PidFile, fmt.Appendf(nil, "%d\n%s -bd\n", os.Getpid(), options.Program), 0o600),
		os.WriteFile(filepath.Join(dir, "mailwrapper"), nil, 0o755),
		os.Symlink("mailwrapper", options.Program),
		os.WriteFile(options.MailerConf[0], []byte("sendmail "+exe+"\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		since func(*Identity) // how the first look differs from now
		sent  bool
	}{
		{"the same", func(*Identity) {}, true},
		{"a start that was seen earlier", func(id *Identity) {
			id.Instance.Started = id.Instance.Started.Add(-30 * time.Millisecond)
		}, true},
		{"a start that was seen later, as under load", func(id *Identity) {
			id.Instance.Started = id.Instance.Started.Add(3 * time.Second)
		}, true},
		{"a process that started since", func(id *Identity) {
			id.Instance.Started = id.Instance.Started.Add(-3 * time.Second)
		}, false},
		{"another pid", func(id *Identity) { id.Instance.PID++ }, false},
		{"another command line", func(id *Identity) { id.Argv = append(id.Argv, "-q30m") }, false},
		{"a new pid file", func(id *Identity) { id.Instance.PIDFileID = "1:2:3" }, false},
	} {
		id := Identify(t.Context(), options)
		if id.Status != OK {
			t.Fatalf("%v: %s", id.Status, id.Detail)
		}
		c.since(&id)
		err := Hangup(t.Context(), id)
		if c.sent != (err == nil) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			<-got
		}
	}
}
