package test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// Whatever is in the directories or in the configuration, each command ends, does not panic, loses nothing, and its
// error names the file.
func TestBadInput(t *testing.T) {
	bed.Need(t, false, "mkfifo", "timeout")
	m := bed.Binary(t, "")
	for name, damage := range map[string]string{
		"FIFO as configuration":      "rm usr/local/etc/mailcertd.yaml; mkfifo usr/local/etc/mailcertd.yaml",
		"directory as configuration": "rm usr/local/etc/mailcertd.yaml; mkdir usr/local/etc/mailcertd.yaml",
		"large configuration":        "head -c 3000000 /dev/zero >usr/local/etc/mailcertd.yaml",
		"FIFO as key":                "rm etc/mail/certs/host.key; mkfifo etc/mail/certs/host.key",
		"FIFO as hash link":          "mkfifo etc/mail/certs/12345678.0",
		"device as cacert":           "ln -sf /dev/zero etc/mail/certs/cacert.pem",
		"large certificate":          "head -c 30000000 /dev/zero >etc/mail/certs/host.cert",
		"loop of links":              "rm etc/mail/certs/host.cert; ln -s host.cert etc/mail/certs/host.cert",
		"FIFO as sendmail.cf":        "mkfifo etc/mail/sendmail.cf",
		"garbage as sendmail.cf":     "head -c 100000 /dev/urandom >etc/mail/sendmail.cf",
		"garbage as index.txt":       "head -c 100000 /dev/urandom >etc/mail/CA/index.txt",
		"garbage as CA key":          "head -c 1000 /dev/urandom >etc/mail/CA/cakey.pem",
		"garbage as state":           "head -c 1000 /dev/urandom >var/db/mailcertd/state.json",
		"FIFO as state":              "rm var/db/mailcertd/state.json; mkfifo var/db/mailcertd/state.json",
		"file as staging area":       "echo x >etc/mail/certs/.mailcertd",
		"garbage as journal":         "mkdir etc/mail/certs/.mailcertd; echo x >etc/mail/certs/.mailcertd/journal",
		"many hash links":            "for i in $(seq 1000 3000); do ln -s nowhere etc/mail/certs/0000$i.0; done",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := site(t)
			if out, st := run(t, m, root, nil, "ensure"); !st.Success() {
				t.Fatal(out)
			}
			if out, code := sh(t, root, damage); code != 0 {
				t.Fatalf("%d: %s", code, out)
			}
			for _, verb := range []string{"check", "ensure", "status", "ensure"} {
				out, code := sh(t, root, "timeout -k 5 20 "+m+" --root "+root+" "+verb)
				if code == 124 || code > 2 || strings.Contains(out, "panic") || strings.Contains(out, "goroutine ") {
					t.Errorf("%s: status %d\n%s", verb, code, out)
				}
				if code != 0 && len(strings.TrimSpace(out)) == 0 {
					t.Errorf("%s fails without a message", verb)
				}
			}
		})
	}
}

// A report that could not be written must give a failure status, because the reader has not got all of it.
func TestFullOutput(t *testing.T) {
	t.Parallel()
	m, root := bed.Binary(t, ""), site(t)
	if out, st := run(t, m, root, nil, "ensure"); !st.Success() {
		t.Fatal(out)
	}
	for _, args := range []string{"status", "status --json", "status --due 4000 --json", "status --format prometheus",
		"check", "check --json", "list", "list --json",
		"ca show", "ca show --json", "config", "dhparam", "request", "version", "help ca-fault",
		"help", "help reasons", "help status", "ensure --help", "completion zsh", "", "purge --dry-run",
		"restore --list", "ensure", "ensure --dry-run"} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(m, append([]string{"--root", root}, strings.Fields(args)...)...)
		var errs strings.Builder
		cmd.Stdout, cmd.Stderr = full, &errs
		_ = cmd.Run()
		full.Close()
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(errs.String(), "no space left") {
			t.Errorf("%s: status %d: %s", args, cmd.ProcessState.ExitCode(), errs.String())
		}
	}
}
