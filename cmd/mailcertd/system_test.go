package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
)

// rc.conf is asked once for all variables; without sysrc, or without its
// answer, none is set.
func TestRCConf(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	ask := func(root string) plan.Host { return hostNames(root)(context.Background()) }
	if h := ask(""); h.RC != "" || h.Sendmail.Program != "" {
		t.Errorf("without sysrc: %+v", h)
	}
	calls := filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho \"$@\" >> " + calls + "\necho 'sendmail_cert_cn: mail.example.org'\necho 'sendmail_enable: YES'\n" +
		"echo 'sendmail_program: /usr/local/sbin/sendmail'\necho 'sendmail_flags: -L sm-mta -bd'\necho '  -ODaemonPortOptions=Addr=::1'\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "sysrc"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	names := hostNames("")
	for range 5 { // one run of a verb looks as often
		h := names(context.Background())
		want := mta.RC{Program: "/usr/local/sbin/sendmail", Flags: []string{"-L", "sm-mta", "-bd", "-ODaemonPortOptions=Addr=::1"}}
		if diff := cmp.Diff(want, h.Sendmail); diff != "" || h.RC != "mail.example.org" {
			t.Errorf("%q (-want +got):\n%s", h.RC, diff)
		}
	}
	text, err := os.ReadFile(calls)
	if err != nil || strings.Count(string(text), "\n") != 1 {
		t.Errorf("sysrc was run:\n%s%v", text, err)
	}
	if h := ask("/somewhere"); h.RC != "" {
		t.Errorf("below a root this machine's rc.conf says nothing: %+v", h)
	}
	if err := os.WriteFile(filepath.Join(dir, "sysrc"), []byte("#!/bin/sh\nexit 127\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if h := ask(""); h.RC != "" || h.Sendmail.Program != "" {
		t.Errorf("no answer: %+v", h)
	}
}
