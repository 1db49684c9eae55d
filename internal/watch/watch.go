// Package watch turns file events, a regular sweep and clock steps into one coalesced "look again". An event does not
// say what has happened; the look finds that out.
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
	// settleMost bounds how long a burst of events can delay a look, in units of Settle.
	settleMost = 5
)

// rejoinAfter is the first wait before a missing directory is looked for again. The wait doubles each time, up to that
// of a sweep, so that a directory which is missing for days, such as a file system that is not mounted, costs nothing.
const rejoinAfter = 250 * time.Millisecond

// The first and the longest wait before a failed watch is tried again. It may fail for lack of descriptors or of
// inotify watches.
const (
	retryFirst = 10 * time.Second
	retryMost  = 10 * time.Minute
)

// clockStep is how far the wall clock and the monotonic clock may drift apart between two sweeps. NTP slews at most
// half a millisecond a second.
const clockStep = 5 * time.Second

// Options are what to watch and how.
type Options struct {
	Dirs  []string // may be missing or replaced; never /etc, since kqueue opens every file in them
	Files []string // seen only by sweeps
	// Optional are like Dirs, but rarely exist: a missing one is looked for only at each sweep.
	Optional []string
	// Swept are files, or directories with their entries, that are seen only by sweeps, because kqueue would open every
	// file in a directory.
	Swept []string
	// Sweep is the time between two lstat sweeps; zero: 10 s.
	Sweep time.Duration
	// Settle is how long to wait after an event for more events; zero: 100 ms. Five times that is the longest wait.
	Settle time.Duration
	// SweepOnly turns kernel events off.
	SweepOnly bool
	// Told is called with the error when kernel events fail, and with nil when they work again; nil: no call. Sweeps go
	// on in any case.
	Told func(error)
	// Wall is the wall clock; nil: time.Now. Waits use the monotonic clock.
	Wall func() time.Time
}

// Event means: look again.
type Event struct {
	Why  string // "file event", "sweep", "clock stepped" or "watch failed: …"
	Path string // one of the paths concerned, "" for none
}

// Watcher watches files and directories. Run does the work, in one goroutine, which owns all fields except paths and
// seen. mu guards these two and fail. C holds at most one event.
type Watcher struct {
	o  Options
	c  chan Event
	fs *fsnotify.Watcher // nil: there are no kernel events
	// joined maps the directories of Dirs and Optional to the device and inode that are watched; zero: the directory is
	// missing or its watch failed.
	joined map[string][2]uint64
	fail   error        // why kernel events are missing, for all or some directories; under mu
	joins  int          // how many times a directory was added to joined
	sweeps atomic.Int64 // how many sweeps were made; tests read it
	// replaced says that a watched directory was replaced by another, so that all watches must be made again.
	replaced bool
	// retry is when a failed watch is tried again, and delay is the length of that wait.
	retry time.Time
	delay time.Duration

	moved chan struct{} // Follow has changed paths

	mu    sync.Mutex
	paths Options     // the paths that are watched now; other fields are unused
	seen  fingerprint // the last sweep: an event without a difference to it is dropped
}

// New returns a Watcher for Run. Where the kernel gives no events, for example because of a limit, Problem says why,
// and only sweeps are made. The error is for a path that is not absolute.
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

// This makes all watches again and forgets the old ones. kqueue(2) needs that: it watches each file of a directory by a
// descriptor, and when the directory was replaced the descriptors still belong to the old files. After a failure
// subscribe calls it again.
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

// newWatcher is fsnotify.NewWatcher; tests replace it to make it fail.
var newWatcher = fsnotify.NewWatcher

// failed records why kernel events are missing and when to try again; nil: they work.
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

// channels returns the channels of the present fsnotify.Watcher; nil where there is none.
func (w *Watcher) channels() (<-chan fsnotify.Event, <-chan error) {
	if w.fs == nil {
		return nil, nil
	}
	return w.fs.Events, w.fs.Errors
}

// Problem is why kernel events are missing; nil where they work. Any goroutine may call it.
func (w *Watcher) Problem() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fail
}

// Follow watches the directories and files of o, which are absolute paths, instead of the present ones. It does not use
// other fields of o. Any goroutine may call it.
func (w *Watcher) Follow(o Options) {
	w.mu.Lock()
	w.paths = o
	w.mu.Unlock()
	select {
	case w.moved <- struct{}{}:
	default: // Run has not handled the last call yet, and will use the new paths
	}
}

func (w *Watcher) watched() Options {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.paths
}

// C is the channel of events. An event that was not received yet stands for all later ones.
func (w *Watcher) C() <-chan Event { return w.c }

// Absorb drops a waiting event and takes the present files as known. Call it right before a look: every later change
// causes an event. Any goroutine may call it.
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
	join := func() { // watch directories that are new or were replaced
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
				w.replaced = true // the channel is closed: make the watches again at the next sweep
				w.fs = nil
				continue
			}
			if ours(filepath.Base(e.Name)) {
				continue
			}
			if is, dir := w.joined[e.Name]; dir && is != ([2]uint64{}) && !e.Has(fsnotify.Chmod) {
				w.replaced = true // the inode does not tell, since the system may use it again
			}
			// A name that came or went counts as a change even where the sweep finds no difference, because it may have
			// come and gone. A change of attributes must be visible in the sweep.
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
			if w.joins != was { // otherwise the next sweep is soon enough
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

// subscribe adds watches for all directories that exist and are not watched yet, and again for those that were
// replaced. It returns false where one of Dirs is missing.
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

// compare sweeps, and sends an event where something differs from the last sweep, or where sure is set.
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
	default: // an event is waiting already
	}
}
