package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
)

// rc.conf is asked once for all variables. Without sysrc, or without its answer, no variable is set.
func TestRCConf(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	ask := func(root string) plan.Host { return hostNames(root, false)(context.Background()) }
	if h := ask(""); h.RC != "" || h.Sendmail.Program != "" {
		t.Errorf("without sysrc: %+v", h)
	}
	calls := filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho \"$@\" >> " + calls +
		"\necho 'sendmail_cert_cn: mail.example.org'\necho 'sendmail_enable: YES'\n" +
		"echo 'sendmail_program: /usr/local/sbin/sendmail'\necho 'sendmail_flags: -L sm-mta -bd'\necho '  " +
		"-ODaemonPortOptions=Addr=::1'\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "sysrc"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	names := hostNames("", false)
	for range 5 { // one run of a verb looks as often as this
		h := names(context.Background())
		want := mta.RC{Program: "/usr/local/sbin/sendmail",
			Flags: []string{"-L", "sm-mta", "-bd", "-ODaemonPortOptions=Addr=::1"}}
		if diff := cmp.Diff(want, h.Sendmail); diff != "" || h.RC != "mail.example.org" {
			t.Errorf("%q (-want +got):\n%s", h.RC, diff)
		}
	}
	text, err := os.ReadFile(calls)
	if err != nil || strings.Count(string(text), "\n") != 1 ||
		!strings.HasPrefix(string(text), "-s sendmail -iq sendmail_cert_cn ") {
		t.Errorf("sysrc was run:\n%s%v", text, err)
	}
	if h := ask("/somewhere"); h.RC != "" {
		t.Errorf("with --root the settings of this machine's rc.conf were used: %+v", h)
	}
	old := "#!/bin/sh\n[ \"$1\" != -s ] || exit 1\necho 'sendmail_cert_cn: old.example.org'\n"
	if err := os.WriteFile(filepath.Join(dir, "sysrc"), []byte(old), 0o755); err != nil {
		t.Fatal(err)
	}
	if h := ask(""); h.RC != "old.example.org" {
		t.Errorf("a sysrc without -s: %+v", h)
	}
	// A question without an answer is not the same as an answer that nothing is set.
	killed := "#!/bin/sh\n[ -e " + calls + " ] || kill -9 $$\necho 'sendmail_cert_cn: mail.example.org'\n"
	if err := os.WriteFile(filepath.Join(dir, "sysrc"), []byte(killed), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(calls); err != nil {
		t.Fatal(err)
	}
	if h := ask(""); h.RC != "" || h.RCErr == nil {
		t.Errorf("killed: %+v", h)
	}
	now := time.Now()
	clock := func() time.Time { return now }
	if err := os.WriteFile(calls, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	asked := (&rcAsker{daemon: true, clock: clock}).host
	if h := asked(context.Background()); h.RC != "mail.example.org" || h.RCErr != nil {
		t.Errorf("%+v", h)
	}
	if err := os.Remove(calls); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		now = now.Add(2 * rcConfStays)
		if h := asked(context.Background()); h.RC != "mail.example.org" || h.RCErr == nil {
			t.Errorf("the former answer should stay in use: %+v", h)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "sysrc"), []byte("#!/bin/sh\nexit 127\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if h := ask(""); h.RC != "" || h.Sendmail.Program != "" {
		t.Errorf("no answer: %+v", h)
	}
}

// rc.d passes the settings of rc.conf. A verb does not ask again. The daemon, whose environment may be months old, asks
// once a minute.
func TestRCConfGiven(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	t.Setenv("MAILCERTD_RC_CONF", "sendmail_cert_cn: given.example.org\nsendmail_flags: -bd\nsendmail_enable: YES")
	asks := filepath.Join(dir, "asks")
	if err := os.WriteFile(filepath.Join(dir, "sysrc"),
		[]byte("#!/bin/sh\necho x >>"+asks+"\necho 'sendmail_cert_cn: asked.example.org'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, c := range []struct {
		daemon bool
		want   string
		asks   int // the number of questions in three minutes, with a look every twenty seconds
	}{{false, "given.example.org", 0}, {true, "asked.example.org", 3}} {
		_ = os.Remove(asks)
		host := (&rcAsker{daemon: c.daemon, clock: func() time.Time { return now }}).host
		for range 9 {
			if h := host(t.Context()); h.RC != c.want || h.RCErr != nil {
				t.Errorf("daemon %t: %+v", c.daemon, h)
			}
			now = now.Add(20*time.Second + time.Millisecond)
		}
		if said, _ := os.ReadFile(asks); strings.Count(string(said), "x") != c.asks {
			t.Errorf("daemon %t: sysrc was asked %d times, want %d", c.daemon, strings.Count(string(said), "x"), c.asks)
		}
	}
}
