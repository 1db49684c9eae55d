package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// Each verb and each wrong use of one: what it says, and its exit status. The
// cases share one root, in this order.
func TestVerbs(t *testing.T) {
	bed.Need(t, false, "openssl")
	m, root := bed.Binary(t, ""), site(t)
	certs := filepath.Join(root, "etc/mail/certs")
	conf := filepath.Join(root, "usr/local/etc/mailcertd.yaml")
	good, _ := os.ReadFile(conf)
	for _, c := range []struct {
		args  string
		code  int
		says  string
		never string // must not be said
		do    func() error
	}{
		{args: "version", says: "mailcertd devel"},
		{args: "help", says: "ensure "},
		{args: "completion bash", says: "bash completion"},
		{args: "completion fish", says: "fish completion"},
		{args: "completion", code: 2, says: "say for which shell"},
		{args: "completion foo", code: 2, says: "say for which shell"},
		{args: "completion bash x", code: 2, says: "unexpected argument \"x\""},
		{args: "sign a b", code: 2, says: "unexpected argument \"b\""},
		{args: "restore --list x", code: 2, says: "unexpected argument \"x\""},
		{args: "issue b.example.test -o -", code: 2, says: "a private key is written to a file"},
		{args: "bogus", code: 2, says: "unknown verb"},
		{args: "ensur", code: 2, says: `did you mean "ensure"`},
		{args: "", says: "mailcertd check ", never: "Usage"},
		{args: "status --jsno", code: 2, says: `did you mean --json?; see ` + "`mailcertd status --help`"},
		{args: "status --due soon", code: 2, says: `"soon" for "--due" flag: want a number; see`},
		{args: "ca shwo", code: 2, says: `did you mean "show"?`},
		{args: "install /nowhere.pem", code: 1, says: "mailcertd: /nowhere.pem: no such file"},
		{args: "sign /nowhere.csr", code: 1, says: "the request in /nowhere.csr: no such file"},
		{args: "ca enrol b.example.test --target -oProxyCommand=sh", code: 2, says: "--target \"-oProxyCommand=sh\": want USER@HOST"},
		{args: "ca enrol b.example.test --target x@y{", code: 2, says: "--target"},
		{args: "ca enrol b.example.test --from x,", code: 2, says: "--from \"\": want"},
		{args: "--root= ensure", code: 2, says: "--root is empty"},
		{args: "ca enrol a_b..c", code: 2, says: "nothing between two dots"},
		{args: "ensure extra", code: 2, says: "unexpected argument"},
		{args: "ensure --bogus", code: 2, says: "unknown flag"},
		{args: "ca", code: 2, says: "ca show"},
		{args: "dhparam --group ffdhe1024", code: 2, says: "ffdhe3072"},
		{args: "--log-level loud ensure", code: 2, says: "want trace"},
		{args: "--config /nowhere.yaml ensure", code: 2, says: "no such file"},
		{args: "check", code: 1, says: "ensure would"},
		{args: "status", says: "certificate   none"},
		{args: "dhparam", code: 1, says: "missing"},
		{args: "ca show", code: 1, says: "absent"},
		{args: "restore", code: 1, says: "no such archived generation"},
		{args: "ensure --dry-run", says: "would make the private CA"},
		{args: "check", code: 1, says: "ensure would", never: "nothing to do"},
		{args: "ensure", says: "install host.key, host.cert, cacert.pem, dh.param"},
		{args: "ensure", says: "nothing to do"},
		{args: "check", says: "[cf-missing]"},
		{args: "status", says: "issued by the CA on this host"},
		{args: "ca show", says: "1 valid"},
		{args: "ca init", says: "1 valid"},
		{args: "renew --dry-run", says: "would issue a certificate"},
		{args: "renew", says: "renewal was asked for", never: "new ecdsa"},
		{args: "renew --rekey", says: "make a new ecdsa-p256 key"},
		{args: "restore --list", says: "asked-new-key"},
		{args: "restore 20200101T000000Z-01", code: 1, says: "no archived generation"},
		{args: "dhparam --group ffdhe2048", says: "install dh.param"},
		{args: "dhparam", says: "ffdhe2048, 2048 bits"},
		{args: "ensure", says: "nothing to do"},
		{args: "config", says: "type: ecdsa-p256"},
		{args: "config", code: 2, says: "unknown key", do: func() error { return os.WriteFile(conf, []byte("hots: x\n"), 0o644) }},
		{args: "ensure", code: 2, says: `did you mean "host"`},
		{args: "config", says: "certs:", do: func() error { return os.WriteFile(conf, good, 0o644) }},
		{args: "purge", code: 2, says: "--yes"},
		{args: "purge --dry-run", says: "remove  " + certs},
		{args: "purge --yes", says: "removed"},
		{args: "check", code: 1, says: "ensure would make the private CA"},
		{args: "ensure", code: 1, says: "is no directory", do: func() error { return os.WriteFile(certs, []byte("x"), 0o644) }},
	} {
		if c.do != nil {
			if err := c.do(); err != nil {
				t.Fatal(err)
			}
		}
		out, st := run(t, m, root, nil, strings.Fields(c.args)...)
		if st.ExitCode() != c.code || !strings.Contains(out, c.says) || c.never != "" && strings.Contains(out, c.never) {
			t.Errorf("%s: status %d, want %d and %q\n%s", c.args, st.ExitCode(), c.code, c.says, out)
		}
	}
}

// The reports are JSON that a program can read, with stable words and no
// secret; warnings do not change the exit status.
func TestJSON(t *testing.T) {
	m, root := bed.Binary(t, ""), site(t)
	run(t, m, root, nil, "ensure")
	key, err := os.ReadFile(filepath.Join(root, "etc/mail/certs/host.key"))
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Split(string(key), "\n")[1]
	for _, args := range [][]string{{"status", "--json"}, {"check", "--json"}, {"ca", "show", "--json"}, {"--log-level", "trace", "renew", "--rekey"}, {"status"}} {
		out, st := run(t, m, root, nil, args...)
		if !st.Success() {
			t.Errorf("%v: %v\n%s", args, st, out)
		}
		if strings.Contains(out, secret) || strings.Contains(out, "PRIVATE KEY") {
			t.Errorf("%v tells the key", args)
		}
		if args[len(args)-1] != "--json" {
			continue
		}
		var v struct {
			Version int `json:"version"`
		}
		if err := json.Unmarshal([]byte(out), &v); err != nil || v.Version != 1 {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}

// Whatever lies in the directories or the configuration: an error that names
// the file, no hang, no panic, nothing lost.
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
					t.Errorf("%s fails without a word", verb)
				}
			}
		})
	}
}

// A report that could not be written is a failure: whoever reads it must know.
func TestFullOutput(t *testing.T) {
	m, root := bed.Binary(t, ""), site(t)
	if out, st := run(t, m, root, nil, "ensure"); !st.Success() {
		t.Fatal(out)
	}
	for _, args := range []string{"status", "status --json", "status --due 4000 --json", "status --format prometheus", "check", "check --json", "list", "list --json",
		"ca show", "ca show --json", "config", "dhparam", "request", "version", "help ca-fault",
		"help", "help reasons", "help status", "ensure --help", "completion zsh", "", "purge --dry-run", "restore --list", "ensure", "ensure --dry-run"} {
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
