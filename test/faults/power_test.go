package faults

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// This is a model of what fsync(2) promises. Names and contents that were synced survive a loss of power. Of those that
// were not, any part may survive, in any order: a name that was made, moved or removed, and all, half or nothing of a
// file's bytes. One rename happens as a whole or not at all. fsync of a directory keeps all changes of its names, fsync
// of a file keeps its bytes and mode.

// entry is one file, link or directory.
type entry struct {
	dir        bool
	link       string
	mode       fs.FileMode
	now, safe  []byte            // bytes, now and at the last sync
	names      map[string]*entry // names now
	kept       map[string]*entry // names at the last sync
	everSynced bool
}

func newDir(mode fs.FileMode) *entry {
	return &entry{dir: true, mode: mode, names: map[string]*entry{}, kept: map[string]*entry{}}
}

// move is one change of names; a nil entry removes the name.
type move []struct {
	dir  *entry
	name string
	to   *entry
}

// drive is a file system that may lose power.
type drive struct {
	top     *entry
	root    string
	pending []move
}

// load makes a drive with the files below root, all of them synced.
func load(root string) (*drive, error) {
	var from func(path string) (*entry, error)
	from = func(path string) (*entry, error) {
		info, err := os.Lstat(path)
		if err != nil {
			return nil, err
		}
		e := &entry{mode: mode(info), everSynced: true}
		switch {
		case info.IsDir():
			e = newDir(mode(info))
			list, err := os.ReadDir(path)
			if err != nil {
				return nil, err
			}
			for _, l := range list {
				if e.names[l.Name()], err = from(filepath.Join(path, l.Name())); err != nil {
					return nil, err
				}
				e.kept[l.Name()] = e.names[l.Name()]
			}
		case info.Mode().IsRegular():
			e.now, err = os.ReadFile(path)
			e.safe = e.now
		default:
			e.link, err = os.Readlink(path)
		}
		return e, err
	}
	top, err := from(root)
	return &drive{top: top, root: root}, err
}

// find returns the directory of a path and the path's last name.
func (d *drive) find(path string) (*entry, string, error) {
	rel, err := filepath.Rel(d.root, path)
	if err != nil || !filepath.IsLocal(rel) {
		return nil, "", fmt.Errorf("%s is not below %s", path, d.root)
	}
	dir := d.top
	parts := strings.Split(rel, "/")
	for _, p := range parts[:len(parts)-1] {
		if dir = dir.names[p]; dir == nil || !dir.dir {
			return nil, "", fmt.Errorf("%s: no such directory", path)
		}
	}
	return dir, parts[len(parts)-1], nil
}

func (d *drive) change(m move) {
	for _, s := range m {
		set(s.dir.names, s.name, s.to)
	}
	d.pending = append(d.pending, m)
}

func set(names map[string]*entry, name string, to *entry) {
	if delete(names, name); to != nil {
		names[name] = to
	}
}

// operation is one line that mailcertd's test binary records.
type operation struct {
	Op, Path, From string
	Data           []byte
	Mode           fs.FileMode
}

// do applies one operation to the drive.
func (d *drive) do(o operation) error {
	if o.Op == "syncdir" && o.Path == d.root {
		d.sync(d.top)
		return nil
	}
	dir, name, err := d.find(o.Path)
	if err != nil {
		return err
	}
	here := dir.names[name]
	switch o.Op {
	case "mkdir":
		d.change(move{{dir, name, newDir(o.Mode)}})
	case "create":
		d.change(move{{dir, name, &entry{mode: 0o600}}})
	case "symlink":
		d.change(move{{dir, name, &entry{link: o.From, everSynced: true}}})
	case "remove": // of a directory that is not empty it has failed, since an operation is recorded before it is done
		if here != nil && len(here.names) == 0 {
			d.change(move{{dir, name, nil}})
		}
	case "rename":
		from, old, err := d.find(o.From)
		if err != nil {
			return err
		}
		d.change(move{{dir, name, from.names[old]}, {from, old, nil}})
	case "write", "append", "sync", "chmod", "chown", "syncdir":
		if here == nil {
			return fmt.Errorf("%s %s: nothing is there", o.Op, o.Path)
		}
		switch o.Op {
		case "write":
			here.now, here.mode = append(bytes.Clone(here.now), o.Data...), o.Mode
		case "append":
			here.now = append(bytes.Clone(here.now), o.Data...)
		case "sync":
			here.safe, here.everSynced = here.now, true
		case "chmod":
			here.mode = o.Mode
		case "syncdir":
			d.sync(here)
		}
	default:
		return fmt.Errorf("no such operation: %s", o.Op)
	}
	return nil
}

// sync marks the changes of a directory's names as synced.
func (d *drive) sync(dir *entry) {
	var rest []move
	for _, m := range d.pending {
		touches := false
		for _, s := range m {
			touches = touches || s.dir == dir
		}
		if !touches {
			rest = append(rest, m)
			continue
		}
		for _, s := range m {
			set(s.dir.kept, s.name, s.to)
		}
	}
	d.pending = rest
}

// off writes below root what the disk has after a loss of power. part decides whether a change that was not synced
// survives, and bytes which content of a file does. The drive cannot be used afterwards.
func (d *drive) off(root string, part func() bool, bytes func(e *entry) []byte) error {
	for _, m := range d.pending {
		if part() {
			for _, s := range m {
				set(s.dir.kept, s.name, s.to)
			}
		}
	}
	var write func(path string, e *entry) error
	write = func(path string, e *entry) error {
		switch {
		case e.dir:
			if err := os.MkdirAll(path, 0o700); err != nil {
				return err
			}
			for name, sub := range e.kept {
				if err := write(filepath.Join(path, name), sub); err != nil {
					return err
				}
			}
			return os.Chmod(path, e.mode)
		case e.link != "":
			return os.Symlink(e.link, path)
		}
		m := e.mode
		if !e.everSynced {
			m = 0o600
		}
		if err := os.WriteFile(path, bytes(e), 0o600); err != nil {
			return err
		}
		return os.Chmod(path, m)
	}
	return write(root, d.top)
}

var losses = flag.Int("losses", 4, "losses of power that each scenario meets; 0: two at each operation")

// TestPowerLoss records a command's operations and simulates a loss of power between two of them. One ensure must make
// everything right. A command that reported success must stay done when the power fails right after it.
func TestPowerLoss(t *testing.T) {
	p := build(t)
	for i, s := range scenarios() {
		if s.under != "" || strings.HasPrefix(s.name, "member's") {
			continue // two hosts, of which only one is recorded
		}
		if strings.HasPrefix(s.before, "$m ensure; ") && s.verb == "ensure" && i%4 != 0 && *losses != 0 {
			continue // the repairs are similar to each other, so every fourth is enough
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			start := p.start(t, s)
			was, err := see(start)
			if err != nil {
				t.Fatal(err)
			}
			root, list := place(t), filepath.Join(place(t), "record")
			clone(t, start, root)
			first := p.do(s, p.armed, root, "MAILCERTD_RECORD="+list)
			ops, err := record(list)
			if err != nil {
				t.Fatal(err)
			}
			rnd := rand.New(rand.NewPCG(9, uint64(i)))
			for _, at := range moments(len(ops), rnd) {
				if err := p.lose(t, s, start, root, was, ops[:at], first, at == len(ops), rnd); err != nil {
					last := "the start"
					if at > 0 {
						last = ops[at-1].Op + " " + ops[at-1].Path
					}
					t.Errorf("after operation %d of %d, %s:\n%s", at, len(ops), last,
						rootless.ReplaceAllString(err.Error(), ""))
				}
			}
			t.Logf("%d operations", len(ops))
		})
	}
}

// moments returns after how many operations the power fails. The end, after the last one, is always among them.
func moments(ops int, rnd *rand.Rand) (out []int) {
	if *losses == 0 {
		for at := 1; at < ops; at++ {
			out = append(out, at, at)
		}
	} else {
		for n := 0; n < *losses-1 && ops > 1; n++ {
			out = append(out, 1+n*(ops-1)/(*losses-1)+rnd.IntN(max(1, (ops-1)/(*losses-1))))
		}
	}
	return append(out, ops)
}

func record(path string) (ops []operation, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	for in := json.NewDecoder(bufio.NewReader(f)); in.More(); {
		var o operation
		if err := in.Decode(&o); err != nil {
			return nil, err
		}
		ops = append(ops, o)
	}
	return ops, nil
}

// lose simulates a loss of power after these operations, and judges.
func (p programs) lose(t *testing.T, s scenario, start, recorded string, was look, ops []operation, first ended,
	all bool, rnd *rand.Rand) error {
	d, err := load(start)
	if err != nil {
		t.Fatal(err)
	}
	d.root = recorded
	for _, o := range ops {
		if err := d.do(o); err != nil {
			t.Fatal(err)
		}
	}
	keep := rnd.IntN(4) // 0: nothing that was not synced survives; 3: all of it
	if all {
		keep = 0
	}
	part := func() bool { return keep == 3 || keep > 0 && rnd.IntN(2) == 0 }
	root := place(t)
	defer os.RemoveAll(root)
	if err := d.off(root, part, func(e *entry) []byte {
		if bytes.Equal(e.now, e.safe) || keep == 3 {
			return e.now
		}
		rest := e.now[len(e.safe):]
		return e.now[:len(e.safe)+[]int{0, len(rest) / 2, len(rest)}[rnd.IntN(3)]*min(keep, 1)]
	}); err != nil {
		t.Fatal(err)
	}
	now, err := see(root)
	if err != nil {
		return err
	}
	var bad []error
	env := []string{"was=" + serialOf(start), "waskey=" + keyOf(start)}
	if all { // the command had reported success
		if err := os.WriteFile(filepath.Join(root, "out"), []byte(first.out), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range now.open {
		if !contains(was.open, o) {
			bad = append(bad, fmt.Errorf("a key is open: %s", o))
		}
	}
	if err := now.kept(was, s.keeps); err != nil {
		bad = append(bad, err)
	}
	if all && first.code == 0 {
		if out, err := p.shell(root, s.right, env); err != nil {
			bad = append(bad, fmt.Errorf("it said that it did it, and a loss of power undid it: %w\n%s", err, out))
		}
	}
	old(root, now)
	return errors.Join(append(bad, p.heals(s, root, env, was))...)
}
