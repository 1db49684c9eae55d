package keeper

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/plan"
)

// A slow copy is logged once, however often the file is written to, and no hash link comes or goes with the parts of
// cacert.pem.
func TestCopyingIsQuiet(t *testing.T) {
	_, cert, root := boughtPair(t)
	for file, whole := range map[string][]byte{"host.cert": cert, "cacert.pem": root} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "")
			s.now = time.Now()
			s.settle(plan.Wish{})
			links := func() []string {
				names, _ := filepath.Glob(s.certs("*.0"))
				return names
			}
			before := links()
			if len(before) != 1 {
				t.Fatalf("hash links: %v", before)
			}
			f, err := os.OpenFile(s.certs(file), os.O_WRONLY|os.O_TRUNC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for i := range 3 { // each part is written in another second
				if i > 0 {
					if _, err := f.Write(whole[(i-1)*len(whole)/3 : i*len(whole)/3]); err != nil {
						t.Fatal(err)
					}
				}
				waitForTick(t, f.Name())
				s.now = time.Now()
				if _, err := s.Look(context.Background(), "a part"); err != nil {
					t.Fatal(err)
				}
				if now := links(); !slices.Equal(now, before) {
					t.Fatalf("after part %d the hash links are %v", i, now)
				}
			}
			if n := strings.Count(strings.Join(s.log, "\n"), "somebody may still be copying it"); n != 1 {
				t.Errorf("logged %d times:\n%s", n, strings.Join(s.log, "\n"))
			}
		})
	}
}

// waitForTick changes the file's attributes until its ctime is in a later second than before.
func waitForTick(t *testing.T, path string) {
	t.Helper()
	first := time.Now().Unix()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Unix() == first; {
		if time.Now().After(deadline) {
			t.Fatal("the ctime does not move on")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
}
