package durable

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Killed at any point of an archiving, and then the same is archived: no second
// copy of the key is left. A folder with something else in it stays.
func TestArchiveCutShort(t *testing.T) {
	items := []Item{{Name: "host.key", Data: []byte("secret key"), Secret: true}, {Name: "trust/x.pem", Data: []byte("x")}}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, stranger := range []bool{false, true} {
		for n := int64(1); ; n++ {
			dir := filepath.Join(t.TempDir(), "archive")
			if !dies(func() { _, _ = OpenArchive(dyingAt(n), dir).Add(now, "test", items) }) {
				break
			}
			cut, _ := filepath.Glob(dir + "/*-01")
			if stranger && len(cut) == 1 {
				if err := os.WriteFile(cut[0]+"/note", []byte("a person's"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := OpenArchive(&Disk{}, dir).Add(now, "test", items); err != nil {
				t.Fatal(err)
			}
			copies := 0
			files, _ := filepath.Glob(dir + "/*/host.key")
			for _, f := range files {
				if b, _ := os.ReadFile(f); bytes.HasPrefix(items[0].Data, b) {
					copies++
				}
			}
			if !stranger && copies != 1 {
				t.Errorf("point %d: %d copies of the key", n, copies)
			}
			if stranger && len(cut) == 1 {
				if _, err := os.Stat(cut[0] + "/note"); err != nil {
					t.Errorf("point %d: %v", n, err)
				}
			}
		}
	}
}
