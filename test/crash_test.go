package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// site makes a --root without sendmail, with a key type that is fast to make.
func site(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	conf := filepath.Join(root, "usr/local/etc/mailcertd.yaml")
	if err := os.MkdirAll(filepath.Dir(conf), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf,
		[]byte("host: {name: mail.example.test}\nkey: {type: ecdsa-p256}\nlog: {target: stderr}\n"),
		0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

// run runs mailcertd with that --root.
func run(t testing.TB, binary, root string, env []string, args ...string) (out string, state *os.ProcessState) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"--root", root}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(b), cmd.ProcessState
}

// mailcertd is killed before each durable operation in turn. The next ensure must make a set that sendmail accepts,
// must not issue a second certificate, must not use a serial twice, and openssl must still work on the CA.
func TestKilledAtEveryPoint(t *testing.T) {
	t.Parallel()
	bed.Need(t, false, "openssl", "cp")
	m, armed := bed.Binary(t, ""), bed.Binary(t, "crashpoints")
	for _, c := range []struct {
		name  string
		first bool // starts on an empty disk
		args  []string
		again []string // the command that the owner runs after the crash
		rows  int      // the most certificates that the CA may have at the end
		least int      // the least number of kill points
	}{
		{"first boot", true, []string{"ensure"}, []string{"ensure"}, 1, 40},
		{"renewal", false, []string{"renew"}, []string{"renew"}, 2, 15},
		{"renewal, then ensure", false, []string{"renew"}, []string{"ensure"}, 2, 15},
		{"new key", false, []string{"renew", "--rekey"}, []string{"ensure"}, 2, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			kills := 0
			for n := 1; ; n++ {
				root := site(t)
				if !c.first {
					run(t, m, root, nil, "ensure")
				}
				before := serialOf(root)
				out, st := run(t, armed, root, []string{fmt.Sprintf("MAILCERTD_CRASH_AT=%d", n)}, c.args...)
				if !bed.Killed(st) {
					if !st.Success() {
						t.Fatalf("point %d: %v\n%s", n, st, out)
					}
					break
				}
				kills++
				rows := c.rows
				if c.again[0] == "renew" && serialOf(root) != before {
					rows++ // the certificate was installed already, and the second renewal issues one more
				}
				if out, st := run(t, m, root, nil, c.again...); !st.Success() {
					t.Fatalf("point %d: %v\n%s", n, st, out)
				}
				whole(t, m, root, n, rows)
				os.RemoveAll(root)
			}
			if kills < c.least {
				t.Errorf("only %d points", kills)
			}
			t.Logf("killed at %d points", kills)
		})
	}
}

func serialOf(root string) string {
	out, _ := exec.Command("openssl", "x509", "-noout", "-serial", "-in",
		filepath.Join(root, "etc/mail/certs/host.cert")).Output()
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "serial=")
}

// whole checks everything that must be true after any crash and the command that follows it.
func whole(t *testing.T, m, root string, n, rows int) {
	t.Helper()
	out, st := run(t, m, root, nil, "check")
	if !st.Success() {
		t.Fatalf("point %d: check: %v\n%s", n, st, out)
	}
	out, _ = run(t, m, root, nil, "status", "--json")
	var rep struct {
		Offered bool `json:"starttls_offered"`
	}
	if err := json.Unmarshal([]byte(out), &rep); err != nil || !rep.Offered {
		t.Fatalf("point %d: sendmail would offer no STARTTLS (%v)\n%s", n, err, out)
	}
	ca, certs := filepath.Join(root, "etc/mail/CA"), filepath.Join(root, "etc/mail/certs")
	index, _ := os.ReadFile(filepath.Join(ca, "index.txt"))
	serials := map[string]bool{}
	for line := range strings.SplitSeq(strings.TrimSpace(string(index)), "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 6 || serials[f[3]] {
			t.Fatalf("point %d: index.txt:\n%s", n, index)
		}
		serials[f[3]] = true
	}
	if len(serials) > rows {
		t.Fatalf("point %d: %d certificates were issued, want %d at most:\n%s", n, len(serials), rows, index)
	}
	for _, args := range [][]string{
		{"verify", "-no-CAfile", "-CApath", certs, filepath.Join(certs, "host.cert")},
		{"ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem"},
	} {
		cmd := exec.Command("openssl", args...)
		cmd.Dir = ca
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("point %d: openssl %v: %v\n%s", n, args, err, out)
		}
	}
	left, _ := filepath.Glob(filepath.Join(certs, ".*"))
	if len(left) > 0 {
		t.Fatalf("point %d: left behind: %v", n, left)
	}
}

// A real sendmail runs, and mailcertd is killed at each point of a renewal. After the next ensure sendmail must serve
// the certificate on the disk, and no process of sendmail may have got two HUPs.
func TestKilledWhileSendmailRuns(t *testing.T) {
	t.Parallel()
	armed := bed.Binary(t, "crashpoints")
	h, m := host(t)
	h.Start(t)
	kills := 0
	for n := 1; ; n++ {
		_, code := h.Run("env", fmt.Sprintf("MAILCERTD_CRASH_AT=%d", n), armed, "renew")
		if code != 137 && code != -1 && code != 9 {
			if code != 0 {
				t.Fatalf("point %d: status %d", n, code)
			}
			break
		}
		kills++
		h.EnsureServes(t, m)
	}
	if kills < 15 {
		t.Errorf("only %d points", kills)
	}
	// sendmail logs one restart for each HUP, with the process that got it.
	seen := map[string]bool{}
	for _, hit := range regexp.MustCompile(`sm-mta\[(\d+)\]: restarting`).FindAllStringSubmatch(h.Log(), -1) {
		if seen[hit[1]] {
			t.Errorf("process %s got two HUPs", hit[1])
		}
		seen[hit[1]] = true
	}
	t.Logf("killed at %d points, %d restarts", kills, len(seen))
}

// sh runs a shell command in dir, and returns its output and exit status.
func sh(t testing.TB, dir, command string) (string, int) {
	t.Helper()
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = dir
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal("no sh")
	}
	return string(out), cmd.ProcessState.ExitCode()
}
