// Package openssltest lets the tests of several rooms ask the system's OpenSSL. Only tests use it.
package openssltest

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Need skips the test if there is no openssl, or fails it if tests must not be skipped.
func Need(t testing.TB) {
	t.Helper()
	_, err := exec.LookPath("openssl")
	if err != nil && os.Getenv("MAILCERTD_NOSKIP") != "" {
		t.Fatal("openssl is not installed, and nothing may be skipped")
	}
	if err != nil {
		t.Skip("openssl is not installed")
	}
}

// Server starts an `openssl s_server` with these arguments, which speaks TLS from the beginning, and returns its
// address when it answers.
func Server(t testing.TB, args ...string) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	cmd := exec.Command("openssl", append([]string{"s_server", "-accept", addr, "-rev", "-quiet"}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			break
		}
	}
	return addr
}

// Libssl passes many questions at once to the system's own libssl. Each answer is "ok", or the call that failed and
// why. See test/libssl/judge.c. The caller's package is a folder in internal.
func Libssl(t testing.TB, questions []string) []string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		if os.Getenv("MAILCERTD_PARTS") != "" { // the test command brings a C compiler
			t.Fatal("there is no C compiler")
		}
		t.Skip("there is no C compiler")
	}
	judge := filepath.Join(t.TempDir(), "judge")
	if out, err := exec.Command(cc, "-o", judge, "../../test/libssl/judge.c", "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	cmd := exec.Command(judge)
	cmd.Stdin = strings.NewReader(strings.Join(questions, "\n") + "\n")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 2 {
		t.Skipf("no OpenSSL 3 here: %s", exit.Stderr)
	}
	answers := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(answers) != len(questions) {
		t.Fatalf("%d answers to %d questions: %v", len(answers), len(questions), err)
	}
	return answers
}
