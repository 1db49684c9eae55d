package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/internal/keeper"
	"mailcertd/internal/plan"
)

// ensureWith runs ensure below root with that configuration.
func ensureWith(t *testing.T, ctx context.Context, root, conf string) (status int, said string) {
	t.Helper()
	path := filepath.Join(root, "usr/local/etc/mailcertd.yaml")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("key: {type: ecdsa-p256}\n"+conf), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	status = newApp(strings.NewReader(""), &out, &out).execute(ctx, []string{"--root", root, "ensure"})
	return status, out.String()
}

// While an ACME CA has not answered yet, the last line of ensure says for which name the certificate is, not for which
// name it will be.
func TestLastLineNamesTheCertificate(t *testing.T) {
	root := t.TempDir()
	ensureWith(t, context.Background(), root, "host: {name: a.example.org}\n")
	_, said := ensureWith(t, context.Background(), root, "host: {name: b.example.org}\nclient: {issuer: local}\n"+
		"issuer: {acme: {directory: 'https://127.0.0.1:1/dir', agree_tos: true}}\n")
	if !strings.Contains(said, "host.cert: a.example.org until") {
		t.Error(said)
	}
}

// A signal is told as one, with what to do next.
func TestStoppedBySignal(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	status, said := ensureWith(t, ctx, t.TempDir(), "host: {name: a.example.org}\n")
	if status != exitTodo || !strings.Contains(said, "stopped by a signal") {
		t.Errorf("%d: %s", status, said)
	}
}

// A command that was stopped after it has installed the files is not to be repeated: it would make another key.
func TestStoppedAfterInstalling(t *testing.T) {
	for kind, installed := range map[plan.Kind]bool{plan.Install: true, plan.StageKey: false} {
		err := stopped(context.Canceled, keeper.Result{Done: []plan.Action{{Kind: kind}}})
		again := strings.Contains(afterSignal(err), "again")
		if !errors.Is(err, context.Canceled) || again == installed {
			t.Errorf("%v: %v: %s", kind, err, afterSignal(err))
		}
	}
}
