package durable

import (
	"path/filepath"
	"testing"
)

// What is on a memory file system, or would be made there, is known to be lost with the next boot.
func TestInMemory(t *testing.T) {
	dir, _ := smallDisk(t)
	for path, want := range map[string]string{dir: "tmpfs", filepath.Join(dir, "not/made/yet"): "tmpfs", "/proc": "",
		"/nonexistent/at/all": InMemory("/")} {
		if got := InMemory(path); got != want {
			t.Errorf("%s is on %q, want %q", path, got, want)
		}
	}
}
