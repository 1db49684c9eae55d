package bed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Kills lets a program that was built with the tag crashpoints run to its end, and then kills it before each of its
// durable operations.
type Kills struct {
	Least   int // an error if the program has fewer operations
	Workers int // so many runs at a time
	// Try says whether operation n is one of those tried, counted from 1. point is what the program says of it.
	Try func(n int, point string) bool
}

// Run calls once for n = 0, where nothing is killed, and then for each operation n that is tried. once gives env to the
// program, starts it again after it was killed, and returns whether it was, and what is wrong in the end.
func (k Kills) Run(t *testing.T, once func(n int, env string) (killed bool, err error)) {
	t.Helper()
	list := filepath.Join(t.TempDir(), "points")
	if _, err := once(0, "MAILCERTD_POINTS="+list); err != nil {
		t.Fatalf("not killed: %v", err)
	}
	data, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	points := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(points) < k.Least {
		t.Errorf("only %d operations:\n%s", len(points), data)
	}
	var work sync.WaitGroup
	var kills atomic.Int64
	next := make(chan int)
	for range k.Workers {
		work.Go(func() {
			for n := range next {
				killed, err := once(n, fmt.Sprintf("MAILCERTD_CRASH_AT=%d", n))
				if killed {
					kills.Add(1)
				}
				if err != nil {
					t.Errorf("killed before %s: %v", points[n-1], err)
				}
			}
		})
	}
	for n := range points {
		if k.Try(n+1, points[n]) {
			next <- n + 1
		}
	}
	close(next)
	work.Wait()
	if kills.Load() == 0 {
		t.Error("the program was never killed")
	}
	t.Logf("killed %d times at %d operations", kills.Load(), len(points))
}
