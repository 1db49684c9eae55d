package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/internal/durable"
)

// The commands that look at the CA read index.txt once: where a CA has a million certificates, the pass takes most of
// their time. --due makes another pass, to find all certificates that expire in its days.
func TestIndexIsReadOnce(t *testing.T) {
	root := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		args = append([]string{"--root", root}, args...)
		newApp(strings.NewReader(""), &out, &out).execute(context.Background(), args)
		return out.String()
	}
	run("ensure")
	index, reads := filepath.Join(root, "etc/mail/CA/index.txt"), 0
	t.Cleanup(durable.TestOnlyBeforeRead(func(op, path string) error {
		if op == "read" && path == index {
			reads++
		}
		return nil
	}))
	for verb, want := range map[string]int{"ensure": 1, "check": 1, "status": 1, "status --json": 1, "ca show": 1,
		"status --due 30": 2} {
		reads = 0
		if out := run(strings.Fields(verb)...); reads != want {
			t.Errorf("%s reads index.txt %d times, want %d\n%s", verb, reads, want, out)
		}
	}
}
