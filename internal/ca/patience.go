package ca

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"mailcertd/internal/durable"
)

// errMoved says that another program has changed index.txt since it was read: `openssl ca` takes no lock and replaces
// the file. A certificate that had no row before may have one now, and with a second row for it `openssl ca` would
// refuse the whole file.
var errMoved = errors.New("another program changed it at the same time, so nothing was written: the daemon tries " +
	"again, a command must be run again")

// gone says that openssl has changed index.txt since it was read, or is between its two renames: index.txt to
// index.txt.old, and index.txt.new to index.txt.
func gone(err error) bool { return errors.Is(err, errMoved) || errors.Is(err, fs.ErrNotExist) }

// How long mailcertd waits in total for other programs that change index.txt, and the first step of that wait. The
// limit is a time and not a number of tries, because many signatures on a busy machine change the file often in a short
// time. The steps grow, so that a large index.txt is read a few times and not hundreds of times.
const (
	patienceLimit = 2 * time.Second
	patienceStep  = 5 * time.Millisecond
)

// patience counts the time within which a change of index.txt is tried again.
type patience struct{ step, left time.Duration }

func newPatience() *patience { return &patience{patienceStep, patienceLimit} }

// wait sleeps for a step, which doubles each time. It returns false, without a wait, when the time is used up.
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

// restWait is how long index.txt must stay unchanged before mailcertd writes the whole file: an editor, or a shell with
// cat, may be in the middle of writing it in place.
var restWait = 100 * time.Millisecond

// rested waits until index.txt has not changed for restWait. The error is errMoved where it keeps changing.
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
