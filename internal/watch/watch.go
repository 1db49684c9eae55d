// Package watch turns file events, a regular sweep and clock steps into one
// coalesced "look again". An event says no more than that: what happened is
// found out by looking.
package watch

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// The defaults of Options.
const (
	defaultSweep  = 10 * time.Second
	defaultSettle = 100 * time.Millisecond
	// settleMost bounds how long a burst of events can put off a look.
	settleMost = 5
)

// rejoinAfter is when a missing directory is looked for again at first. Each time takes twice as long, up to a sweep:
// what is gone for days, such as a file system that is not mounted, costs no more than what is there.
const rejoinAfter = 250 * time.Millisecond

// A watch that failed, as for want of descriptors or of inotify watches, is tried again after that long at first, and
// at most.
const (
	retryFirst = 10 * time.Second
	retryMost  = 10 * time.Minute
)

// clockStep is how far wall clock and monotonic clock may drift apart between
// two sweeps. NTP slews half a millisecond a second.
const clockStep = 5 * time.Second

// Options says what to watch.
type Options struct {
	Dirs  []string // may be missing, may go and come back; never /etc: kqueue opens every file
	Files []string // swept only
	// Optional are directories like Dirs that are rarely there: one that is
	// missing is looked for at each sweep, not more often.
	Optional []string
	// Swept are files, or directories and what is in them, that are swept only: for the events of a directory kqueue
	// would open every file in it.
	Swept []string
	// Sweep is the time between two lstat sweeps; zero: 10 s.
	Sweep time.Duration
	// Settle is how long to wait after an event for more; zero: 100 ms. Five times
	// that is the longest wait.
	Settle time.Duration
	// SweepOnly leaves kernel events out.
	SweepOnly bool
	// Told is called when kernel events fail, and with nil when they come again; nil: nobody is told. The sweep goes on
	// in any case.
	Told func(error)
	// Wall is the wall clock; nil: time.Now. Waiting goes by the monotonic one.
	Wall func() time.Time
}

// Event says: look again.
type Event struct {
	Why  string // file event, sweep, clock stepped, watch failed
	Path string // one of the paths concerned, "" for none
}

// Watcher watches. Run does the work; C gives at most one event at a time.
type Watcher struct {
	o  Options
	c  chan Event
	fs *fsnotify.Watcher // nil: sweep only
	// joined are the directories that are watched, by device and inode.
	joined map[string][2]uint64
	fail   error        // why there are no kernel events, or not for every directory; under mu
	joins  int          // how many times one of them was joined
	sweeps atomic.Int64 // how many sweeps there were, for a test
	// replaced says that a directory that was watched is another one now.
	replaced bool
	// retry is when a watch that failed is tried again, and delay how long the last wait was.
	retry time.Time
	delay time.Duration

	moved chan struct{} // other directories are to be joined

	mu    sync.Mutex
	paths Options     // of which only the paths are used
	seen  fingerprint // an event that shows nothing else is dropped
}

// New prepares a Watcher. Where the kernel gives no events (limits), the sweep
// alone has to do: Problem then says why.
func New(o Options) (*Watcher, error) {
	if o.Sweep <= 0 {
		o.Sweep = defaultSweep
	}
	if o.Settle <= 0 {
		o.Settle = defaultSettle
	}
	if o.Wall == nil {
		o.Wall = time.Now
	}
	for _, d := range slices.Concat(o.Dirs, o.Files, o.Optional, o.Swept) {
		if !filepath.IsAbs(d) {
			return nil, fmt.Errorf("watch: %s is not an absolute path", d)
		}
	}
	w := &Watcher{o: o, c: make(chan Event, 1), moved: make(chan struct{}, 1), paths: o, joined: map[string][2]uint64{}}
	if !o.SweepOnly {
		w.anew()
	}
	w.seen = w.take()
	return w, nil
}

// again asks the kernel for events from the beginning, with nothing left of an earlier time: kqueue(2) watches each
// file of a directory by a descriptor, and after the directory was removed and made again under its name those of the
// files that are gone would stand for the new ones. A failure is tried again, see subscribe.
func (w *Watcher) anew() {
	if w.fs != nil {
		_ = w.fs.Close()
	}
	fs, err := newWatcher()
	if err != nil {
		fs = nil
		w.failed(err)
	}
	w.fs, w.joined, w.replaced = fs, map[string][2]uint64{}, false
}

// newWatcher is fsnotify's; a test lets it fail.
var newWatcher = fsnotify.NewWatcher

// failed notes why there are no kernel events, and when to try again; nil: there are.
func (w *Watcher) failed(err error) {
	w.mu.Lock()
	before := w.fail
	w.fail = err
	w.mu.Unlock()
	if w.o.Told != nil && (before == nil) != (err == nil) {
		w.o.Told(err)
	}
	if err == nil {
		w.delay = 0
		return
	}
	w.delay = min(max(2*w.delay, retryFirst), retryMost)
	w.retry = time.Now().Add(w.delay)
}

// channels are those of the present fsnotify.Watcher; nil without one.
func (w *Watcher) channels() (<-chan fsnotify.Event, <-chan error) {
	if w.fs == nil {
		return nil, nil
	}
	return w.fs.Events, w.fs.Errors
}

// Problem is why there are no kernel events, nil when there are.
func (w *Watcher) Problem() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fail
}

// Follow watches o's directories and files from now on, in place of those that
// were watched; they are absolute paths. Its other fields are not used. Any
// goroutine may call it.
func (w *Watcher) Follow(o Options) {
	w.mu.Lock()
	w.paths = o
	w.mu.Unlock()
	select {
	case w.moved <- struct{}{}:
	default: // Run has not yet seen the last time
	}
}

func (w *Watcher) watched() Options {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.paths
}

// C gives the events. An event that is not yet taken stands for all later ones.
func (w *Watcher) C() <-chan Event { return w.c }

// Absorb takes what is there now as known. Call it right before looking: what changes from then on is told, and nothing
// is lost in between.
func (w *Watcher) Absorb() {
	select {
	case <-w.c:
	default:
	}
	now := w.take()
	w.mu.Lock()
	w.seen = now
	w.mu.Unlock()
}

// Run watches until ctx is done. It returns nil then.
func (w *Watcher) Run(ctx context.Context) error {
	defer func() {
		if w.fs != nil {
			w.fs.Close()
		}
	}()
	var rejoin <-chan time.Time
	missing := rejoinAfter
	join := func() { // a directory that is not there yet, or was replaced
		rejoin = nil
		if w.subscribe() {
			missing = rejoinAfter
		} else {
			rejoin = time.After(missing)
		}
	}
	join()
	sweep := time.NewTicker(w.o.Sweep)
	defer sweep.Stop()
	last, wall := time.Now(), w.o.Wall().Round(0)
	var settle <-chan time.Time
	var first time.Time
	sure := false
	for {
		events, errs := w.channels()
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				w.replaced = true // it has ended, and is made again at the next sweep
				w.fs = nil
				continue
			}
			if ours(filepath.Base(e.Name)) {
				continue
			}
			if is, dir := w.joined[e.Name]; dir && is != ([2]uint64{}) && !e.Has(fsnotify.Chmod) {
				w.replaced = true // even if its inode is used again
			}
			// A name that came or went is news even where it looks as before: it may
			// have come and gone. An attribute alone must show.
			sure = sure || !e.Has(fsnotify.Chmod)
			if settle == nil {
				first = time.Now()
				settle = time.After(w.o.Settle)
			} else if time.Since(first) < (settleMost-1)*w.o.Settle {
				settle = time.After(w.o.Settle)
			}
		case err, ok := <-errs:
			if !ok {
				w.replaced = true
				w.fs = nil
				continue
			}
			w.tell("watch failed: "+err.Error(), "") // an overflow: events were lost
		case <-settle:
			settle = nil
			join()
			w.compare("file event", sure)
			sure = false
		case <-w.moved:
			join()
		case <-rejoin:
			missing = min(2*missing, w.o.Sweep)
			was := w.joins
			join()
			if w.joins != was { // else there is nothing that the next sweep does not see
				w.compare("sweep", false)
			}
		case <-sweep.C:
			now, wallNow := time.Now(), w.o.Wall().Round(0)
			drift := wallNow.Sub(wall) - now.Sub(last)
			last, wall = now, wallNow
			join()
			if drift > clockStep || drift < -clockStep {
				w.tell("clock stepped", "")
			}
			w.compare("sweep", false)
		}
	}
}

// subscribe asks for the events of every directory that is there and is not watched yet; one that was replaced is
// watched again. It says whether all of them are there.
func (w *Watcher) subscribe() bool {
	if w.o.SweepOnly {
		return true
	}
	for d, is := range w.joined {
		w.replaced = w.replaced || is != ([2]uint64{}) && identify(d) != is
	}
	if due := w.Problem() != nil && !time.Now().Before(w.retry); w.replaced || due {
		w.anew()
	}
	if w.fs == nil {
		return true
	}
	all, paths, worked := true, w.watched(), true
	dirs := slices.Concat(paths.Dirs, paths.Optional)
	for d := range w.joined {
		if !slices.Contains(dirs, d) {
			_ = w.fs.Remove(d)
			delete(w.joined, d)
		}
	}
	for i, d := range dirs {
		is := identify(d)
		if is == w.joined[d] && is != ([2]uint64{}) {
			continue
		}
		w.joined[d] = is
		if is == ([2]uint64{}) {
			all = all && i >= len(paths.Dirs)
			continue
		}
		if err := w.fs.Add(d); err != nil {
			w.joined[d] = [2]uint64{}
			if worked && !time.Now().Before(w.retry) {
				w.failed(fmt.Errorf("watch %s: %w", d, err))
			}
			worked = false
		} else {
			w.joins++
		}
	}
	if worked && w.Problem() != nil {
		w.failed(nil)
	}
	return all
}

// compare tells what differs from what is known; sure tells in any case.
func (w *Watcher) compare(why string, sure bool) {
	now := w.take()
	w.mu.Lock()
	path, changed := now.differs(w.seen)
	w.seen = now
	w.mu.Unlock()
	if changed || sure {
		w.tell(why, path)
	}
}

func (w *Watcher) tell(why, path string) {
	select {
	case w.c <- Event{Why: why, Path: path}:
	default: // one is waiting already
	}
}
