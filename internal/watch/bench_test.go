package watch

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// One sweep of three directories with thirty names.
func BenchmarkSweep(b *testing.B) {
	top := b.TempDir()
	var dirs []string
	for i := range 3 {
		d := filepath.Join(top, strconv.Itoa(i))
		_ = os.Mkdir(d, 0o755)
		dirs = append(dirs, d)
		for j := range 10 {
			_ = os.WriteFile(filepath.Join(d, strconv.Itoa(j)), nil, 0o644)
		}
	}
	w, err := New(Options{Dirs: dirs, SweepOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		w.compare("sweep", false)
	}
}
