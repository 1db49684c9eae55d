package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/state"
	"mailcertd/internal/watch"
)

// What a command has noted in the state makes the daemon look, which may have to go on with it at once.
func TestStateIsWatched(t *testing.T) {
	cfg, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(cfg.State.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	o := watchOptions(cfg)
	o.Sweep, o.Settle, o.SweepOnly = 10*time.Millisecond, time.Millisecond, true
	w, err := watch.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	w.Absorb()
	if err := os.WriteFile(filepath.Join(cfg.State.Dir, state.FileName), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.C():
	case <-time.After(20 * time.Second):
		t.Error("the daemon does not look")
	}
}
