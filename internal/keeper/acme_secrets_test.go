package keeper

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/plan"
)

// The key of an account, and its directory are closed again to other users.
func TestAccountKeyIsClosed(t *testing.T) {
	s, _ := publicSite(t, 90*24*time.Hour)
	dir := filepath.Join(s.cfg.State.Dir, acmeDir)
	key := filepath.Join(dir, "ca.example.key")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, []byte("a key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := s.Check(t.Context(), plan.Wish{Once: true}); strings.Count(reasons(r), "mode-loose") < 2 {
		t.Errorf("check says %s", reasons(r))
	}
	s.settle(plan.Wish{})
	for path, want := range map[string]os.FileMode{dir: 0o700, key: 0o600} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v %v", path, st.Mode(), err)
		}
	}
	if r := s.Check(t.Context(), plan.Wish{Once: true}); strings.Contains(reasons(r), "mode-loose") {
		t.Errorf("check says %s", reasons(r))
	}
}
