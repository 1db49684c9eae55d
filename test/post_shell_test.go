package test

import (
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// shell runs /var/tmp/block.sh on a terminal and types the answers to its prompts. A block that reads the log is
// repeated until the log has the lines.
func (p *post) shell(t *testing.T, h *bed.Host, b block) {
	t.Helper()
	begun := time.Now()
	var out string
	var err error
	command := []string{"sh", "-e", "/var/tmp/block.sh"}
	if strings.Contains(b.text, "| sendmail ") {
		// sendmail delivers in the background, and a login shell would outlive that. This terminal closes at once, so
		// the delivery must survive the SIGHUP.
		command = []string{"sh", "-c", `trap "" HUP; exec sh -e /var/tmp/block.sh`}
	}
	again := strings.Contains(b.text, "/var/log/maillog")
	for {
		write(t, h.Path("/var/log/maillog"), h.Log(), 0o600)
		if out, err = onTTY(h, command...); err == nil || !again || time.Since(begun) > bed.Patience {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("line %d, %s, on %s, %.1f s:\n%s%s", b.line, b.section, h.Name, time.Since(begun).Seconds(), b.text, out)
	if err != nil {
		t.Fatalf("line %d: %v", b.line, err)
	}
}

// onTTY runs a command on the host, with a terminal of its own and the environment of root's shell.
func onTTY(h *bed.Host, args ...string) (string, error) {
	command := h.Command(append([]string{"env", "-i", "HOME=/root", "TERM=dumb", "LC_ALL=C",
		"PATH=/usr/local/sbin:/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/bin"}, args...)...)
	var quoted []string
	for _, a := range command.Args {
		quoted = append(quoted, "'"+a+"'")
	}
	cmd := exec.Command("script", "-qefc", strings.Join(quoted, " "), "/dev/null")
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return "", err
	}
	expire := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer expire.Stop()
	seen, from := "", 0
	b := make([]byte, 4096)
	for {
		n, err := out.Read(b)
		seen += string(b[:n])
		for _, q := range postTyped {
			if i := strings.Index(seen[from:], q.prompt); i >= 0 {
				from = len(seen)
				if _, err := io.WriteString(in, q.answer+"\n"); err != nil {
					return seen, err
				}
			}
		}
		if err != nil {
			break
		}
	}
	return strings.ReplaceAll(seen, "\r", ""), cmd.Wait()
}
