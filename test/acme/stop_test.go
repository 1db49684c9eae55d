package acme

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/issuer/acme"
)

// The owner's program hangs, with add and with remove, and mailcertd is stopped meanwhile. Ask returns within seconds,
// and the next mailcertd still knows what is to be removed.
func TestCommandHangsAtStop(t *testing.T) {
	p := start(t, settings{})
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	write(t, filepath.Join(dir, "hangs"), []byte("echo \"$@\" >> "+log+"\nsleep 100\n"))
	store := newMemory()
	o := p.options(store)
	o.Challenge, o.Command, o.Patience = acme.Command, []string{"sh", filepath.Join(dir, "hangs")}, 5*time.Minute
	r := request(t, "mx.example.test")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		_, err := client(t, o).Ask(ctx, r)
		ended <- err
	}()
	for i := 0; ; i++ {
		if said, _ := os.ReadFile(log); strings.Contains(string(said), "add ") {
			break
		}
		if i == 600 {
			t.Fatal("the program was not run")
		}
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("stopped: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("ten seconds after the stop it is still busy")
	}
	if !strings.Contains(string(store.files["traces.json"]), "_acme-challenge.mx.example.test") {
		t.Errorf("what is to be removed is not noted: %s", store.files["traces.json"])
	}
	write(t, filepath.Join(dir, "works"), []byte("echo \"$@\" >> "+log+"\n"))
	o.Command, o.Patience = []string{"sh", filepath.Join(dir, "works")}, 5*time.Second // the CA finds no record
	if _, err := client(t, o).Ask(t.Context(), r); err == nil {
		t.Error("the CA has accepted a record that does not exist")
	}
	said, _ := os.ReadFile(log)
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	if lines[len(lines)-1] != "remove "+strings.TrimPrefix(lines[0], "add ") {
		t.Errorf("the record is not removed:\n%s", said)
	}
	if left, has := store.files["traces.json"]; has {
		t.Errorf("what was removed is still noted: %s", left)
	}
}
