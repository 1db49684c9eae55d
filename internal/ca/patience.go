package ca

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"mailcertd/internal/durable"
)

// errMoved says that index.txt is not what was looked at: `openssl ca`, which knows no lock, has put its own in its
// place. A certificate that had no row there may have one now, and a second one would end `openssl ca` for good.
var errMoved = errors.New("another program is writing it: it is repaired when that is finished")

// gone says that openssl has changed index.txt since it was read, or is between its two renames, of index.txt to
// index.txt.old and of index.txt.new to index.txt.
func gone(err error) bool { return errors.Is(err, errMoved) || errors.Is(err, fs.ErrNotExist) }

// How long other programs are waited for. A busy machine, or thirty signatures at once, make many changes in little
// time: what counts is the time, not the number of tries. The steps grow, so that a large index.txt is read a few times
// and not hundreds of times.
const (
	patienceLimit = 2 * time.Second
	patienceStep  = 5 * time.Millisecond
)

// patience is the time within which something is tried again because another program was at work on index.txt.
type patience struct{ step, left time.Duration }

func newPatience() *patience { return &patience{patienceStep, patienceLimit} }

// wait waits before the next try, twice as long as before. false: the time is over.
func (p *patience) wait() bool {
	if p.left <= 0 {
		return false
	}
	step := min(p.step, p.left)
	time.Sleep(step)
	p.left -= step
	p.step *= 2
	return true
}

// restWait is how long index.txt must stay as it is before it is written whole.
// An editor, or a cat, that writes it in place may be at work.
var restWait = 100 * time.Millisecond

// rested waits until index.txt does not change; an error says that it does.
func rested(dir string) error {
	path := filepath.Join(dir, indexName)
	before := durable.Look(path)
	for waited := time.Duration(0); waited < patienceLimit; waited += restWait {
		time.Sleep(restWait)
		now := durable.Look(path)
		if now.Err != nil {
			return now.Err
		}
		if same(before, now) {
			return nil
		}
		before = now
	}
	return fmt.Errorf("%s: %w", path, errMoved)
}
