//go:build crashpoints

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"mailcertd/internal/durable"
)

// chance makes operations of the disk fail at random, but in the same way for the same seed and the same operations. mu
// guards dice, because several goroutines use the disk.
type chance struct {
	permille atomic.Int64 // how many of a thousand operations fail
	hits     atomic.Int64 // how many operations have failed
	mu       sync.Mutex
	dice     *rand.Rand
}

var (
	readErrnos   = []syscall.Errno{unix.EIO, unix.EMFILE, unix.EACCES}
	changeErrnos = []syscall.Errno{unix.ENOSPC, unix.EIO, unix.EROFS, unix.EMFILE, unix.EACCES, unix.EDQUOT}
)

// newChance makes a chance and installs it before every change of d and before every read.
func newChance(d *durable.Disk, seed uint64, permille int64) *chance {
	c := &chance{dice: rand.New(rand.NewPCG(seed, 0))}
	c.permille.Store(permille)
	next := d.Before
	d.Before = func(p durable.Point) error {
		if err := next(p); err != nil {
			return err
		}
		return c.roll(changeErrnos)
	}
	durable.TestOnlyBeforeRead(func(string, string) error { return c.roll(readErrnos) })
	return c
}

func (c *chance) roll(from []syscall.Errno) error {
	p := c.permille.Load()
	if p == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dice.Int64N(1000) >= p {
		return nil
	}
	c.hits.Add(1)
	return from[c.dice.IntN(len(from))]
}

// serveSoak serves `make soak`, where a process is watched for an hour. MAILCERTD_SOAK is "SEED FILE". At each SIGUSR1
// the process reads from FILE how many of a thousand operations shall fail, and writes into FILE.said: that number, the
// number of operations that failed so far, the number of goroutines, and the bytes of the heap that are in use after a
// collection.
func serveSoak(d *durable.Disk) {
	word, file, ok := strings.Cut(os.Getenv("MAILCERTD_SOAK"), " ")
	if !ok {
		return
	}
	seed, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		panic("MAILCERTD_SOAK: " + os.Getenv("MAILCERTD_SOAK"))
	}
	c := newChance(d, seed, 0)
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	go func() {
		for range asked {
			b, _ := os.ReadFile(file)
			p, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
			c.permille.Store(p)
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			said := fmt.Sprintf("%d %d %d %d\n", p, c.hits.Load(), runtime.NumGoroutine(), m.HeapAlloc)
			if os.WriteFile(file+".new", []byte(said), 0o600) == nil {
				_ = os.Rename(file+".new", file+".said")
			}
		}
	}()
}
